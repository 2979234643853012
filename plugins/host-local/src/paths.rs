//! Paths from configurations.

use std::path::{Component, Path, PathBuf};

/// A path made absolute and cleaned by its text alone, as the reference does (`a/../b` is `b`, whether or
/// not there is an `a`).
pub(crate) fn absolute(path: &str, working_dir: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in working_dir.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text() {
        for (path, absolute_path) in [
            ("/var/lib/cni/networks", "/var/lib/cni/networks"),
            ("/var/lib//cni/networks/", "/var/lib/cni/networks"),
            ("/x/../y", "/y"),
            ("/../../y", "/y"),
            ("data", "/srv/data"),
            ("../data/./a", "/data/a"),
        ] {
            assert_eq!(absolute(path, Path::new("/srv")), Path::new(absolute_path), "{path}");
        }
    }
}
