/*!
The operations, proved by trying.

A [`world::World`] is some nodes with their stores, one etcd, and a network that loses requests and answers,
delivers requests twice and late. Processes are killed between any two steps and in the middle of a
transaction; nodes reboot, are removed, come back; clocks jump. After each step the invariants of
[`check`] are checked. [`random`] tries schedules at random and shrinks those that fail, [`interleave`] tries
every order of a few, and [`controls`] shows that both find what they look for: with one compare ignored,
an address is given twice.
*/

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this is a test"
)]

mod check;
mod command;
mod controls;
mod interleave;
mod job;
mod operator;
mod process;
mod random;
mod runtime;
mod setup;
mod world;
