//! Starting the process that flushes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{ARGUMENT, take_lock};
use crate::client::Connection;

/// What the variables begin with that the process keeps.
const KEPT: &[u8] = b"PLAT_";

/// A flush that is wanted.
#[derive(Clone, Debug)]
pub struct Start {
    volatile: PathBuf,
    database: PathBuf,
    /// How etcd is reached, where the call's configuration says so.
    connection: Option<String>,
}

impl Start {
    /// A flush of a database's outbox.
    pub fn new(volatile: &Path, database: &Path, connection: Option<&Connection>) -> Self {
        Self {
            volatile: volatile.to_path_buf(),
            database: database.to_path_buf(),
            connection: connection.and_then(|c| serde_json::to_string(c).ok()),
        }
    }

    /// Starts the process unless there is one, or an agent, and does not wait for it. That it cannot be
    /// started is nobody's loss: the next call tries again.
    pub fn start(&self) {
        match take_lock(&self.volatile) {
            // Whoever flushes looks once more after it has let the lock go.
            Ok(None) => return,
            Ok(Some(lock)) => drop(lock),
            Err(_) => {}
        }
        let _ = self.command("/proc/self/exe", std::env::vars_os()).spawn();
    }

    fn command(
        &self,
        program: &str,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .arg0("etcd-pool")
            .arg(ARGUMENT)
            .arg(&self.database)
            .args(&self.connection)
            .env_clear()
            .envs(environment.filter(|(name, _)| is_kept(name)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

fn is_kept(name: &OsStr) -> bool {
    name.as_bytes().starts_with(KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_gets_what_it_needs_and_nothing_else() {
        let connection = Connection::parse(&serde_json::json!({"endpoints": ["http://a:1"]}));
        let connection = connection.unwrap();
        let start = Start::new(Path::new("/run/p"), Path::new("/run/p/db"), Some(&connection));
        let environment = ["PLAT_RUN_DIR", "CNI_ARGS", "PATH", "SECRET"];
        let environment = environment.into_iter().map(|name| (name.into(), "x".into()));
        let command = start.command("/bin/true", environment);
        let arguments: Vec<&OsStr> = command.get_args().collect();
        assert_eq!(arguments[..2], ["flush", "/run/p/db"]);
        let given: Connection = serde_json::from_str(arguments[2].to_str().unwrap()).unwrap();
        assert_eq!(given, connection);
        let kept: Vec<_> = command.get_envs().collect();
        assert_eq!(kept, [(OsStr::new("PLAT_RUN_DIR"), Some(OsStr::new("x")))]);
    }
}
