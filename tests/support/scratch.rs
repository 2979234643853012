//! A directory of a test's own, removed with the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A scratch directory; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new directory below the system's temporary directory.
    pub fn new(tag: &str) -> Self {
        Self::below(&std::env::temp_dir(), tag)
    }

    /// A new directory on tmpfs (`/dev/shm`).
    pub fn on_tmpfs(tag: &str) -> Self {
        Self::below(Path::new("/dev/shm"), tag)
    }

    /// A new directory below `base`, which must exist.
    pub fn below(base: &Path, tag: &str) -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("plat-{tag}-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a scratch directory can be made");
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A place below it; its parent directories are made.
    pub fn join(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().expect("a joined path has a parent"))
            .expect("parents can be made");
        path
    }

    /// Writes a file below it and tells its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).expect("a scratch file can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
