//! What a directory's last ADD chose from, kept in the volatile state directory for people to look at.

use std::fs;
use std::path::{Path, PathBuf};

use ipam_core::layout::Layout;
use ipam_core::policy::Policy;
use ipam_core::range::RangeSet;
use rustix::fs::Stat;

use crate::files::replace;

fn path(volatile: &Path, dir: &Stat) -> PathBuf {
    volatile.join("layouts").join(format!("{:x}-{:x}", dir.st_dev, dir.st_ino))
}

/// Keeps a layout. That it cannot be kept is no reason for an ADD to fail.
pub(super) fn keep(volatile: &Path, dir: &Stat, sets: &[RangeSet], policy: Policy) {
    let path = path(volatile, dir);
    let text = Layout { sets: sets.to_vec(), policy }.to_json().to_string();
    if fs::read_to_string(&path).is_ok_and(|kept| kept == text) {
        return;
    }
    let _ = replace(&path, text.as_bytes());
}

/// What was kept last.
pub(crate) fn read(volatile: &Path, dir: &Stat) -> Option<Layout> {
    let text = fs::read_to_string(path(volatile, dir)).ok()?;
    Layout::parse(&serde_json::from_str(&text).ok()?)
}
