//! File systems that are full.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use crate::MountNamespace;

/// What a full file system lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Room for another page of any file.
    Pages,
    /// Room for another file.
    Inodes,
}

/// A small tmpfs.
#[derive(Debug)]
pub struct SmallDisk {
    /// As the namespace sees it.
    pub inside: PathBuf,
    /// As this process sees it.
    pub outside: PathBuf,
}

impl SmallDisk {
    const PAGE: u64 = 4096;

    /// One of so many KiB, with 40 inodes.
    pub fn mount(namespace: &MountNamespace, inside: PathBuf, kib: u32) -> Self {
        namespace.mount_tmpfs(&inside, &format!("size={kib}k,nr_inodes=40,mode=0755"));
        let outside = namespace.path(&inside);
        Self { inside, outside }
    }

    /// Leaves so many pages or inodes.
    pub fn fill_up(&self, shortage: Shortage, left: u64) {
        match shortage {
            Shortage::Pages => {
                let mut file = fs::File::create(self.outside.join("padding")).expect("an inode");
                let page = [b'x'; Self::PAGE as usize];
                let mut pages: u64 = 0;
                while file.write_all(&page).is_ok() {
                    pages += 1;
                    assert!(pages < 1000, "the file system is not small");
                }
                file.set_len(pages.saturating_sub(left) * Self::PAGE).expect("a file can be cut");
            }
            Shortage::Inodes => {
                let name = |n: u64| self.outside.join(format!("padding{n}"));
                let full = (0..1000).find(|n| fs::File::create(name(*n)).is_err());
                let full = full.expect("the file system is small");
                for n in full.saturating_sub(left)..full {
                    fs::remove_file(name(n)).expect("a file can be removed");
                }
            }
        }
    }
}
