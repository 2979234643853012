/*!
One exclusive lock per place, with a deadline.

flock(2) through fs2, the same lock that the reference takes on the same file, so that both can work on
one directory. Waiters sleep in the kernel's queue; only a contended call starts a thread for that,
because flock itself knows no deadline. `std::fs::File::lock` would do the same since Rust 1.89.
*/

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::error::{Context, StoreError};

/// A held lock; released when dropped (or when the process ends, however it ends).
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock on an open file, waiting for at most `deadline`. `path` is for the error only.
    ///
    /// # Errors
    /// [`StoreError::Busy`] with the holder's process ID where the kernel tells it.
    pub fn exclusive(file: File, path: &Path, deadline: Duration) -> Result<Self, StoreError> {
        match fs2::FileExt::try_lock_exclusive(&file) {
            Ok(()) => return Ok(Self { _file: file }),
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => {}
            Err(error) => return Err(error).context("flock", path),
        }
        let waiting = file.try_clone().context("dup", path)?;
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(move || {
                let locked = fs2::FileExt::lock_exclusive(&waiting);
                // Nobody listens any more after the deadline.
                let _ = sender.send(locked);
            })
            .context("clone", path)?;
        match receiver.recv_timeout(deadline) {
            Ok(Ok(())) => Ok(Self { _file: file }),
            Ok(Err(error)) => Err(error).context("flock", path),
            Err(_) => Err(StoreError::Busy {
                path: path.to_path_buf(),
                holder: holder(&file),
                waited: deadline,
            }),
        }
    }
}

impl Lock {
    /// Takes the lock on an open file if nobody has it; `None` if somebody does. `path` is for the error only.
    ///
    /// # Errors
    /// If the file cannot be locked.
    pub fn try_exclusive(file: File, path: &Path) -> Result<Option<Self>, StoreError> {
        match fs2::FileExt::try_lock_exclusive(&file) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => Ok(None),
            Err(error) => Err(error).context("flock", path),
        }
    }
}

/// Who holds the lock on a file, from /proc/locks: `process 123 (name)`, as far as it can be seen.
fn holder(file: &File) -> String {
    let unknown = || "another process".to_owned();
    let (Ok(meta), Ok(locks)) = (file.metadata(), fs::read_to_string("/proc/locks")) else {
        return unknown();
    };
    // "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"; a waiter's line has "->" as second field.
    let inode = format!(":{}", meta.ino());
    let pid = locks.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>()).find_map(
        |fields| match fields.as_slice() {
            [_, "FLOCK", _, _, pid, place, ..] if place.ends_with(&inode) => {
                Some((*pid).to_owned())
            }
            _ => None,
        },
    );
    pid.map_or_else(unknown, |pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        match name.trim() {
            "" => format!("process {pid}"),
            name => format!("process {pid} ({name})"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn lock_file(tag: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("plat-lock-{tag}-{}", std::process::id()));
        File::create(&path).unwrap();
        path
    }

    #[test]
    fn a_held_lock_is_waited_for() {
        let path = lock_file("wait");
        let open = || File::open(&path).unwrap();
        let held = Lock::exclusive(open(), &path, Duration::from_secs(1)).unwrap();
        let (sender, receiver) = mpsc::channel();
        let waiter = {
            let (file, path) = (open(), path.clone());
            thread::spawn(move || {
                sender.send(()).unwrap();
                Lock::exclusive(file, &path, Duration::from_secs(30)).map(|_| ())
            })
        };
        receiver.recv().unwrap();
        drop(held);
        waiter.join().unwrap().unwrap();
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_held_lock_is_not_waited_for_by_who_only_tries() {
        let path = lock_file("try");
        let try_it = || Lock::try_exclusive(File::open(&path).unwrap(), &path).unwrap();
        let held = try_it();
        assert!(held.is_some() && try_it().is_none());
        drop(held);
        assert!(try_it().is_some());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_holder_is_named_after_the_deadline() {
        let path = lock_file("busy");
        let open = || File::open(&path).unwrap();
        let _held = Lock::exclusive(open(), &path, Duration::from_secs(1)).unwrap();
        let error = Lock::exclusive(open(), &path, Duration::from_millis(20)).unwrap_err();
        assert!(error.is_transient());
        let text = error.to_string();
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        fs::remove_file(&path).unwrap();
    }
}
