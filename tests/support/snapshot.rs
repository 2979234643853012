//! What lies below a directory, to be compared before and after.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Names, contents and modes of everything below a directory. Times and inode numbers are not in it:
/// a call that changed something and put it back has changed nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Directory,
    File(Vec<u8>),
    Link(PathBuf),
    Other,
}

impl Snapshot {
    /// Everything below `top`, itself included; empty if it does not exist. A symbolic link is recorded,
    /// not followed, except that `top` itself may be one.
    pub fn of(top: &Path) -> Self {
        let mut snapshot = Self::default();
        let top = fs::canonicalize(top).unwrap_or_else(|_| top.to_path_buf());
        snapshot.visit(&top, Path::new(""));
        snapshot
    }

    /// Several trees in one.
    pub fn of_all<'a>(tops: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut all = Self::default();
        for top in tops {
            let below = Self::of(top).entries;
            all.entries.extend(below.into_iter().map(|(name, entry)| (top.join(name), entry)));
        }
        all
    }

    /// The same without directories: an empty one more is no trace of anything.
    #[must_use]
    pub fn without_directories(mut self) -> Self {
        self.entries.retain(|_, entry| entry.content != Content::Directory);
        self
    }

    /// The names, below the top, of what is not a directory.
    pub fn files(&self) -> Vec<&Path> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.content != Content::Directory)
            .map(|(name, _)| name.as_path())
            .collect()
    }

    /// A line for each difference to a later snapshot; empty if there is none.
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let gone = self.entries.keys().filter(|name| !later.entries.contains_key(*name));
        let mut lines: Vec<String> =
            gone.map(|name| format!("{} is gone", name.display())).collect();
        for (name, entry) in &later.entries {
            match self.entries.get(name) {
                None => lines.push(format!("{} is new: {entry:?}", name.display())),
                Some(before) if before != entry => {
                    lines.push(format!("{}: {before:?} is now {entry:?}", name.display()));
                }
                Some(_) => {}
            }
        }
        lines
    }

    fn visit(&mut self, top: &Path, name: &Path) {
        let path = if name.as_os_str().is_empty() { top.to_path_buf() } else { top.join(name) };
        let Ok(metadata) = fs::symlink_metadata(&path) else { return };
        let kind = metadata.file_type();
        let content = if kind.is_dir() {
            Content::Directory
        } else if kind.is_symlink() {
            Content::Link(fs::read_link(&path).unwrap_or_default())
        } else if kind.is_fifo()
            || kind.is_socket()
            || kind.is_char_device()
            || kind.is_block_device()
        {
            Content::Other
        } else {
            Content::File(fs::read(&path).unwrap_or_default())
        };
        let directory = content == Content::Directory;
        let mode = metadata.permissions().mode() & 0o7777;
        self.entries.insert(name.to_path_buf(), Entry { mode, content });
        if directory {
            for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
                self.visit(top, &name.join(entry.file_name()));
            }
        }
    }
}
