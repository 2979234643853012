/*!
The operator's command line: who has what, what leaks, what is full.

`cli` says which commands there are, `commands` has one file for each, `context` is what they are
given. What a command prints for people goes through `output`; with `--json` it prints one document,
of a type in `documents` or beside the command; docs/reference/json.md has every field.
*/

mod administer;
mod cli;
mod cluster;
mod commands;
mod configured;
mod context;
mod documents;
mod exposition;
mod foreign;
mod install;
mod lint;
mod living;
mod netconf;
mod output;
mod overlap;
mod people;
mod picture;
mod portable;
mod problems;
mod reading;
mod reference;
mod shown;
mod usage;
mod vpp;

pub use cli::main;
