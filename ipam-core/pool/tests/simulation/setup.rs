//! Pools that are so small that everything happens all the time.

use ipam_pool::pool::PoolSpec;
use ipam_pool::record::Mode;

/// The space of all pools.
pub(crate) const SPACE: &str = "default";

/// The pools of a world.
pub(crate) const POOLS: [&str; 7] =
    ["local", "local-dual", "sync", "sync-strict", "sync-dual", "single", "gateway"];

/// For how long nodes may go on without etcd, in seconds.
pub(crate) const AUTONOMY: u64 = 200;

/// One of [`POOLS`]. They share no address.
pub(crate) fn pool(name: &str) -> PoolSpec {
    let (v4, v6, mode) = match name {
        "local" => (Some(("10.0.0.0/28", 30)), None, Mode::Local),
        "local-dual" => (Some(("10.0.1.0/29", 31)), Some(("fd00:1::/125", 127)), Mode::Local),
        "sync" => (Some(("10.0.2.0/29", 30)), None, Mode::Sync),
        "sync-strict" => (Some(("10.0.3.0/29", 31)), None, Mode::Sync),
        "sync-dual" => (Some(("10.0.4.0/30", 31)), Some(("fd00:4::/126", 128)), Mode::Sync),
        "single" => (Some(("10.0.5.0/31", 32)), None, Mode::Local),
        "gateway" => (Some(("10.0.6.0/28", 30)), None, Mode::Local),
        other => panic!("there is no pool {other}"),
    };
    PoolSpec {
        name: name.to_owned(),
        cidr: v4.map(|(cidr, _)| cidr.to_owned()),
        cidr6: v6.map(|(cidr, _)| cidr.to_owned()),
        block: v4.map(|(_, block)| block),
        block6: v6.map(|(_, block)| block),
        mode,
        strict: name == "sync-strict",
        cooldown: if matches!(name, "local-dual" | "sync") { 30 } else { 0 },
        gateway: if name == "gateway" { "block".to_owned() } else { String::new() },
        exclude: if name == "local" { vec!["10.0.0.5".to_owned()] } else { Vec::new() },
        autonomy: Some(AUTONOMY),
        ..PoolSpec::default()
    }
}
