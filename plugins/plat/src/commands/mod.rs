//! One file for each command.

pub(crate) mod agent;
pub(crate) mod block;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod conf;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod gc;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod install;
pub(crate) mod keys;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod map;
pub(crate) mod node;
pub(crate) mod pool;
pub(crate) mod release;
pub(crate) mod render;
pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod uninstall;
pub(crate) mod vpp;
pub(crate) mod watch;
pub(crate) mod who;
