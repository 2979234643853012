//! State that nobody else can change: what is in these directories is believed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::StateDirs;
use crate::error::StoreError;

/// The permission of others to write.
const OTHERS_WRITE: u32 = 0o002;

/// Whether the state directories, where they are, can be changed by root and this process's user only, and by
/// whom their group lets.
///
/// # Errors
/// [`StoreError::Exposed`] for the first that others can write to.
pub fn check_private(dirs: &StateDirs) -> Result<(), StoreError> {
    for path in [&dirs.volatile, &dirs.durable] {
        // One that is not there is made with mode 0700; one that cannot be looked at is told by who uses it.
        let Ok(meta) = fs::metadata(path) else { continue };
        let mode = meta.mode() & 0o7777;
        let owner = meta.uid();
        let own = rustix::process::geteuid().as_raw();
        if meta.is_dir() && (mode & OTHERS_WRITE != 0 || owner != 0 && owner != own) {
            return Err(StoreError::Exposed { path: path.clone(), mode, owner });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_everybody_can_write_to_is_not_believed() {
        let dir = std::env::temp_dir().join(format!("plat-private-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let dirs = StateDirs { durable: dir.join("none"), volatile: dir.clone() };
        for (mode, fine) in [
            (0o700, true),
            (0o755, true),
            (0o770, true),
            (0o777, false),
            (0o1777, false),
            (0o702, false),
        ] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            let checked = check_private(&dirs);
            assert_eq!(checked.is_ok(), fine, "{mode:o}: {checked:?}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
