//! The suite: every test that runs the built binaries. One file per subject.

mod badinput;
mod badplaces;
mod beside;
mod captures;
mod conformance;
mod containerd;
mod corpora;
mod crash;
mod demo;
mod examples;
mod hammer;
mod multus;
mod node_local;
mod orphan;
mod podman;
mod powerloss;
mod stores;
mod stripped;
