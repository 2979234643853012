/*!
Which boot this is, and what time.

Containers die with the boot of their node, so allocations belong to a boot. The kernel's boot ID tells
one boot from another. Where only user space starts anew (a node that is itself a container), the boot
ID stays, but process 1 is another one: its start time tells.
*/

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, StatxFlags};
use rustix::time::{ClockId, clock_gettime};

/// The kernel's boot ID; empty where it cannot be read.
pub(crate) fn boot_id() -> String {
    let mut id = [0; 64];
    let read = fs::File::open("/proc/sys/kernel/random/boot_id").and_then(|mut f| f.read(&mut id));
    let id = id.get(..read.unwrap_or_default()).unwrap_or_default();
    String::from_utf8_lossy(id).trim().to_owned()
}

/// A boot of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's boot ID; empty where it cannot be read.
    pub id: String,
    /// The start time of process 1, in clock ticks since the kernel's boot; 0 where it cannot be read.
    pub init: u64,
}

impl Boot {
    /// This boot.
    pub fn current() -> Self {
        Self { id: boot_id(), init: start_of_init().unwrap_or_default() }
    }
}

/// Field 22 of /proc/1/stat, proc(5). The command in field 2 may contain anything, a parenthesis included.
fn start_of_init() -> Option<u64> {
    let stat = fs::read_to_string("/proc/1/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A moment, by two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since the kernel's boot, suspended time included: for durations.
    pub boot: Duration,
    /// Seconds since 1970: for people.
    pub unix: u64,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let boot = Duration::new(
            u64::try_from(time.tv_sec).unwrap_or_default(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        );
        Self { boot, unix: seconds(SystemTime::now()) }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

/// The earliest time, in seconds since 1970, that a file made in this boot can have.
///
/// A clock that was set forward after the boot makes early files of this boot look older than the boot
/// itself. The directory of runtime state (`volatile`, or what there is of it) was made by the same early
/// clock, so its birth counts where it is earlier: a dead reservation too many costs an address until the
/// next GC, a live one too few gives an address to two pods.
pub(crate) fn earliest(now: Moment, volatile: &Path) -> u64 {
    let boot = now.unix.saturating_sub(now.boot.as_secs());
    let born = volatile.ancestors().find_map(|path| {
        let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
        let wanted = StatxFlags::BTIME;
        let stat = rustix::fs::statx(rustix::fs::CWD, path, AtFlags::empty(), wanted).ok()?;
        // The root directory is as old as the system.
        (path != Path::new("/") && stat.stx_mask & wanted.bits() != 0)
            .then(|| u64::try_from(stat.stx_btime.tv_sec).ok())
            .flatten()
    });
    born.map_or(boot, |born| boot.min(born))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_boot_is_this_boot() {
        let boot = Boot::current();
        assert_eq!(boot.id.len(), 36, "{boot:?}");
        assert_eq!(boot, Boot::current());
        let (a, b) = (Moment::now(), Moment::now());
        assert!(a.boot <= b.boot && a.unix > 1_700_000_000);
    }

    #[test]
    fn what_was_made_in_this_boot_is_not_earlier_than_it() {
        let path = std::env::temp_dir().join(format!("plat-boot-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let made = seconds(fs::metadata(&path).unwrap().modified().unwrap());
        fs::remove_file(&path).unwrap();
        let earliest = earliest(Moment::now(), Path::new("/run/plat/none"));
        assert!(earliest <= made, "{earliest} {made}");
    }
}
