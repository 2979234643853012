/*!
What a network's addresses are chosen from: range sets and policy, in a form that can be kept.

An IPAM plugin sees ranges in the configuration of each call and nowhere else; state without them is a
list of addresses. The stores keep the layout of the last ADD beside the state, for people: size, what
is free, what is excluded. No decision is ever made from it.
*/

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::addr::{Addr, Cidr, Interval};
use crate::policy::{Policy, Strategy};
use crate::range::{Exclude, Range, RangeSet, RangeSpec};

/// Range sets and policy of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// One set for each address of an attachment.
    pub sets: Vec<RangeSet>,
    /// How addresses are chosen.
    pub policy: Policy,
}

impl Layout {
    /// The layout as JSON: `{"sets": [[{"subnet", "rangeStart", "rangeEnd", "gateway", "exclude"}]],
    /// "exclude", "strategy", "cooldown_ms"}`, with the bounds as they came out.
    pub fn to_json(&self) -> Value {
        let texts = |excludes: &[Exclude]| -> Vec<String> {
            excludes.iter().map(|exclude| exclude.interval().to_string()).collect()
        };
        let range = |range: &Range| {
            let mut object = Map::new();
            object.insert("subnet".to_owned(), json!(range.subnet().to_string()));
            object.insert("rangeStart".to_owned(), json!(range.interval().first().to_string()));
            object.insert("rangeEnd".to_owned(), json!(range.interval().last().to_string()));
            if let Some(gateway) = range.gateway() {
                object.insert("gateway".to_owned(), json!(gateway.to_string()));
            }
            if !range.excludes().is_empty() {
                object.insert("exclude".to_owned(), json!(texts(range.excludes())));
            }
            Value::Object(object)
        };
        let sets: Vec<Vec<Value>> =
            self.sets.iter().map(|set| set.ranges().iter().map(range).collect()).collect();
        let everywhere = self.sets.first().and_then(|set| set.ranges().first());
        json!({
            "sets": sets,
            "exclude": texts(everywhere.map_or(&[], Range::excludes_everywhere)),
            "strategy": self.policy.strategy.as_str(),
            "cooldown_ms": u64::try_from(self.policy.cooldown.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Reads what [`Layout::to_json`] wrote; `None` for anything else.
    pub fn parse(value: &Value) -> Option<Self> {
        let excludes = |value: Option<&Value>| -> Option<Vec<Exclude>> {
            let Some(list) = value else { return Some(Vec::new()) };
            list.as_array()?.iter().map(|text| Exclude::parse(text.as_str()?)).collect()
        };
        let everywhere: Arc<[Exclude]> = excludes(value.get("exclude"))?.into();
        let range = |value: &Value| -> Option<RangeSpec> {
            let addr = |key: &str| -> Option<Option<Addr>> {
                let Some(value) = value.get(key) else { return Some(None) };
                Addr::parse(value.as_str()?).map(Some)
            };
            Some(RangeSpec {
                subnet: Some(Cidr::parse(value.get("subnet")?.as_str()?)?),
                start: addr("rangeStart")?,
                end: addr("rangeEnd")?,
                gateway: addr("gateway")?,
                exclude: excludes(value.get("exclude"))?,
                exclude_everywhere: Arc::clone(&everywhere),
                small: true,
            })
        };
        let set = |value: &Value| -> Option<RangeSet> {
            let specs: Option<Vec<RangeSpec>> = value.as_array()?.iter().map(range).collect();
            RangeSet::new(&specs?).ok()
        };
        let sets: Option<Vec<RangeSet>> = value.get("sets")?.as_array()?.iter().map(set).collect();
        let strategy = Strategy::parse(value.get("strategy")?.as_str()?)?;
        let cooldown = Duration::from_millis(value.get("cooldown_ms")?.as_u64()?);
        Some(Self { sets: sets?, policy: Policy { strategy, cooldown } })
    }

    /// A number that is another one for another layout, as far as 64 bits can tell.
    pub fn digest(sets: &[RangeSet], policy: Policy) -> u64 {
        let mut hasher = Fnv::default();
        sets.hash(&mut hasher);
        policy.hash(&mut hasher);
        hasher.finish()
    }

    /// The set that the address lies in, between the bounds of a range.
    pub fn set_of(&self, addr: Addr) -> Option<usize> {
        self.sets.iter().position(|set| set.range_of(addr).is_some())
    }

    /// The intervals that may be handed out from the set at this position, ascending within each range.
    pub fn usable(&self, set: usize) -> Vec<Interval> {
        self.sets.get(set).map(|set| set.search_order(None)).unwrap_or_default()
    }
}

/// FNV-1a, 64 bits: the same in every version, unlike std's hashers.
#[derive(Clone, Copy, Debug)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes
            .iter()
            .fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_layout_is_read_as_written() {
        let net = json!({"cniVersion": "1.0.0", "name": "n", "ipam": {
            "exclude": ["10.1.2.9", "2001:db8::5-2001:db8::9"], "smallSubnets": true,
            "ranges": [
                [{"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.5", "exclude": "10.1.2.64/28"},
                 {"subnet": "10.1.3.4/31"}],
                [{"subnet": "2001:db8::/64", "gateway": "fe80::1"}],
                [{"subnet": "10.9.9.9/32"}]]}});
        let config = Config::parse(&net, "", &[]).unwrap();
        let policy = Policy { strategy: Strategy::Sticky, cooldown: Duration::from_millis(1500) };
        let layout = Layout { sets: config.sets, policy };
        let again = Layout::parse(&layout.to_json()).unwrap();
        assert_eq!(again.to_json(), layout.to_json());
        for set in 0..3 {
            assert_eq!(again.usable(set), layout.usable(set));
        }
        assert_eq!(again.policy, layout.policy);
        assert_eq!(again.set_of(Addr::parse("10.1.3.5").unwrap()), Some(0));
        assert_eq!(again.set_of(Addr::parse("2001:db8::77").unwrap()), Some(1));
        for wrong in ["null", "{}", r#"{"sets":[[]],"strategy":"next","cooldown_ms":0}"#] {
            assert_eq!(Layout::parse(&serde_json::from_str(wrong).unwrap()), None, "{wrong}");
        }
    }

    #[test]
    fn another_layout_has_another_digest() {
        let sets = |subnet: &str| {
            let spec = RangeSpec { subnet: Cidr::parse(subnet), ..RangeSpec::default() };
            vec![RangeSet::new(&[spec]).unwrap()]
        };
        let policy = Policy::default();
        let digest = Layout::digest(&sets("10.1.2.0/24"), policy);
        assert_eq!(digest, Layout::digest(&sets("10.1.2.0/24"), policy));
        assert_ne!(digest, Layout::digest(&sets("10.1.2.0/25"), policy));
        let lowest = Policy { strategy: Strategy::Lowest, ..policy };
        assert_ne!(digest, Layout::digest(&sets("10.1.2.0/24"), lowest));
    }
}
