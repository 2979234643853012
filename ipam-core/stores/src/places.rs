/*!
Which directories a network has used.

Some runtimes lose the configuration: Multus sends a DEL with the network's name and the plugin's type and
nothing else. The attachment may lie in a `dataDir` that is no longer named. So every directory but
the default one is remembered before its first reservation, as a symbolic link
`<state>/places/<network>@<hash of the path>` to the dataDir: made in one system call, whole or not at
all, and readable by people.
*/

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use ipam_core::identity::Network;

use crate::IN_MEMORY;
use crate::error::{Context, StoreError};

/// The longest network name that is written out in a link's name, in bytes.
const LONGEST: usize = 200;

/// The directories that one network has used.
#[derive(Clone, Debug)]
pub struct Places {
    dir: PathBuf,
    /// What the names of the network's links begin with; `@` is in no network's name.
    prefix: String,
}

impl Places {
    /// The places of a network, below the durable state directory.
    pub fn new(durable: &Path, network: &Network) -> Self {
        let name = network.as_str();
        let prefix = match name.get(..LONGEST) {
            // A file name has 255 bytes at most; a longer name is told apart by its hash.
            Some(cut) if name.len() > LONGEST => {
                format!("{cut}@{:016x}@", fnv1a(name.as_bytes()))
            }
            _ => format!("{name}@"),
        };
        Self { dir: durable.join("places"), prefix }
    }

    /// Remembers a dataDir (an absolute path).
    ///
    /// # Errors
    /// If it cannot be remembered.
    pub fn remember(&self, data_dir: &Path) -> Result<(), StoreError> {
        let link = self.link(data_dir);
        if fs::read_link(&link).is_ok_and(|target| target == data_dir) {
            return Ok(());
        }
        let make = || std::os::unix::fs::symlink(data_dir, &link);
        let made = match make() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&self.dir)
                    .context("mkdir", &self.dir)?;
                make()
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Something that is no link of ours.
                fs::remove_file(&link).context("unlink", &link)?;
                make()
            }
            other => other,
        };
        made.context("symlink", &link)?;
        self.keep_order(data_dir)
    }

    /// On one journalling file system the link is older than any reservation, also after a power loss. On
    /// two, it must be written out first, unless nothing of the dataDir survives anyway.
    fn keep_order(&self, data_dir: &Path) -> Result<(), StoreError> {
        let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
        let here = device(&self.dir);
        let in_memory = rustix::fs::statfs(data_dir).is_ok_and(|fs| IN_MEMORY.contains(&fs.f_type));
        if in_memory || here.is_some() && here == device(data_dir) {
            return Ok(());
        }
        for dir in self.dir.ancestors().take(2) {
            fs::File::open(dir).and_then(|dir| dir.sync_all()).context("fsync", dir)?;
        }
        Ok(())
    }

    /// Forgets a dataDir, under the lock of the network's directory in it; one that is not remembered is no
    /// error.
    pub fn forget(&self, data_dir: &Path) {
        // A link too many costs a look, a link too few an address: a failure is no reason to fail.
        let _ = fs::remove_file(self.link(data_dir));
    }

    /// Forgets a dataDir in which there is no directory of the network, and so no lock either.
    ///
    /// An ADD may be making that directory now. It makes it first and looks for the link then; here the link
    /// is put aside first, and the directory looked for then. Whichever comes first, the link stays if
    /// the directory is there: an ADD that saw the link made its directory before it was put aside.
    pub fn forget_if_gone(&self, data_dir: &Path, network_dir: &Path) {
        let link = self.link(data_dir);
        // Still a link of the network's: a crash right here forgets nothing.
        let mut aside = link.clone().into_os_string();
        aside.push(".aside");
        if fs::rename(&link, &aside).is_err() {
            return;
        }
        let _ = match fs::symlink_metadata(network_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(&aside),
            _ => fs::rename(&aside, &link),
        };
    }

    /// The remembered dataDirs, in no particular order.
    ///
    /// # Errors
    /// If they cannot be read; that there are none is no error.
    pub fn all(&self) -> Result<Vec<PathBuf>, StoreError> {
        let entries = match fs::read_dir(&self.dir) {
            // Where no directory can be, nothing was remembered.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Vec::new());
            }
            other => other.context("open", &self.dir)?,
        };
        let mut places = Vec::new();
        for entry in entries {
            let entry = entry.context("readdir", &self.dir)?;
            let ours =
                entry.file_name().to_str().is_some_and(|name| name.starts_with(&self.prefix));
            // What is no link is not ours.
            if ours && let Ok(target) = fs::read_link(entry.path()) {
                places.push(target);
            }
        }
        Ok(places)
    }

    fn link(&self, data_dir: &Path) -> PathBuf {
        let hash = fnv1a(data_dir.as_os_str().as_encoded_bytes());
        self.dir.join(format!("{}{hash:016x}", self.prefix))
    }
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_was_put_aside_still_counts() {
        let state = std::env::temp_dir().join(format!("plat-places-aside-{}", std::process::id()));
        let places = Places::new(&state, &Network::new("a.b").unwrap());
        places.remember(Path::new("/tmp/a")).unwrap();
        let link = places.link(Path::new("/tmp/a"));
        fs::rename(&link, state.join("places").join("a.b@0.aside")).unwrap();
        assert_eq!(places.all().unwrap(), [Path::new("/tmp/a")]);
        fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn long_names_are_told_apart() {
        let state = std::env::temp_dir().join(format!("plat-places-long-{}", std::process::id()));
        let of = |last: char| {
            let name = "n.".repeat(127) + &last.to_string();
            Places::new(&state, &Network::new(name).unwrap())
        };
        of('a').remember(Path::new("/tmp/a")).unwrap();
        of('b').remember(Path::new("/tmp/b")).unwrap();
        assert_eq!(of('a').all().unwrap(), [Path::new("/tmp/a")]);
        assert_eq!(of('b').all().unwrap(), [Path::new("/tmp/b")]);
        of('b').forget_if_gone(Path::new("/tmp/b"), Path::new("/tmp/b/none"));
        of('a').forget_if_gone(Path::new("/tmp/a"), Path::new("/"));
        assert_eq!(of('a').all().unwrap(), [Path::new("/tmp/a")]);
        assert!(of('b').all().unwrap().is_empty());
        fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn places_are_remembered_once_and_forgotten() {
        let state = std::env::temp_dir().join(format!("plat-places-{}", std::process::id()));
        let places = Places::new(&state, &Network::new("n").unwrap());
        assert!(places.all().unwrap().is_empty());
        assert!(!state.exists(), "looking makes nothing");
        let (a, b) = (Path::new("/tmp/a"), Path::new("/tmp/b"));
        for place in [a, b, a] {
            places.remember(place).unwrap();
        }
        let mut all = places.all().unwrap();
        all.sort();
        assert_eq!(all, [a, b]);
        places.forget(a);
        places.forget(a);
        assert_eq!(places.all().unwrap(), [b]);
        let other = Places::new(&state, &Network::new("n2").unwrap());
        assert!(other.all().unwrap().is_empty());
        places.forget(b);
        assert!(places.all().unwrap().is_empty());
        fs::remove_dir_all(&state).unwrap();
    }
}
