//! plat-agent, with network namespaces as nodes, real etcds, and VPP in miniature.

mod calico;
mod cluster;
mod contiv;
mod examples;
mod explain;
mod faults;
mod forwarding;
mod kernel;
mod kubenet;
mod multus;
mod observe;
mod pods;
mod pool;
mod replay;
mod shared;
mod vpp;
