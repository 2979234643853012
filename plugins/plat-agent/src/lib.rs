/*!
plat-agent: what a process that ends after each call cannot do.

It keeps the routes to the pods of other nodes, in the kernel, in VPP, or in both; registers its node in etcd
with its addresses; and does for etcd-pool what calls leave behind: the outbox is written, blocks are claimed
ahead and given back.

```text
 sources                     desired (pure)            diff (pure)             sinks
 registry and blocks ─┐                                                    ┌─ kernel: own protocol number
 Calico's blocks      ├─► entries ─► routes, held,  ─► add, replace,     ─┤
 computed             │              refused          delete, keep,        └─ VPP: own FIB source
 file                ─┘                               foreign
```

| room | what is in it |
|---|---|
| [`config`] | the configuration as written, and what it means on a node |
| [`sources`] | what sources have told: key by key for those in etcd |
| [`desired`], [`diff`] | which routes there should be, and what is to be done: pure |
| [`sinks`] | listing and changing routes |
| [`engine`] | one look at everything |
| `feed`, `node`, `daemon` | watching etcd and the kernel, the node's own record, the loop |
| `observe` | metrics and health |
*/

mod cli;
pub mod config;
mod daemon;
pub mod desired;
pub mod diff;
pub mod engine;
mod feed;
mod log;
mod node;
mod observe;
mod place;
pub mod report;
pub mod sinks;
pub mod sources;

pub use cli::main;
