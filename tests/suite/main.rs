//! The suite: every test that runs the built binaries. One file per subject.

mod badplaces;
mod beside;
mod captures;
mod conformance;
mod containerd;
mod crash;
mod demo;
mod hammer;
mod multus;
mod orphan;
mod podman;
mod powerloss;
