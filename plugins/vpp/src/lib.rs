/*!
vpp: a CNI main plugin that attaches pods to VPP and sets up its uplink.

| room | what is in it |
|---|---|
| [`config`], [`names`], [`tag`] | what was written, what follows from it, what VPP's interfaces carry: pure |
| [`record`] | what is remembered of each attachment |
| `attach` | VPP's side: what is to be there, as values, and the steps that make it so |
| `pod` | the pod's side: what is to be there, as values, and netlink in its namespace |
| `make` | both sides together |
| [`node`] | the node's part of VPP: gateway, uplink, routes to other nodes, host link |
| `plugin` | the CNI operations |
| [`replay`] | attachments put back after a restart of VPP |
| `errors` | the one place where troubles get CNI codes |
*/

mod attach;
pub mod config;
mod errors;
mod make;
pub mod names;
pub mod node;
mod plugin;
mod pod;
pub mod record;
pub mod replay;
pub mod tag;
mod text;

pub use attach::StepError;
pub use errors::Problem;
pub use plugin::Vpp;
