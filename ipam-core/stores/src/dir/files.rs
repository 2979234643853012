/*!
The files of one network directory, one system call or two at a time.

Everything works on an open directory, so that a directory renamed or replaced in the middle of a call
cannot mix two states.
*/

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use ipam_core::addr::Addr;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::record::LARGEST;
use crate::error::{Context, StoreError};
use crate::{IN_MEMORY, network_fs};

/// The temporary names where the file system has no unnamed files (NFS, some FUSE). They are used under the
/// lock only, so a few names are enough for ever. The reference takes what a crash leaves under them for
/// reservations without address: harmless.
pub(super) const TEMPORARY: &str = ".plat.tmp";

/// An open network directory.
#[derive(Debug)]
pub(super) struct Files {
    dir: OwnedFd,
    path: PathBuf,
}

/// An entry of the directory whose name is an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) addr: Addr,
    pub(super) inode: u64,
    /// When the file was last changed, its content or its links; only where that was asked for.
    pub(super) changed: Option<(i64, i64)>,
    /// The name, where it is another spelling than the reference's.
    spelling: Option<Box<str>>,
    /// Whether it is a regular file.
    pub(super) regular: bool,
}

impl Entry {
    /// The name.
    pub(super) fn name(&self) -> String {
        self.spelling.as_ref().map_or_else(|| self.addr.to_string(), ToString::to_string)
    }

    /// Whether the entry is what the reference would have made: an address in its usual spelling, a
    /// regular file.
    pub(super) const fn is_plain(&self) -> bool {
        self.regular && self.spelling.is_none()
    }
}

/// A file whose beginning was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peek {
    /// How many bytes were read.
    pub(super) length: usize,
    pub(super) inode: u64,
    /// The modification time in seconds since 1970.
    pub(super) modified: u64,
    /// Whether it is a regular file; nothing is read of another one.
    pub(super) regular: bool,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) entries: Vec<Entry>,
    pub(super) subdirectories: Vec<String>,
    /// Whether the listing is complete.
    pub(super) complete: bool,
}

/// How closely a directory is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// One small buffer: enough to tell whether the directory is small, cheap however large it is.
    First,
    /// Everything.
    All,
    /// Everything, with the time of each file's last change.
    Times,
}

/// The size of the buffer of a first look, in bytes: some 45 IPv4 or 35 IPv6 addresses. Reading so many
/// files costs less than keeping an index.
const FIRST_LOOK: usize = 1536;

/// A file that has content but no name yet.
#[derive(Debug)]
pub(super) struct Unnamed {
    file: OwnedFd,
    /// Where the file system has no unnamed files: its temporary name.
    temporary: Option<String>,
}

