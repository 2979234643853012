/*!
The allocation core of Plat.

Every IPAM plugin here is the same machine with another first part: *ranges* say which addresses a call
may choose from, the *allocator* decides, a *store* remembers.

```text
 runtime ──stdin JSON + CNI_*──► plugin ──► RANGES ──► ALLOCATOR ──► STORE ──► result JSON
```

This crate is pure: values in, values out. Files, sockets, clocks, the environment and host names
belong to the plugins and to `ipam-stores`; a clippy fence (`clippy.toml`) holds that line.
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
