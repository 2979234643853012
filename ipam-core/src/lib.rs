/*!
The allocation core of Plat.

Every IPAM plugin here is the same machine with another first part: *ranges* say which addresses a call
may choose from, the *allocator* decides, a *store* remembers.

```text
 runtime ──stdin JSON + CNI_*──► plugin ──► RANGES ──► ALLOCATOR ──► STORE ──► result JSON
```

This crate is pure: values in, values out. Files, sockets, clocks, the environment and host names
belong to the plugins and to `ipam-stores`; a clippy fence (`clippy.toml`) holds that line.

```
use ipam_core::allocator::{Repeat, Request};
use ipam_core::config::Config;
use ipam_core::identity::{Attachment, ContainerId, IfName};
use ipam_core::{ipam, memory::MemoryStore, store::Store};

let net = serde_json::json!({"ipam": {"type": "host-local", "subnet": "10.1.4.0/24"}});
let config = Config::parse(&net, "", &[]).expect("a configuration");
let attachment = Attachment {
    container: ContainerId::new("c1").expect("a container ID"),
    ifname: IfName::new("eth0").expect("a name"),
};
let request = Request {
    attachment: &attachment,
    sets: &config.sets,
    requested: &config.requested,
    repeat: Repeat::Return,
    pin: None,
    policy: config.policy,
    owner: &config.owner,
};
// `ipam_stores` has the stores that last.
let mut store = MemoryStore::default();
let answer = ipam::add(&mut store, &request, &config.routes, &mut || true).expect("an address");
assert_eq!(answer.ips[0].address.to_string(), "10.1.4.2/24");
let freed = store.release(&attachment).expect("a store in memory");
assert_eq!(freed[0].to_string(), "10.1.4.2");
```

| room | what is in it |
|---|---|
| [`addr`], [`range`], [`extents`] | addresses of both families as one ordered type, ranges that cannot be wrong, free space as intervals |
| [`config`], [`policy`], [`rules`] | a configuration as written and checked, how addresses are chosen, what an administrator allows |
| [`template`], [`node`], [`peers`] | the node's number, and what is filled in with it |
| [`identity`] | networks, attachments, pods: names that are checked once |
| [`allocator`] | which address, or why none |
| [`store`], [`memory`] | what remembers, as a trait, and its model in memory |
| [`ipam`] | the CNI operations over all that |
| [`layout`] | what addresses were chosen from, written down for people |
*/

pub mod addr;
pub mod allocator;
pub mod config;
pub mod extents;
pub mod identity;
pub mod ipam;
pub mod layout;
pub mod memory;
pub mod node;
pub mod peers;
pub mod policy;
pub mod range;
pub mod rules;
pub mod store;
pub mod template;
