//! Where the agent keeps what it keeps, and that there is only one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ipam_stores::StateDirs;
use ipam_stores::lock::Lock;

/// The state directories: an operator may move them by the environment.
pub(crate) fn state_dirs() -> StateDirs {
    let StateDirs { durable, volatile } = StateDirs::default();
    let place = |variable: &str, default: PathBuf| match std::env::var_os(variable) {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => default,
    };
    StateDirs {
        durable: place("PLAT_STATE_DIR", durable),
        volatile: place("PLAT_RUN_DIR", volatile),
    }
}

/// Takes the place of the one agent that changes routes; `None` if there is another.
///
/// # Errors
/// If the lock cannot be made, in a sentence.
pub(crate) fn only_one(dirs: &StateDirs) -> Result<Option<Lock>, String> {
    let directory = dirs.volatile.join("agent");
    let path = directory.join("lock");
    let failed =
        |error: io::Error| format!("the lock {} cannot be opened: {error}", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(failed)?;
    Lock::try_exclusive(file, &path).map_err(|error| error.to_string())
}

/// Writes the node's index for node-local, if another one is there: whole or not at all, and durably.
///
/// # Errors
/// If it cannot be written, in a sentence.
pub(crate) fn write_index(dirs: &StateDirs, index: u32) -> Result<(), String> {
    let path = dirs.durable.join("node-index");
    let text = format!("{index}\n");
    if std::fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    replace(&dirs.durable, &path, text.as_bytes())
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

fn replace(directory: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let temporary = directory.join(".node-index.new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()
}
