//! Changing the node index of a network by hand.

use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::PIN;
use super::files::Files;
use crate::error::{Context, StoreError};
use crate::lock::Lock;

/// Notes another index in a network's directory, under its lock.
///
/// # Errors
/// If the directory is not there, is locked for longer than `lock_timeout`, or cannot be written.
pub(crate) fn set_pin(path: &Path, index: u32, lock_timeout: Duration) -> Result<(), StoreError> {
    let Some(files) = Files::open(path)? else { return Err(Errno::NOENT).context("open", path) };
    let _lock = Lock::exclusive(files.lock_file()?, &files.at("lock"), lock_timeout)?;
    files.overwrite(PIN, index.to_string().as_bytes()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_changed_under_the_lock() {
        let path = std::env::temp_dir().join(format!("plat-pin-{}", std::process::id()));
        let timeout = Duration::from_millis(20);
        assert!(set_pin(&path, 5, timeout).is_err());
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join(PIN), "4294967295").unwrap();
        set_pin(&path, 5, timeout).unwrap();
        assert_eq!(std::fs::read_to_string(path.join(PIN)).unwrap(), "5");
        let lock = std::fs::File::open(path.join("lock")).unwrap();
        let held = Lock::exclusive(lock, &path, timeout).unwrap();
        assert!(set_pin(&path, 6, timeout).unwrap_err().is_transient());
        drop(held);
        assert_eq!(std::fs::read_to_string(path.join(PIN)).unwrap(), "5");
        std::fs::remove_dir_all(&path).unwrap();
    }
}