impl Files {
    /// Opens a directory; `None` if there is none.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(dir) => Ok(Some(Self { dir, path: path.to_path_buf() })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).context("open", path),
        }
    }

    /// Whether there is anything that a call could have left: a lock or a reservation.
    pub(super) fn is_used(&self) -> Result<bool, StoreError> {
        if self.exists("lock")? {
            return Ok(true);
        }
        let names = self.names(Look::First)?;
        Ok(!names.complete || !names.entries.is_empty() || !names.subdirectories.is_empty())
    }

    /// The open directory.
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The path it was opened by.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a name in it.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens the lock file, and makes it as the reference does where it is missing.
    pub(super) fn lock_file(&self) -> Result<File, StoreError> {
        // The directory may be one that others can write to: a link is not followed, a FIFO not waited for.
        let flags = OFlags::RDONLY
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, "lock", flags, Mode::from_raw_mode(0o750))
            .map(File::from)
            .context("open", &self.at("lock"))
    }

    /// Whether the path leads to this lock file now.
    pub(super) fn leads_to(&self, lock: Option<(u64, u64)>) -> bool {
        let now = rustix::fs::stat(self.at("lock")).map(|stat| (stat.st_dev, stat.st_ino));
        lock.is_some() && now.ok() == lock
    }

    /// Device, inode, times of the directory.
    pub(super) fn stat(&self) -> Result<Stat, StoreError> {
        rustix::fs::fstat(&self.dir).context("stat", &self.path)
    }

    /// Sets the directory's modification time.
    pub(super) fn set_modified(&self, time: Timespec) -> Result<(), StoreError> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: time,
        };
        rustix::fs::futimens(&self.dir, &times).context("utimensat", &self.path)
    }

    /// Whether other machines may change the directory behind this kernel's back.
    pub(super) fn on_network(&self) -> bool {
        network_fs(&self.dir).is_some()
    }

    /// Whether the directory lies in memory: such file systems never use an inode number twice.
    pub(super) fn in_memory(&self) -> bool {
        rustix::fs::fstatfs(&self.dir).is_ok_and(|fs| IN_MEMORY.contains(&fs.f_type))
    }

    /// The directory, to be read from its beginning.
    fn reopened(&self) -> Result<OwnedFd, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, ".", flags, Mode::empty()).context("open", &self.path)
    }

    /// Lists the directory.
    pub(super) fn names(&self, look: Look) -> Result<Names, StoreError> {
        let mut names = Names::default();
        let all = look != Look::First;
        let size = if all { 64 * 1024 } else { FIRST_LOOK };
        let mut buffer = Vec::with_capacity(size);
        let mut dir = RawDir::new(self.reopened()?, buffer.spare_capacity_mut());
        let mut rounds = 0;
        loop {
            if dir.is_buffer_empty() {
                rounds += 1;
                // The second call tells whether the first one saw everything.
                if rounds > 2 && !all {
                    return Ok(names);
                }
            }
            let Some(entry) = dir.next() else { break };
            if rounds > 1 && !all {
                return Ok(names);
            }
            let entry = entry.context("readdir", &self.path)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let kind = entry.file_type();
            let regular = kind.is_file();
            let unknown = kind == rustix::fs::FileType::Unknown;
            match Addr::parse(name) {
                Some(addr) => names.entries.push(Entry {
                    addr,
                    inode: entry.ino(),
                    changed: (look == Look::Times)
                        .then(|| self.changed(entry.file_name()))
                        .flatten(),
                    spelling: other_spelling(addr, name),
                    regular: regular || unknown && self.is_regular(name),
                }),
                None if kind.is_dir() && name != "." && name != ".." => {
                    names.subdirectories.push(name.to_owned());
                }
                None => {}
            }
        }
        names.complete = true;
        Ok(names)
    }

    /// Tells every entry's name and kind, but for `.` and `..`.
    pub(super) fn each(&self, tell: &mut dyn FnMut(&CStr, FileType)) -> Result<(), StoreError> {
        let mut buffer = Vec::with_capacity(64 * 1024);
        let mut dir = RawDir::new(self.reopened()?, buffer.spare_capacity_mut());
        while let Some(entry) = dir.next() {
            let entry = entry.context("readdir", &self.path)?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                tell(name, entry.file_type());
            }
        }
        Ok(())
    }

    /// Reads the beginning of a file, as much as there is room for.
    pub(super) fn peek(&self, name: &CStr, buffer: &mut [u8]) -> Result<Peek, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        let regular = FileType::from_raw_mode(stat.st_mode).is_file();
        let length = if regular && stat.st_size > 0 { rustix::io::read(&file, buffer)? } else { 0 };
        let modified = u64::try_from(stat.st_mtime).unwrap_or_default();
        Ok(Peek { length, inode: stat.st_ino, modified, regular })
    }

    fn changed(&self, name: &CStr) -> Option<(i64, i64)> {
        let stat = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_ctime, i64::try_from(stat.st_ctime_nsec).ok()?))
    }

    fn is_regular(&self, name: &str) -> bool {
        rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file())
    }

    /// Whether a name exists, as whatever.
    pub(super) fn exists(&self, name: &str) -> Result<bool, StoreError> {
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error).context("stat", &self.at(name)),
        }
    }

    /// A file's content and inode; `None` if there is no such file. Only so much of it as can matter.
    pub(super) fn read(&self, name: &str) -> Result<Option<(Vec<u8>, u64)>, StoreError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error).context("open", &self.at(name)),
        };
        let inode = file.metadata().context("stat", &self.at(name))?.ino();
        let mut content = Vec::with_capacity(128);
        file.take(LARGEST).read_to_end(&mut content).context("read", &self.at(name))?;
        Ok(Some((content, inode)))
    }

    /// A file with this content and mode 0600 (before umask), without a name. `nth` tells apart those that
    /// one call makes.
    pub(super) fn unnamed(&self, content: &str, nth: usize) -> Result<Unnamed, StoreError> {
        let mode = Mode::from_raw_mode(0o600);
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let unnamed = match rustix::fs::openat(&self.dir, ".", flags, mode) {
            Ok(file) => Unnamed { file, temporary: None },
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                let name = format!("{TEMPORARY}.{nth}");
                // The rest of a crash may be linked to a reservation: never write through it.
                self.remove(&name)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&self.dir, &name, flags, mode)
                    .context("open", &self.at(&name))?;
                Unnamed { file, temporary: Some(name) }
            }
            Err(error) => return Err(error).context("open", &self.path),
        };
        write_all(unnamed.file.as_fd(), content.as_bytes(), &self.path)?;
        Ok(unnamed)
    }

    /// Gives the file its name, if nothing has that name; false if something has.
    pub(super) fn link(&self, unnamed: &Unnamed, name: &str) -> Result<bool, StoreError> {
        let linked = match &unnamed.temporary {
            Some(temporary) => {
                rustix::fs::linkat(&self.dir, temporary, &self.dir, name, AtFlags::empty())
            }
            None => self.link_open(&unnamed.file, name),
        };
        match linked {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error).context("link", &self.at(name)),
        }
    }

    fn link_open(&self, file: &OwnedFd, name: &str) -> Result<(), Errno> {
        match rustix::fs::linkat(file, "", &self.dir, name, AtFlags::EMPTY_PATH) {
            // Kernels before 6.10 want a capability for that; /proc does without.
            Err(Errno::NOENT | Errno::PERM) => {
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                let follow = AtFlags::SYMLINK_FOLLOW;
                rustix::fs::linkat(rustix::fs::CWD, path, &self.dir, name, follow)
            }
            other => other,
        }
    }

    /// Removes the temporary name of a file, if it has one.
    pub(super) fn settle(&self, unnamed: &Unnamed) -> Result<(), StoreError> {
        unnamed.temporary.as_ref().map_or(Ok(()), |name| self.remove(name))
    }

    /// Removes a name; that there is none is no error.
    pub(super) fn remove(&self, name: &str) -> Result<(), StoreError> {
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error).context("unlink", &self.at(name)),
        }
    }

    /// Writes a small file in place, mode 0600 when made, and tells what was in it before. Truncating it
    /// first, as the reference does, costs a flush to disk on ext4; here the old rest is cut off afterwards.
    pub(super) fn overwrite(&self, name: &str, content: &[u8]) -> Result<Before, StoreError> {
        let path = self.at(name);
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let (file, made) = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                let flags = flags | OFlags::CREATE;
                (rustix::fs::openat(&self.dir, name, flags, Mode::from_raw_mode(0o600)), true)
            }
            other => (other, false),
        };
        let mut file = File::from(file.context("open", &path)?);
        let mut before = Vec::new();
        (&mut file).take(LARGEST).read_to_end(&mut before).context("read", &path)?;
        let written = file.write_all_at(content, 0).and_then(|()| {
            if before.len() > content.len() {
                file.set_len(u64::try_from(content.len()).unwrap_or_default())?;
            }
            Ok(())
        });
        if let Err(error) = written {
            if made {
                self.remove(name)?;
            }
            return Err(error).context("write", &path);
        }
        Ok(Before((!made).then_some(before)))
    }

    /// Puts back what was there before an [`Files::overwrite`], as far as that can be done.
    pub(super) fn restore(&self, name: &str, before: &Before) {
        let _ = match &before.0 {
            Some(content) => self.overwrite(name, content).map(|_| ()),
            None => self.remove(name),
        };
    }
}

