//! Addresses from one to another: how sets of nftables are compared, whatever form they are listed in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Value, json};

/// Addresses of one family, both ends included.
pub(super) type Span = (IpAddr, IpAddr);

/// The addresses of a network.
pub(super) fn span(net: IpNet) -> Span {
    match net {
        IpNet::V4(net) => (net.network().into(), net.broadcast().into()),
        IpNet::V6(net) => (net.network().into(), net.broadcast().into()),
    }
}

/// Whether one lies within the other.
pub(super) fn contains(outer: &Span, inner: &Span) -> bool {
    outer.0.is_ipv4() == inner.0.is_ipv4() && outer.0 <= inner.0 && inner.1 <= outer.1
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|next| Ipv4Addr::from(next).into()),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|next| Ipv6Addr::from(next).into()),
    }
}

/// The same addresses in their order, with what overlaps or touches made one.
pub(super) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut all: Vec<Span> = Vec::with_capacity(spans.len());
    for (first, last) in spans {
        match all.last_mut() {
            Some(before)
                if before.0.is_ipv4() == first.is_ipv4()
                    && (first <= before.1 || after(before.1) == Some(first)) =>
            {
                before.1 = before.1.max(last);
            }
            _ => all.push((first, last)),
        }
    }
    all
}

/// As nftables' JSON has elements (libnftables-json(5)): an address, `prefix`, `range`, or a `set` of them.
/// `None` if it is anything else.
pub(super) fn parse(value: &Value) -> Option<Vec<Span>> {
    let address = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    if let Some(one) = address(value) {
        return Some(vec![(one, one)]);
    }
    if let Some(list) = value.get("set").and_then(Value::as_array).or_else(|| value.as_array()) {
        let all: Option<Vec<Vec<Span>>> = list.iter().map(parse).collect();
        return Some(all?.concat());
    }
    if let Some(element) = value.get("elem").and_then(|elem| elem.get("val")) {
        return parse(element);
    }
    if let Some(prefix) = value.get("prefix") {
        let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
        return Some(vec![span(IpNet::new(address(prefix.get("addr")?)?, length).ok()?.trunc())]);
    }
    let [first, last] = value.get("range")?.as_array()?.as_slice() else { return None };
    let (first, last) = (address(first)?, address(last)?);
    (first.is_ipv4() == last.is_ipv4() && first <= last).then(|| vec![(first, last)])
}

/// A network as an element.
pub(super) fn element(net: IpNet) -> Value {
    let address = net.network().to_string();
    if net.prefix_len() == net.max_prefix_len() {
        return Value::from(address);
    }
    json!({"prefix": {"addr": address, "len": net.prefix_len()}})
}

/// A span as an element.
pub(super) fn range((first, last): Span) -> Value {
    if first == last {
        return Value::from(first.to_string());
    }
    json!({"range": [first.to_string(), last.to_string()]})
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(value: &Value) -> Vec<String> {
        let text = |(first, last): Span| format!("{first}-{last}");
        merged(parse(value).unwrap_or_default()).into_iter().map(text).collect()
    }

    #[test]
    fn elements_in_every_form() {
        for (value, expected) in [
            (json!("10.1.9.9"), vec!["10.1.9.9-10.1.9.9"]),
            (json!({"prefix": {"addr": "10.1.1.0", "len": 24}}), vec!["10.1.1.0-10.1.1.255"]),
            (json!({"range": ["10.9.0.0", "10.10.255.255"]}), vec!["10.9.0.0-10.10.255.255"]),
            (
                json!({"set": [{"prefix": {"addr": "10.0.1.0", "len": 24}}, {"prefix": {"addr": "10.0.2.0", "len": 24}}]}),
                vec!["10.0.1.0-10.0.2.255"],
            ),
            (
                json!(["fd00::1", {"elem": {"val": "1.2.3.4"}}]),
                vec!["1.2.3.4-1.2.3.4", "fd00::1-fd00::1"],
            ),
            (json!(["255.255.255.255", "::"]), vec!["255.255.255.255-255.255.255.255", "::-::"]),
            (json!("@set"), vec![]),
            (json!({"range": ["10.9.0.9", "10.9.0.1"]}), vec![]),
            (json!({"prefix": {"addr": "10.1.1.0", "len": 33}}), vec![]),
        ] {
            assert_eq!(spans(&value), expected, "{value}");
        }
    }

    proptest! {
        /// What is written is what is read.
        #[test]
        fn there_and_back(all in proptest::collection::vec((any::<u32>(), 0_u8..=32), 0..8)) {
            let nets: Vec<IpNet> = all
                .into_iter()
                .map(|(first, length)| IpNet::new(Ipv4Addr::from(first).into(), length).unwrap().trunc())
                .collect();
            let written: Vec<Value> = nets.iter().map(|net| element(*net)).collect();
            let expected = merged(nets.into_iter().map(span).collect());
            prop_assert_eq!(&merged(parse(&Value::from(written)).unwrap()), &expected);
            let ranges: Vec<Value> = expected.iter().map(|span| range(*span)).collect();
            prop_assert_eq!(&merged(parse(&Value::from(ranges)).unwrap()), &expected);
            prop_assert!(expected.windows(2).all(|two| after(two[0].1) < Some(two[1].0)));
        }
    }
}
