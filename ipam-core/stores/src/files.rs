//! Small files of our own that are written whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::Access;
use rustix::io::Errno;

use crate::error::{Context, StoreError};

/// Whether something could be made at the path now, as far as that can be told without writing.
pub(crate) fn check_writable(path: &Path) -> Result<(), StoreError> {
    let here = path.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"));
    // The path itself may be a file that is there; what it lies in has to be a directory.
    if here != path && !here.is_dir() {
        return Err(Errno::NOTDIR).context("mkdir", here);
    }
    let wanted = if here.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
    rustix::fs::access(here, wanted).context("access", here)?;
    let space = rustix::fs::statvfs(here).context("statvfs", here)?;
    // Some file systems count no inodes.
    let full = space.f_bfree == 0 || space.f_files > 0 && space.f_ffree == 0;
    if full { Err(Errno::NOSPC).context("write", here) } else { Ok(()) }
}

/// Makes a directory of state, mode 0700, with its parents.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Gives a file, mode 0600, this content: after a crash it has the old or the new one. Callers hold a lock.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, false)
}

/// The same, and after a power loss, too.
pub(crate) fn replace_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, true)
}

fn write(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let open = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)
    };
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dir(path.parent().unwrap_or_else(|| Path::new("/")))?;
            open()?
        }
        other => other?,
    };
    file.write_all(content)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    if durable && let Some(dir) = path.parent() {
        fs::File::open(dir)?.sync_all()?;
    }
    Ok(())
}
