//! Network namespaces: opened once, entered by threads of their own.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;

use rustix::fs::OFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Error;
use crate::ioctl::namespace_type;

/// The file system that namespaces are files of: `NSFS_MAGIC` of `linux/magic.h`.
const NSFS_MAGIC: u64 = 0x6e73_6673;
/// `CLONE_NEWNET` of `linux/sched.h`.
const CLONE_NEWNET: i32 = 0x4000_0000;

/// An open network namespace. It lives at least as long as this value.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    identity: (u64, u64),
}

impl Namespace {
    /// Opens the namespace at a path, as `/run/netns/x` or `/proc/7/ns/net`.
    ///
    /// # Errors
    ///
    /// Nothing is at the path (`is_not_found`); what is there is no network namespace (`is_not_namespace`),
    /// as the empty file that is left at `/run/netns/x` when the mount is gone; or it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // What is at the path may be anything: a FIFO must not stop us, nor a terminal become ours.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(|source| cannot("open the network namespace", path, source))?;
        let kind = rustix::fs::fstatfs(&file)
            .map_err(|e| cannot("examine the network namespace", path, e.into()))?;
        let metadata =
            file.metadata().map_err(|e| cannot("examine the network namespace", path, e))?;
        let not = |reason| Error::NotNamespace { path: path.to_path_buf(), reason };
        // The field's type differs between architectures; the number fits in each.
        #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
        if kind.f_type as u64 & 0xffff_ffff != NSFS_MAGIC {
            return Err(not(what_else(&metadata)));
        }
        // Before Linux 4.11 the question is not known; entering it says so then.
        if namespace_type(&file).is_ok_and(|kind| kind != CLONE_NEWNET) {
            return Err(not("it is a namespace of another kind"));
        }
        Ok(Self { file, identity: (metadata.dev(), metadata.ino()) })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// `/proc` is not mounted, or it cannot be opened.
    pub fn current() -> Result<Self, Error> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// Whether both are the same namespace, by whatever paths.
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// Device and inode: the same numbers as long as the namespace lives, and no other has them then.
    pub const fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// The open file.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Runs `work` inside, on a thread of its own that ends with it: the caller's namespace never changes,
    /// whatever happens. A panic of `work` goes on in the caller.
    ///
    /// # Errors
    ///
    /// The thread cannot be started, or may not enter; `work` has not run then.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let entered = || {
            move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| Error::refused("enter the network namespace", e.into()))?;
            Ok(work())
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("namespace".to_owned())
                .spawn_scoped(scope, entered)
                .map_err(|e| Error::refused("start a thread for the network namespace", e))?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn cannot(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { what, path: path.to_path_buf(), source }
}

fn what_else(metadata: &std::fs::Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        "it is a directory"
    } else if kind.is_file() && metadata.len() == 0 {
        "it is an empty file, nothing is mounted on it"
    } else if kind.is_file() {
        "it is a regular file"
    } else if kind.is_fifo() {
        "it is a FIFO"
    } else if kind.is_char_device() || kind.is_block_device() {
        "it is a device"
    } else {
        "it is a file of another kind"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_one() {
        let one = Namespace::current().expect("the own namespace");
        let two = Namespace::open("/proc/self/ns/net".as_ref()).expect("the own namespace");
        assert!(one.is_same(&two));
        assert_eq!(one.identity(), two.identity());
    }

    #[test]
    fn what_is_none_is_said() {
        for (path, reason) in [
            ("/dev/null", "a device"),
            ("/proc/self/ns/uts", "another kind"),
            ("/", "a directory"),
            ("/proc/version", "a"),
        ] {
            let error = Namespace::open(path.as_ref()).expect_err(path);
            assert!(error.is_not_namespace() && !error.is_not_found(), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
            assert!(error.to_string().starts_with(path), "{error}");
        }
        let error = Namespace::open("/run/netns/plat none".as_ref()).expect_err("nothing there");
        assert!(error.is_not_found() && !error.is_not_namespace(), "{error}");
        assert_eq!(
            error.to_string(),
            "cannot open the network namespace /run/netns/plat none: No such file or directory"
        );
    }
}
