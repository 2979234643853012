//! The way to etcd.

use std::path::{Path, PathBuf};

use etcd_pool::client::{Connection, Etcd, EtcdError};
use ipam_pool::key::Keys;
use ipam_pool::node::NodeState;

use crate::context::{Context, Failure};
use crate::problems::plain;

/// Where etcd is, unless something else is said.
const FILE: &str = "/etc/plat/etcd.json";

/// Names another file.
const VARIABLE: &str = "PLAT_ETCD_CONFIG";

/// What this node remembers of its pools, in the durable state directory.
const POOLS: &str = "pool.json";

/// The most that is read of it.
const LIMIT: u64 = 16 * 1024 * 1024;

/// The space of an address, unless another one is named.
pub(crate) const DEFAULT_SPACE: &str = "default";

impl From<EtcdError> for Failure {
    fn from(error: EtcdError) -> Self {
        Self::new(plain(&error.message), plain(error.advice))
    }
}

/// etcd, and the keys below its prefix. Nothing is connected yet.
///
/// # Errors
/// If nothing says where it is, or the description is wrong.
pub(crate) fn etcd(context: &Context) -> Result<(Etcd, Keys), Failure> {
    let connection = connection(context)?;
    let keys = Keys::new(&connection.prefix);
    Ok((Etcd::new(&connection)?, keys))
}

/// How etcd is reached: as the command line says, the environment's file, the usual file, or what this node's
/// plugin was told last.
///
/// # Errors
/// As [`etcd`].
pub(crate) fn connection(context: &Context) -> Result<Connection, Failure> {
    let named = context.etcd.as_deref();
    if let Some(urls) = named.filter(|text| text.contains("://")) {
        let endpoints: Vec<&str> =
            urls.split(',').map(str::trim).filter(|u| !u.is_empty()).collect();
        let value = serde_json::json!({ "endpoints": endpoints });
        return Ok(Connection::parse(&value)?);
    }
    let variable = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
    if let Some(path) = named.map(PathBuf::from).or_else(|| variable.map(PathBuf::from)) {
        return Ok(Connection::read(&path)?);
    }
    let usual = context.survey.at(Path::new(FILE));
    if !usual.exists()
        && let Some(remembered) = remembered(context)
        && !remembered.connection.is_null()
    {
        return Ok(Connection::parse(&remembered.connection)?);
    }
    Ok(Connection::read(&usual)?)
}

/// What this node remembers of its pools; `None` if it uses none, or that cannot be read.
pub(crate) fn remembered(context: &Context) -> Option<NodeState> {
    use std::io::Read as _;
    let path = context.survey.at(&context.survey.state.durable).join(POOLS);
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(LIMIT).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// The space that is meant.
pub(crate) fn space(context: &Context) -> &str {
    context.space.as_deref().unwrap_or(DEFAULT_SPACE)
}
