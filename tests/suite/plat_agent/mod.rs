//! plat-agent, with network namespaces as nodes, real etcds, and VPP in miniature.

mod calico;
mod cluster;
mod examples;
mod faults;
mod kernel;
mod pool;
mod vpp;
