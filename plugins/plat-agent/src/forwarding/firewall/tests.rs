use serde_json::json;

use super::*;

/// What nft 1.0.6 says of a chain that is not everybody's friend.
fn inet() -> Chain {
    let rule = |chain: &str, handle: u64, expr: Value| json!({"rule": {"family": "inet", "table": "filter", "chain": chain, "handle": handle, "expr": expr}});
    let payload = |field: &str, right: Value| json!({"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": field}}, "right": right}});
    let prefix = |text: &str, len: u8| json!({"prefix": {"addr": text, "len": len}});
    let counter = json!({"counter": {"packets": 0, "bytes": 0}});
    let accept = json!({"accept": null});
    let mut ours = rule("forward", 8, json!([payload("saddr", prefix("10.1.1.0", 24)), accept]));
    ours["rule"]["comment"] = json!("plat-agent");
    let ct =
        json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established"]}});
    let document = json!({"nftables": [
        {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        rule("other", 4, json!([payload("daddr", json!("1.2.3.4")), accept])),
        rule("other", 5, json!([ct, accept])),
        rule("other", 6, json!([payload("daddr", prefix("10.7.0.0", 16)), accept])),
        rule("forward", 7, json!([counter, {"jump": {"target": "other"}}])),
        ours,
        rule("forward", 11, json!([payload("saddr", json!({"set": [{"range": ["10.9.0.0", "10.10.255.255"]}]})), accept])),
        rule("forward", 12, json!([counter, {"log": {"prefix": "x"}}, {"drop": null}])),
        rule("forward", 13, json!([payload("saddr", prefix("10.20.0.0", 16)), accept])),
    ]});
    let place = Place::Nft {
        family: "inet".to_owned(),
        table: "filter".to_owned(),
        chain: "forward".to_owned(),
    };
    nft_chain(&document.to_string(), place, false).unwrap()
}

#[test]
fn a_chain_of_nftables() {
    let chain = inet();
    assert_eq!(chain.drops(), Some("ends with a rule that drops or rejects everything"));
    let through = |side: Side, net: &str| chain.lets_through(side, net.parse().unwrap());
    assert!(through(Side::From, "10.9.3.0/24") && !through(Side::To, "10.9.3.0/24"));
    assert!(through(Side::To, "10.7.3.0/24"), "by another chain");
    assert!(!through(Side::To, "10.0.0.0/8"), "only a part of it");
    assert!(!through(Side::From, "10.1.1.0/24"), "only by a rule of this program");
    assert!(!through(Side::From, "10.20.1.0/24"), "behind the end");
    let ours: Vec<_> = chain.rules.iter().filter(|rule| rule.ours).collect();
    let net: IpNet = "10.1.1.0/24".parse().unwrap();
    assert_eq!(ours.len(), 1);
    assert_eq!(ours[0].accepts(), Some((Side::From, spans::span(net))));
    assert_eq!(ours[0].handle, 8);
    assert!(chain.place.sees(Family::V4) && chain.place.sees(Family::V6));
    assert_eq!(
        chain.place.by_hand(Side::To, net),
        "nft insert rule inet filter forward ip daddr 10.1.1.0/24 accept"
    );
}

#[test]
fn chains_at_the_hook() {
    let chain = |family: &str, name: &str, hook: &str, policy: &str| json!({"chain": {"family": family, "table": "filter", "name": name, "type": "filter", "hook": hook, "prio": 0, "policy": policy}});
    let document = json!({"nftables": [
        {"metainfo": {}},
        {"chain": {"family": "inet", "table": "filter", "name": "other", "handle": 1}},
        chain("ip", "FORWARD", "forward", "drop"),
        chain("ip", "INPUT", "input", "drop"),
        chain("ip6", "FORWARD", "forward", "accept"),
        chain("bridge", "forward", "forward", "drop"),
    ]});
    let chains = nft_chains(&document.to_string()).unwrap();
    let shown: Vec<String> =
        chains.iter().map(|(place, drops)| format!("{place} {drops}")).collect();
    assert_eq!(
        shown,
        [
            "chain FORWARD of nftables' table ip filter true",
            "chain FORWARD of nftables' table ip6 filter false"
        ]
    );
    for wrong in ["", "{}", "[]", "{\"nftables\": 1}"] {
        assert!(nft_chains(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_docker_makes() {
    let text = "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N DOCKER\n-N DOCKER-USER\n\
                -A FORWARD -d 10.1.1.0/24 -m comment --comment plat-agent -j ACCEPT\n\
                -A FORWARD -j DOCKER-USER\n\
                -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
                -A FORWARD -m comment --comment \"by \\\"me\\\"\" -j FLANNEL-FWD\n\
                -A FLANNEL-FWD -s 10.244.0.0/16 -j ACCEPT\n\
                -A FLANNEL-FWD ! -d 10.0.0.0/8 -j ACCEPT\n\
                -A FORWARD -s 10.7.0.9/32 -p tcp -j ACCEPT\n\
                -A DOCKER-USER -j RETURN\n";
    let chain = legacy_chain(text, false);
    assert_eq!(chain.drops(), Some("has the policy drop"));
    let through = |side: Side, net: &str| chain.lets_through(side, net.parse().unwrap());
    assert!(through(Side::From, "10.244.3.0/24") && !through(Side::To, "10.244.3.0/24"));
    assert!(!through(Side::To, "1.2.3.4/32"), "a condition with ! is not understood");
    assert!(!through(Side::From, "10.7.0.9/32"), "for TCP only");
    assert_eq!(chain.rules.iter().filter(|rule| rule.ours).count(), 1);
    assert!(chain.place.sees(Family::V4) && !chain.place.sees(Family::V6));
    let open = legacy_chain("-P FORWARD ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-x\n", true);
    assert_eq!(open.drops(), Some("ends with a rule that drops or rejects everything"));
    assert_eq!(legacy_chain("-P FORWARD ACCEPT\n", true).drops(), None);
}

#[test]
fn chains_that_call_each_other_end() {
    let text = "-P FORWARD DROP\n-A FORWARD -j A\n-A A -j B\n-A B -j A\n";
    assert!(!legacy_chain(text, false).lets_through(Side::From, "10.0.0.0/8".parse().unwrap()));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in ".{0,80}") {
        legacy_chain(&format!("-A FORWARD {text}"), false);
        let _ = nft_chains(&text);
    }
}
