//! Changes of a pool's description.

use ipam_core::addr::Interval;
use ipam_core::range::Exclude;

use crate::pool::{BadPool, PoolSpec};
use crate::record::Mode;

/// What is to be changed of a pool: only what is given. `Some(None)` takes a value away, so that what is usual
/// holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolPatch {
    /// Its IPv4 addresses.
    pub cidr: Option<Option<String>>,
    /// Its IPv6 addresses.
    pub cidr6: Option<Option<String>>,
    /// The prefix length of IPv4 blocks.
    pub block: Option<Option<u8>>,
    /// The prefix length of IPv6 blocks.
    pub block6: Option<Option<u8>>,
    /// How addresses are given out.
    pub mode: Option<Mode>,
    /// Whether a node never uses addresses of another node's block.
    pub strict: Option<bool>,
    /// How many blocks of a family a node may hold.
    pub max_blocks: Option<Option<u32>>,
    /// For how long a freed address rests, in seconds.
    pub cooldown: Option<u64>,
    /// The gateway.
    pub gateway: Option<String>,
    /// For how long a node may go on without etcd, in seconds; 0: for ever.
    pub autonomy: Option<Option<u64>>,
    /// Addresses that are not to be given out any more.
    pub exclude: Vec<String>,
    /// Excludes that end: each as it is written there, or another text for the same addresses.
    pub include: Vec<String>,
}

impl PoolPatch {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The description after the change. What a later version has added to it stays.
    ///
    /// # Errors
    /// If an exclude is none.
    pub fn apply(&self, spec: &PoolSpec) -> Result<PoolSpec, BadPool> {
        let mut new = spec.clone();
        set(&mut new.cidr, &self.cidr);
        set(&mut new.cidr6, &self.cidr6);
        set(&mut new.block, &self.block);
        set(&mut new.block6, &self.block6);
        // A family that goes takes its block prefix length along.
        if self.cidr == Some(None) && self.block.is_none() {
            new.block = None;
        }
        if self.cidr6 == Some(None) && self.block6.is_none() {
            new.block6 = None;
        }
        set(&mut new.mode, &self.mode);
        set(&mut new.strict, &self.strict);
        set(&mut new.max_blocks, &self.max_blocks);
        set(&mut new.cooldown, &self.cooldown);
        set(&mut new.gateway, &self.gateway);
        set(&mut new.autonomy, &self.autonomy);
        let ended: Vec<Interval> = intervals(&self.include)?;
        new.exclude.retain(|text| {
            Exclude::parse(text).is_none_or(|exclude| !ended.contains(&exclude.interval()))
        });
        let mut there: Vec<Interval> =
            new.exclude.iter().filter_map(|text| Some(Exclude::parse(text)?.interval())).collect();
        for (text, interval) in self.exclude.iter().zip(intervals(&self.exclude)?) {
            if !there.contains(&interval) {
                new.exclude.push(text.clone());
                there.push(interval);
            }
        }
        Ok(new)
    }
}

fn set<T: Clone>(value: &mut T, new: &Option<T>) {
    if let Some(new) = new {
        *value = new.clone();
    }
}

fn intervals(texts: &[String]) -> Result<Vec<Interval>, BadPool> {
    texts
        .iter()
        .map(|text| {
            Exclude::parse(text).map(Exclude::interval).ok_or_else(|| BadPool {
                key: "exclude",
                message: format!("cannot exclude {text:?}"),
                expected: "an address, a CIDR or FIRST-LAST",
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_changes() {
        let spec: PoolSpec = serde_json::from_str(
            r#"{"name":"pods","cidr":"10.64.0.0/12","cidr6":"fd00::/96","blk6":120,"maxBlocks":3,
                "exclude":["10.64.0.0/24","10.64.1.1"],"nodes":"role=worker"}"#,
        )
        .unwrap();
        assert_eq!(PoolPatch::default().apply(&spec).unwrap(), spec);
        assert!(PoolPatch::default().is_empty());
        let patch = PoolPatch {
            cidr6: Some(None),
            max_blocks: Some(None),
            cooldown: Some(60),
            // The same addresses as one that is there, and one that is new.
            exclude: vec!["10.64.1.1/32".to_owned(), "10.64.2.0-10.64.2.9".to_owned()],
            include: vec!["10.64.0.0-10.64.0.255".to_owned()],
            ..PoolPatch::default()
        };
        let new = patch.apply(&spec).unwrap();
        assert_eq!(
            serde_json::to_string(&new).unwrap(),
            r#"{"name":"pods","cidr":"10.64.0.0/12","mode":"local","cool":60,"exclude":["10.64.1.1","10.64.2.0-10.64.2.9"],"nodes":"role=worker"}"#
        );
        // Twice is once.
        assert_eq!(patch.apply(&new).unwrap(), new);
        for bad in ["10.64.0", "x", ""] {
            let patch = PoolPatch { exclude: vec![bad.to_owned()], ..PoolPatch::default() };
            assert_eq!(patch.apply(&spec).unwrap_err().key, "exclude", "{bad}");
        }
    }
}
