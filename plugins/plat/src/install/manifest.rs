/*!
What was put where: `install.json` in the durable state directory, mode 0600.

```json
{"schema": 1, "dirs": {"/opt/cni/bin": {"host-local": {"digest": "<SHA-256>", "version": "0.1.0",
  "before": {"file": "host-local.before-plat", "digest": "<SHA-256>"}}}},
 "files": {"/etc/cni/net.d/10-plat.conflist": {"digest": "<SHA-256>", "previous": "<SHA-256>"}}}
```

It is written before the first file is changed, whole or not at all, and goes when nothing is left in it.
*/

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_stores::lock::Lock;
use serde::{Deserialize, Serialize};

use super::{failed, shown};
use crate::context::Failure;

/// The format that this version writes.
const SCHEMA: u32 = 1;

/// What was put where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    schema: u32,
    /// By directory, by name.
    pub(crate) dirs: BTreeMap<String, BTreeMap<String, Entry>>,
    /// Other files, by their paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) files: BTreeMap<String, Entry>,
}

/// A program or another file that was put somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its SHA-256 in hexadecimal.
    pub(crate) digest: String,
    /// What a program says of its version; empty for another file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    /// The checksum of the one of ours whose place it takes, for a run that is killed; of other files only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<String>,
    /// What was there before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Before>,
}

impl Entry {
    /// A file that is no program.
    pub(crate) fn file(digest: &str, previous: Option<String>, before: Option<Before>) -> Self {
        Self { digest: digest.to_owned(), version: String::new(), previous, before }
    }

    /// The checksums that are of ours.
    pub(crate) fn digests(&self) -> Vec<&str> {
        [Some(self.digest.as_str()), self.previous.as_deref()].into_iter().flatten().collect()
    }
}

/// Somebody else's program that was put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    /// Its name now, in the same directory.
    pub(crate) file: String,
    /// Its checksum; none of a link to nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self { schema: SCHEMA, dirs: BTreeMap::new(), files: BTreeMap::new() }
    }
}

impl Manifest {
    fn path(state: &Path) -> PathBuf {
        state.join("install.json")
    }

    /// Reads it; an empty one if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub(crate) fn read(state: &Path) -> Result<Self, Failure> {
        let path = Self::path(state);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        let advice = "remove that file: plugins of Plat are known without it, but what was put aside for \
                      them (*.before-plat) has to be put back by hand";
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| Failure::new(format!("{}: {error}", shown(&path)), advice))?;
        if manifest.schema > SCHEMA {
            let message = format!("{} has schema {}", shown(&path), manifest.schema);
            return Err(Failure::new(message, "a later version of plat has written it: use that"));
        }
        Ok(manifest)
    }

    /// What was put into a directory.
    pub(crate) fn of(&self, dir: &str) -> BTreeMap<String, Entry> {
        self.dirs.get(dir).cloned().unwrap_or_default()
    }

    /// Remembers what is in a directory.
    pub(crate) fn set(&mut self, dir: &str, entries: BTreeMap<String, Entry>) {
        if entries.is_empty() {
            self.dirs.remove(dir);
        } else {
            self.dirs.insert(dir.to_owned(), entries);
        }
    }

    /// Writes it durably; removes it if there is nothing in it.
    ///
    /// # Errors
    /// If that cannot be done.
    pub(crate) fn write(&self, state: &Path) -> Result<(), Failure> {
        let path = Self::path(state);
        let done = if self.dirs.is_empty() && self.files.is_empty() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                removed => removed.and_then(|()| File::open(state)?.sync_all()),
            }
        } else {
            self.replace(state, &path)
        };
        done.map_err(|error| failed("write", &path, &error))
    }

    fn replace(&self, state: &Path, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let temporary = state.join("install.json.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(state)?.sync_all()
    }
}

/// Makes sure that nobody else installs on this system meanwhile.
///
/// # Errors
/// If somebody does for too long, or the state directory cannot be made.
pub(crate) fn lock(state: &Path, deadline: Duration) -> Result<Lock, Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state);
    made.map_err(|error| failed("make", state, &error))?;
    let path = state.join("install.lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(|error| failed("open", &path, &error))?;
    Ok(Lock::exclusive(file, &path, deadline)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_goes_when_it_is_empty() {
        let dir = std::env::temp_dir().join(format!("plat-manifest-{}", std::process::id()));
        let _lock = lock(&dir, Duration::from_secs(5)).unwrap();
        assert_eq!(Manifest::read(&dir).unwrap(), Manifest::default());
        let entry =
            Entry { digest: "aa".into(), version: "0.1.0".into(), previous: None, before: None };
        let mut manifest = Manifest::default();
        manifest.set("/opt/cni/bin", [("vpp".to_owned(), entry)].into());
        manifest.write(&dir).unwrap();
        assert_eq!(Manifest::read(&dir).unwrap(), manifest);
        manifest.set("/opt/cni/bin", BTreeMap::new());
        manifest.files.insert("/etc/plat/etcd.json".to_owned(), Entry::file("bb", None, None));
        manifest.write(&dir).unwrap();
        assert_eq!(Manifest::read(&dir).unwrap(), manifest);
        manifest.files.clear();
        manifest.write(&dir).unwrap();
        manifest.write(&dir).unwrap();
        assert!(!Manifest::path(&dir).exists());
        for (text, part) in [("{", "EOF"), (r#"{"schema": 2, "dirs": {}}"#, "schema 2")] {
            fs::write(Manifest::path(&dir), text).unwrap();
            let failure = Manifest::read(&dir).unwrap_err();
            assert!(failure.message.contains(part), "{failure}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
