/*!
An attachment's addresses are several files: the note that makes an ADD or a DEL of them all or nothing.

Before the first file gets its name, or loses it, the call writes down which ones that will be, and
removes the note when it is done. A note that is found under the lock is the rest of a call that was
killed: of an ADD that nobody has an answer of, or of a DEL. Either way none of these reservations is
wanted any more, and what is left of them is removed. Each name is noted with the inode and the
modification time of its file, so that a reservation made later under the same name by somebody else is
never touched.

The note lies in the volatile state directory: after a reboot nobody is alive who could hold a part.
*/

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipam_core::addr::Addr;
use rustix::fs::Stat;

use super::files::Files;
use crate::error::{Context, StoreError};

/// The place of the note of one directory.
#[derive(Debug)]
pub(super) struct Pending {
    path: PathBuf,
}

/// A file of which the note speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) addr: Addr,
    pub(super) fingerprint: (u64, i64, i64),
}

impl Pending {
    /// The note of a directory.
    pub(super) fn new(volatile: &Path, dir: &Stat) -> Self {
        let name = format!("{:x}-{:x}", dir.st_dev, dir.st_ino);
        Self { path: volatile.join("pending").join(name) }
    }

    /// Writes the note. False where that cannot be: then a killed call leaves its part to the DEL.
    pub(super) fn write(&self, planned: &[Planned]) -> bool {
        let text: String = planned.iter().map(Planned::line).collect();
        let write = || -> Option<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(self.path.parent()?).ok()?;
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&self.path)
                .ok()?;
            file.write_all(text.as_bytes()).ok()
        };
        write().is_some()
    }

    /// Begins a note that grows with what is made; `None` where it cannot be written.
    pub(super) fn begin(&self) -> Option<Journal> {
        self.write(&[]).then_some(())?;
        OpenOptions::new().append(true).open(&self.path).ok().map(Journal)
    }

    /// Removes the note.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        fs::remove_file(&self.path).context("unlink", &self.path)
    }

    /// Removes what a killed call has left, if there is a note of it.
    pub(super) fn recover(&self, files: &Files) -> Result<(), StoreError> {
        let Ok(text) = fs::read_to_string(&self.path) else { return Ok(()) };
        for planned in text.lines().filter_map(Planned::parse) {
            let name = planned.addr.to_string();
            if files.fingerprint(&name) == Some(planned.fingerprint) {
                files.remove(&name)?;
            }
        }
        self.clear()
    }
}

/// A note that is being written, one line before each name is given.
#[derive(Debug)]
pub(super) struct Journal(fs::File);

impl Journal {
    /// Adds a file that is about to get its name.
    pub(super) fn add(&mut self, planned: &Planned) -> std::io::Result<()> {
        self.0.write_all(planned.line().as_bytes())
    }
}

impl Planned {
    fn line(&self) -> String {
        let (inode, seconds, nanoseconds) = self.fingerprint;
        format!("{} {inode} {seconds} {nanoseconds}\n", self.addr)
    }

    /// A torn line is one whose file has no name yet: the note is written first.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let addr = Addr::parse(words.next()?)?;
        let inode = words.next()?.parse().ok()?;
        let fingerprint = (inode, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { addr, fingerprint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_written() {
        let planned = Planned {
            addr: Addr::parse("2001:db8::5").unwrap(),
            fingerprint: (77, 1_700_000_000, 123_456_789),
        };
        let line = planned.line();
        assert_eq!(Planned::parse(line.trim_end()), Some(planned));
        for cut in 0..line.len() - 12 {
            assert_ne!(Planned::parse(&line[..cut]), Some(planned));
        }
    }
}
