//! Where this node remembers what it has out of pools.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::Call;
use host_local::call::{database_path, default_database, network, state_dirs};
use host_local::errors::store_error;
use ipam_core::config::Place;
use ipam_pool::key::Keys;
use ipam_pool::ops::Context;
use ipam_stores::{Database, Places, PoolLedger, Remembered};

use crate::client::Connection;
use crate::identity;

/// What every operation of this process knows.
pub fn context(connection: &Connection) -> Context {
    Context { keys: Keys::new(&connection.prefix), boot: identity::boot() }
}

/// The node's ledger in a database; `lock_timeout` is for how long other calls are waited for.
pub fn ledger(call: &Call, path: &Path, lock_timeout: Duration) -> PoolLedger {
    let elsewhere = path != default_database(call);
    let dirs = state_dirs(&call.environment);
    PoolLedger::new(Database::new(path.to_path_buf(), dirs, lock_timeout), elsewhere)
}

/// The databases that the network of a call may have used, each once, and why some may be missing.
///
/// # Errors
/// If the network has no name.
pub fn databases(
    call: &Call,
    place: &Place,
) -> Result<(Vec<PathBuf>, Option<cni::Error>), cni::Error> {
    let mut paths = vec![database_path(call, place)];
    let mut add = |path: PathBuf| {
        if !paths.contains(&path) {
            paths.push(path);
        }
    };
    add(default_database(call));
    let places = Places::new(&state_dirs(&call.environment).durable, &network(call)?);
    let mut failure = None;
    match places.all() {
        Ok(remembered) => {
            for place in remembered {
                if let Remembered::Database(path) = place {
                    add(path);
                }
            }
        }
        Err(error) => failure = Some(store_error(&error)),
    }
    Ok((paths, failure))
}
