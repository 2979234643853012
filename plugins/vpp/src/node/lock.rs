//! One call at a time changes the node's part of a VPP: a flock on a file for each of VPP's sockets.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{Context as _, NodeError};
use crate::names::hash64;

/// A held lock; it ends with the value, or the process.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Where the files of a VPP are: a directory for each of its sockets, whichever way leads there.
pub(super) fn directory(run_dir: &Path, socket: &Path) -> PathBuf {
    let real = std::fs::canonicalize(socket);
    let hash = hash64(&[&real.as_deref().unwrap_or(socket).to_string_lossy()]);
    run_dir.join("node").join(format!("{hash:016x}"))
}

/// Makes a directory that only root can look into.
pub(super) fn make(directory: &Path) -> Result<(), NodeError> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).context("create", directory)
}

impl Lock {
    /// Takes the lock in a directory of [`directory`], which is made if it is not there. Waits until the
    /// deadline at most.
    pub(super) fn take(directory: &Path, deadline: Instant) -> Result<Self, NodeError> {
        make(directory)?;
        let path = directory.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).context("open", &path)?;
        let begun = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match fs2::FileExt::try_lock_exclusive(&file) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(error) if error.kind() == fs2::lock_contended_error().kind() => {}
                Err(error) => return Err(error).context("lock", &path),
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(NodeError::Busy { path, waited: now.duration_since(begun) });
            }
            // Whoever holds it waits for VPP, for some milliseconds; flock itself knows no deadline.
            thread::sleep(pause.min(deadline.duration_since(now)));
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(tag: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("plat-node-{tag}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_held_lock_is_waited_for_until_the_deadline() {
        let scratch = scratch("lock");
        let at = directory(&scratch, Path::new("/run/vpp/api.sock"));
        let soon = || Instant::now() + Duration::from_millis(30);
        let held = Lock::take(&at, soon()).unwrap();
        let error = Lock::take(&at, soon()).unwrap_err();
        assert!(
            matches!(&error, NodeError::Busy { path, .. } if *path == at.join("lock")),
            "{error}"
        );
        let other = directory(&scratch, Path::new("/run/other/api.sock"));
        Lock::take(&other, soon()).expect("another VPP has another lock");
        drop(held);
        Lock::take(&at, soon()).unwrap();
        std::fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn who_waits_gets_it() {
        let scratch = scratch("wait");
        let at = directory(&scratch, Path::new("a"));
        let later = Instant::now() + Duration::from_secs(60);
        let held = Lock::take(&at, later).unwrap();
        let waiter = thread::spawn(move || Lock::take(&at, later).map(|_| ()));
        drop(held);
        waiter.join().unwrap().unwrap();
        std::fs::remove_dir_all(&scratch).unwrap();
    }
}
