//! What commands do with `--cluster`: the pools in etcd instead of this node's stores.

pub(crate) mod check;
pub(crate) mod import;
pub(crate) mod map;
pub(crate) mod own;
pub(crate) mod status;
pub(crate) mod who;
