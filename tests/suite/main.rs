//! The suite: every test that runs the built binaries. One file per subject.

mod badinput;
mod badplaces;
mod beside;
mod captures;
mod conformance;
mod containerd;
mod corpora;
mod crash;
mod databases;
mod demo;
mod examples;
mod hammer;
mod multus;
mod node_local;
mod orphan;
mod plat_conf;
mod plat_repair;
mod plat_show;
mod podman;
mod powerloss;
mod readme;
mod stores;
mod stripped;
mod vpp_api;
