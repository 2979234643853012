//! Whether a VPP is the one that was there before.
//!
//! The process ID alone does not tell in a container, where it may be the same each time. The start of the
//! process does, where `/proc` of this program shows it.

use std::fs;
use std::path::Path;

use vpp_api::{Client, Error};

/// A process that is VPP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// Its process ID in its own namespace.
    pub(super) pid: u32,
    /// When it was started, in clock ticks since the boot, if the process is to be seen here.
    started: Option<u64>,
}

impl Life {
    /// That of the VPP that answers.
    ///
    /// # Errors
    /// If none does.
    pub(super) fn of(vpp: &mut Client) -> Result<Self, Error> {
        let pid = vpp.ping()?;
        Ok(Self { pid, started: started(Path::new("/proc"), pid) })
    }

    /// Whether another process is certainly behind this one: what cannot be told counts as the same.
    pub(super) fn is_another(&self, before: &Self) -> bool {
        let starts = self.started.zip(before.started);
        self.pid != before.pid || starts.is_some_and(|(now, before)| now != before)
    }
}

/// When a process was started; nothing if it cannot be seen, or is not VPP.
fn started(proc: &Path, pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(proc.join(format!("{pid}/stat"))).ok()?;
    start_in(&stat)
}

/// Field 22 of `/proc/<pid>/stat` (proc(5)); the name in field 2 may have blanks and brackets.
fn start_in(stat: &str) -> Option<u64> {
    let (head, fields) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    // Its main thread calls itself `vpp_main`.
    if !name.starts_with("vpp") {
        return None;
    }
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        for (stat, start) in [
            (format!("7 (vpp_main) {fields}"), Some(4711)),
            (format!("7 (vpp) 1) {fields}"), Some(4711)),
            (format!("7 (bash) {fields}"), None),
            ("7 (vpp_main) S 1".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(start_in(&stat), start, "{stat}");
        }
    }

    #[test]
    fn another_life() {
        let life = |pid, started| Life { pid, started };
        for (now, before, another) in [
            (life(7, Some(1)), life(7, Some(1)), false),
            (life(7, Some(2)), life(7, Some(1)), true),
            (life(8, None), life(7, Some(1)), true),
            (life(7, None), life(7, Some(1)), false),
        ] {
            assert_eq!(now.is_another(&before), another, "{now:?} {before:?}");
        }
    }
}
