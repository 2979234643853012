/*!
Which directories and databases a network has used.

Some runtimes lose the configuration: Multus sends a DEL with the network's name and the plugin's type and
nothing else. The attachment may lie in a `dataDir` that is no longer named. So every directory but
the default one is remembered before its first reservation, as a symbolic link
`<state>/places/<network>@<hash of the path>` to the dataDir: made in one system call, whole or not at
all, and readable by people. A database is remembered the same way, by a link
`<network>@db-<hash of the path>`, unless it is the one that the plugin uses by default.
*/

use std::fs;
use std::hash::Hasher as _;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use ipam_core::identity::Network;
use ipam_core::layout::Fnv;

use crate::IN_MEMORY;
use crate::error::{Context, StoreError};

/// The longest network name that is written out in a link's name, in bytes.
const LONGEST: usize = 200;

/// A place that a network has used; an absolute path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remembered {
    /// A dataDir.
    DataDir(PathBuf),
    /// A database.
    Database(PathBuf),
}

impl Remembered {
    /// The path.
    pub fn path(&self) -> &Path {
        match self {
            Self::DataDir(path) | Self::Database(path) => path,
        }
    }

    /// What the hash in a link's name begins with.
    const fn prefix(&self) -> &'static str {
        match self {
            Self::DataDir(_) => "",
            Self::Database(_) => DATABASE,
        }
    }
}

/// What tells a database's link from a dataDir's.
const DATABASE: &str = "db-";

/// The directories and databases that one network has used.
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

    /// Remembers a place.
    ///
    /// # Errors
    /// If it cannot be remembered.
    pub fn remember(&self, place: &Remembered) -> Result<(), StoreError> {
        let link = self.link(place);
        if fs::read_link(&link).is_ok_and(|target| target == place.path()) {
            return Ok(());
        }
        let make = || std::os::unix::fs::symlink(place.path(), &link);
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
        self.keep_order(place.path())
    }

    /// On one journalling file system the link is older than any reservation, also after a power loss. On
    /// two, it must be written out first, unless nothing of the place survives anyway.
    fn keep_order(&self, place: &Path) -> Result<(), StoreError> {
        let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
        let here = device(&self.dir);
        let in_memory = rustix::fs::statfs(place).is_ok_and(|fs| IN_MEMORY.contains(&fs.f_type));
        if in_memory || here.is_some() && here == device(place) {
            return Ok(());
        }
        for dir in self.dir.ancestors().take(2) {
            fs::File::open(dir).and_then(|dir| dir.sync_all()).context("fsync", dir)?;
        }
        Ok(())
    }

    /// Forgets a place, under its lock; one that is not remembered is no error.
    pub fn forget(&self, place: &Remembered) {
        // A link too many costs a look, a link too few an address: a failure is no reason to fail.
        let _ = fs::remove_file(self.link(place));
    }

    /// Forgets a place where there is nothing of the network, and so no lock either: `state` is the network's
    /// directory, or the database.
    ///
    /// An ADD may be making that now. It makes it first and looks for the link then; here the link is put
    /// aside first, and the state looked for then. Whichever comes first, the link stays if the state is
    /// there: an ADD that saw the link made its state before it was put aside.
    pub fn forget_if_gone(&self, place: &Remembered, state: &Path) {
        let link = self.link(place);
        // Still a link of the network's: a crash right here forgets nothing.
        let mut aside = link.clone().into_os_string();
        aside.push(".aside");
        if fs::rename(&link, &aside).is_err() {
            return;
        }
        let _ = match fs::symlink_metadata(state) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(&aside),
            _ => fs::rename(&aside, &link),
        };
    }

    /// The remembered places, in no particular order.
    ///
    /// # Errors
    /// If they cannot be read; that there are none is no error.
    pub fn all(&self) -> Result<Vec<Remembered>, StoreError> {
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
            let name = entry.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(&self.prefix));
            // What is no link is not ours.
            if let Some(rest) = rest
                && let Ok(target) = fs::read_link(entry.path())
            {
                let database = rest.starts_with(DATABASE);
                let place = if database { Remembered::Database } else { Remembered::DataDir };
                places.push(place(target));
            }
        }
        Ok(places)
    }

    /// Every network with each dataDir that it has used, by name; a name too long to be written out is left
    /// out.
    pub(crate) fn everywhere(durable: &Path) -> Vec<(Network, PathBuf)> {
        let Ok(entries) = fs::read_dir(durable.join("places")) else { return Vec::new() };
        let mut places: Vec<(Network, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name();
                let (network, rest) = name.to_str()?.split_once('@')?;
                if rest.starts_with(DATABASE) {
                    return None;
                }
                Some((Network::new(network).ok()?, fs::read_link(entry.path()).ok()?))
            })
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    fn link(&self, place: &Remembered) -> PathBuf {
        let hash = fnv1a(place.path().as_os_str().as_encoded_bytes());
        self.dir.join(format!("{}{}{hash:016x}", self.prefix, place.prefix()))
    }
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = Fnv::default();
    hash.write(bytes);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_dir(path: &str) -> Remembered {
        Remembered::DataDir(PathBuf::from(path))
    }

    #[test]
    fn a_link_that_was_put_aside_still_counts() {
        let state = std::env::temp_dir().join(format!("plat-places-aside-{}", std::process::id()));
        let places = Places::new(&state, &Network::new("a.b").unwrap());
        places.remember(&data_dir("/tmp/a")).unwrap();
        let link = places.link(&data_dir("/tmp/a"));
        fs::rename(&link, state.join("places").join("a.b@0.aside")).unwrap();
        assert_eq!(places.all().unwrap(), [data_dir("/tmp/a")]);
        fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn long_names_are_told_apart() {
        let state = std::env::temp_dir().join(format!("plat-places-long-{}", std::process::id()));
        let of = |last: char| {
            let name = "n.".repeat(127) + &last.to_string();
            Places::new(&state, &Network::new(name).unwrap())
        };
        of('a').remember(&data_dir("/tmp/a")).unwrap();
        of('b').remember(&data_dir("/tmp/b")).unwrap();
        assert_eq!(of('a').all().unwrap(), [data_dir("/tmp/a")]);
        assert_eq!(of('b').all().unwrap(), [data_dir("/tmp/b")]);
        of('b').forget_if_gone(&data_dir("/tmp/b"), Path::new("/tmp/b/none"));
        of('a').forget_if_gone(&data_dir("/tmp/a"), Path::new("/"));
        assert_eq!(of('a').all().unwrap(), [data_dir("/tmp/a")]);
        assert!(of('b').all().unwrap().is_empty());
        fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn places_are_remembered_once_and_forgotten() {
        let state = std::env::temp_dir().join(format!("plat-places-{}", std::process::id()));
        let places = Places::new(&state, &Network::new("n").unwrap());
        assert!(places.all().unwrap().is_empty());
        assert!(!state.exists(), "looking makes nothing");
        let (a, b) = (data_dir("/tmp/a"), data_dir("/tmp/b"));
        for place in [&a, &b, &a] {
            places.remember(place).unwrap();
        }
        let mut all = places.all().unwrap();
        all.sort();
        assert_eq!(all, [a.clone(), b.clone()]);
        places.forget(&a);
        places.forget(&a);
        assert_eq!(places.all().unwrap(), std::slice::from_ref(&b));
        let other = Places::new(&state, &Network::new("n2").unwrap());
        assert!(other.all().unwrap().is_empty());
        places.forget(&b);
        assert!(places.all().unwrap().is_empty());
        fs::remove_dir_all(&state).unwrap();
    }
}
