/*!
The durable marker of a database: which boot it was made in.

The database dies with the boot, so a new boot finds none and begins empty. A database that is missing in
the boot that it was made in is another matter: pods live whose addresses it knew. The marker, one small
file for each database in the durable state directory, tells the one from the other; and it tells `plat` and
a DEL without configuration where databases are.
*/

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::boot::Boot;
use crate::error::{Context, StoreError};
use crate::files::replace_durably;
use crate::places::fnv1a;

/// What a marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The database.
    pub(crate) path: PathBuf,
    /// The boot it was made in.
    pub(crate) boot: Boot,
}

impl Marker {
    fn file(durable: &Path, database: &Path) -> PathBuf {
        let hash = fnv1a(database.as_os_str().as_encoded_bytes());
        durable.join("databases").join(format!("{hash:016x}"))
    }

    /// The marker of a database, if there is one that can be read.
    pub(crate) fn read(durable: &Path, database: &Path) -> Option<Self> {
        Self::parse(&fs::read(Self::file(durable, database)).ok()?)
            .filter(|marker| marker.path == database)
    }

    /// Writes the marker of a database of this boot.
    pub(crate) fn write(durable: &Path, database: &Path, boot: &Boot) -> Result<(), StoreError> {
        let path = Self::file(durable, database);
        let mut text = json!({
            "path": database.to_string_lossy(), "boot": boot.id, "init": boot.init,
        })
        .to_string();
        text.push('\n');
        replace_durably(&path, text.as_bytes()).context("write", &path)
    }

    /// Every marker below a durable state directory.
    pub(crate) fn all(durable: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(durable.join("databases")) else { return Vec::new() };
        let mut markers: Vec<Self> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_none())
            .filter_map(|entry| Self::parse(&fs::read(entry.path()).ok()?))
            .collect();
        markers.sort_by(|a, b| a.path.cmp(&b.path));
        markers
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        Some(Self {
            path: PathBuf::from(value.get("path")?.as_str()?),
            boot: Boot {
                id: value.get("boot")?.as_str()?.to_owned(),
                init: value.get("init")?.as_u64()?,
            },
        })
    }

    /// Whether a database that is not there is missed in this boot.
    pub(crate) fn misses(&self, boot: &Boot) -> bool {
        self.boot == *boot
    }
}