/// What a file held before it was overwritten.
#[derive(Debug)]
pub(super) struct Before(Option<Vec<u8>>);

/// A name that parses as an address but is not what the address prints as. IPv4 has one spelling only,
/// but for the IPv6 ways to write it.
fn other_spelling(addr: Addr, name: &str) -> Option<Box<str>> {
    (name.contains(':') && addr.to_string() != name).then(|| name.into())
}

impl Unnamed {
    /// The inode number.
    pub(super) fn inode(&self) -> Option<u64> {
        rustix::fs::fstat(&self.file).ok().map(|stat| stat.st_ino)
    }

    /// The inode, and a modification time that no other file gets by chance.
    pub(super) fn fingerprint(&self, now: Timespec) -> Option<(u64, i64, i64)> {
        let times = Timestamps { last_access: now, last_modification: now };
        rustix::fs::futimens(&self.file, &times).ok()?;
        fingerprint_of(self.file.as_fd())
    }
}

/// Inode and modification time of an open file.
pub(super) fn fingerprint_of(file: impl AsFd) -> Option<(u64, i64, i64)> {
    let stat = rustix::fs::fstat(file).ok()?;
    Some((stat.st_ino, stat.st_mtime, i64::try_from(stat.st_mtime_nsec).ok()?))
}

impl Files {
    /// Inode and modification time of a name.
    pub(super) fn fingerprint(&self, name: &str) -> Option<(u64, i64, i64)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty()).ok()?;
        fingerprint_of(file)
    }
}

fn write_all(file: impl AsFd, mut content: &[u8], path: &Path) -> Result<(), StoreError> {
    while !content.is_empty() {
        match rustix::io::write(&file, content) {
            Ok(0) => {
                return Err(io::Error::from(io::ErrorKind::WriteZero)).context("write", path);
            }
            Ok(n) => content = content.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("write", path),
        }
    }
    Ok(())
}
