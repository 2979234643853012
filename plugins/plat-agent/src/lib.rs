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
| [`forwarding`] | what keeps packets from getting through, and what is done about it |
| [`engine`] | one look at everything |
| `gc` | what no pod lives for any more, freed |
| `feed`, `node`, `daemon` | watching etcd and the kernel, the node's own record, the loop |
| [`replay`] | attachments put back after a restart of VPP |
| `schema` | the schemas of its documents, for tests |
| `log`, `metrics`, `observe` | the log, what is counted, what is told of it |
*/

mod cli;
pub mod config;
mod daemon;
pub mod desired;
pub mod diff;
pub mod engine;
mod feed;
pub mod forwarding;
mod gc;
mod log;
pub mod metrics;
mod node;
mod observe;
mod place;
pub mod replay;
pub mod report;
#[cfg(feature = "schema")]
mod schema;
pub mod sinks;
pub mod sources;

pub use cli::{definition, main};
#[cfg(feature = "schema")]
pub use schema::schemas;
