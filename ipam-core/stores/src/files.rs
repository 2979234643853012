//! Small files of our own that are written whole or not at all, and files of others that are only read.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Access, OFlags};
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

/// How a file of state is opened, mode 0600 where it is made: a symbolic link in its place, which somebody else has
/// put there, is not followed, and a FIFO is not waited for.
pub fn state_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    options.mode(0o600).custom_flags(flags.bits().cast_signed());
    options
}

/// Opens a file that a configuration names. Nothing but a regular file is opened: a FIFO would keep the call
/// waiting for its other end, and some devices do something when they are opened.
///
/// # Errors
/// If it cannot be opened, or is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let check = |meta: &Metadata| match meta {
        meta if meta.is_file() => Ok(()),
        meta if meta.is_dir() => Err(io::Error::from(Errno::ISDIR)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    };
    check(&fs::metadata(path)?)?;
    // Whatever the path means by now: it is not waited for. Some files of the kernel's would keep a reader waiting.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`open_regular`]; if it cannot be read, or is longer.
pub fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_regular(path)?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > limit) {
        let message = format!("longer than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(content)
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
    let open = || state_file().write(true).create(true).truncate(true).open(&temporary);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_no_file_is_neither_read_nor_written_through() {
        let dir = std::env::temp_dir().join(format!("plat-files-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let at = |name: &str| dir.join(name);
        fs::write(at("file"), b"12345").unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), fifo, 0o600.into(), 0).unwrap();
        assert_eq!(read_regular(&at("file"), 5).unwrap(), b"12345");
        assert_eq!(read_regular(&at("link"), 9).unwrap(), b"12345");
        for (name, limit, why) in [
            ("file", 4, "longer than 4 bytes"),
            ("zero", 9, "not a regular file"),
            ("fifo", 9, "not a regular file"),
            ("", 9, "Is a directory"),
            ("none", 9, "No such file"),
        ] {
            let error = read_regular(&at(name), limit).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        // Somebody who can write to the directory foresees the temporary name.
        symlink(at("file"), at("state.new")).unwrap();
        assert!(replace(&at("state"), b"new").is_err());
        assert_eq!(fs::read(at("file")).unwrap(), b"12345");
        fs::remove_dir_all(&dir).unwrap();
    }
}
