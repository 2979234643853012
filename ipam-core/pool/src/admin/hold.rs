//! For how long nothing of a removed node is given to others.

use crate::admin::AdminError;
use crate::op::Now;
use crate::record::Tombstone;

/// For how long an agent that is gone still counts as alive, and for how long a request that was lost may still
/// arrive, in seconds.
pub const LEASE: u64 = 60;

/// What is added where the time is known from clocks that nobody has compared: at least so many seconds.
const DOUBT: u64 = 10 * 60;

/// For how long a node may still give out addresses after it was removed, at most, from the autonomy of its
/// blocks; all in seconds. An autonomy of 0 is for ever: `None`.
pub fn hold_of(autonomy: impl IntoIterator<Item = u64>) -> Option<u64> {
    let mut most = 0;
    for autonomy in autonomy {
        if autonomy == 0 {
            return None;
        }
        most = most.max(autonomy);
    }
    // Clocks differ by less than one twentieth.
    Some(most.saturating_add(most.div_ceil(20)).saturating_add(LEASE))
}

/// How much of the hold is left, in seconds, for a remover with this boot ID.
///
/// # Errors
/// If its clock is behind the removal.
pub fn left(tombstone: &Tombstone, hold: u64, boot: &str, now: Now) -> Result<u64, AdminError> {
    if !boot.is_empty() && tombstone.boot == boot {
        let up = now.boot / 1000;
        return Ok(hold.saturating_sub(up.saturating_sub(tombstone.up)));
    }
    let Some(passed) = now.unix.checked_sub(tombstone.at) else {
        return Err(AdminError::ClockBehind { at: tombstone.at, now: now.unix });
    };
    let margin = hold.div_ceil(20).max(DOUBT);
    Ok(hold.saturating_add(margin).saturating_sub(passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_autonomy_counts() {
        for (autonomy, hold) in [
            (&[][..], Some(60)),
            (&[3600], Some(3600 + 180 + 60)),
            (&[10, 86_400, 3600], Some(86_400 + 4_320 + 60)),
            (&[86_400, 0], None),
            (&[u64::MAX], Some(u64::MAX)),
        ] {
            assert_eq!(hold_of(autonomy.iter().copied()), hold, "{autonomy:?}");
        }
    }

    #[test]
    fn the_own_boot_needs_no_clock() {
        let t = Tombstone { at: 1_000_000, boot: "b".to_owned(), up: 500, ..Tombstone::default() };
        let now = |boot, unix| Now { boot, unix };
        for (hold, boot, at, wanted) in [
            // The wall clock does not matter, whatever it says.
            (100, "b", now(550_000, 5), Some(50)),
            (100, "b", now(600_000, u64::MAX), Some(0)),
            (100, "b", now(599_999, u64::MAX), Some(1)),
            // Another machine, or another boot: the wall clock, and some more.
            (100, "c", now(600_000, 1_000_100), Some(600)),
            (100, "c", now(600_000, 1_000_700), Some(0)),
            (100, "", now(600_000, 1_000_700), Some(0)),
            (100_000, "c", now(0, 1_000_000), Some(105_000)),
            (100, "c", now(600_000, 999_999), None),
        ] {
            assert_eq!(left(&t, hold, boot, at).ok(), wanted, "{boot} {at:?}");
        }
    }
}
