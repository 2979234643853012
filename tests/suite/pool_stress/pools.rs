//! The pools and networks of the test.

use std::net::IpAddr;

use ipam_core::addr::{Addr, Cidr};
use ipam_core::range::Exclude;
use serde_json::{Value, json};

/// A pool, small enough for its blocks to be fought for.
pub(super) struct PoolOf {
    pub(super) name: &'static str,
    cidr: &'static str,
    block: u8,
    cidr6: &'static str,
    block6: u8,
    exclude: &'static [&'static str],
    pub(super) cooldown: u64,
}

/// The pools. Blocks of the second are fewer than nodes.
pub(super) const POOLS: &[PoolOf] = &[
    PoolOf {
        name: "local",
        cidr: "10.70.0.0/21",
        block: 27,
        cidr6: "fd00:70::/104",
        block6: 122,
        exclude: &["10.70.0.32-10.70.0.40", "10.70.1.0/27", "fd00:70::/122"],
        cooldown: 1,
    },
    PoolOf {
        name: "sync",
        cidr: "10.71.0.0/24",
        block: 28,
        cidr6: "fd00:71::/104",
        block6: 124,
        exclude: &["10.71.0.16/30", "10.71.0.90", "fd00:71::a/128"],
        cooldown: 1,
    },
];

impl PoolOf {
    fn spec(&self) -> Value {
        json!({
            "name": self.name,
            "mode": self.name,
            "cidr": self.cidr,
            "blk": self.block,
            "cidr6": self.cidr6,
            "blk6": self.block6,
            "exclude": self.exclude,
            "cool": self.cooldown,
        })
    }

    /// Whether an address lies in the pool.
    pub(super) fn has(&self, address: &str) -> bool {
        let Some(addr) = Addr::parse(address) else { return false };
        let cidrs = [self.cidr, self.cidr6].into_iter().filter_map(Cidr::parse);
        cidrs.into_iter().any(|cidr| cidr.network().contains(addr))
    }

    /// Whether the pool may give an address out.
    pub(super) fn gives(&self, address: &str) -> bool {
        let Some(addr) = Addr::parse(address) else { return false };
        let excluded = self.exclude.iter().any(|text| {
            let exclude = Exclude::parse(text).expect("an exclude");
            exclude.interval().contains(addr)
        });
        let network = Cidr::parse(self.cidr).expect("a CIDR").network();
        let ends = [network.first(), network.last()];
        self.has(address) && !excluded && !ends.contains(&addr)
    }
}

/// A network of the runtime's, with the pool that its addresses come from.
pub(super) struct Net {
    pub(super) name: &'static str,
    pub(super) pool: &'static PoolOf,
    dual: bool,
}

/// Two networks for each pool, one of them without IPv6.
pub(super) fn nets() -> Vec<Net> {
    let name = |pool: &PoolOf, dual: bool| match (pool.name, dual) {
        ("local", true) => "local-dual",
        ("local", false) => "local-v4",
        (_, true) => "sync-dual",
        (_, false) => "sync-v4",
    };
    let all = POOLS.iter().flat_map(|pool| [(pool, true), (pool, false)]);
    all.map(|(pool, dual)| Net { name: name(pool, dual), pool, dual }).collect()
}

impl Net {
    /// The configuration of a node.
    pub(super) fn config(&self, node: usize, connection: &Value) -> Value {
        let families = if self.dual { json!(["ipv4", "ipv6"]) } else { json!(["ipv4"]) };
        json!({
            "cniVersion": "1.1.0",
            "name": self.name,
            "type": "bridge",
            "ipam": {
                "type": "etcd-pool",
                "index": node + 1,
                "pool": self.pool.spec(),
                "families": families,
                "etcd": connection,
                // How long others of a node may have the lock is not the subject.
                "lockTimeout": "10m",
            },
        })
    }

    /// What is wrong with the addresses of an answer.
    pub(super) fn fault(&self, addresses: &[String]) -> Option<String> {
        let is_v4 = |text: &&String| matches!(text.parse(), Ok(IpAddr::V4(_)));
        let v4 = addresses.iter().filter(is_v4).count();
        if v4 != 1 || addresses.len() != 1 + usize::from(self.dual) {
            return Some(format!("{}: not one of each family: {addresses:?}", self.name));
        }
        let stranger = addresses.iter().find(|address| !self.pool.gives(address))?;
        Some(format!("{}: {stranger} is not for giving out", self.name))
    }
}
