//! What many measurements of one thing come to.

use std::time::Duration;

use crate::Outcome;

/// Of many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many there were.
    pub count: usize,
    /// The middle one.
    pub median: Duration,
    /// What 95 in 100 do not exceed.
    pub p95: Duration,
    /// The least.
    pub min: Duration,
}

impl Summary {
    /// Of at least one measurement.
    #[must_use]
    pub fn of(mut measured: Vec<Duration>) -> Option<Self> {
        measured.sort_unstable();
        let count = measured.len();
        let at = |n: usize| measured.get(n.min(count.checked_sub(1)?)).copied();
        Some(Self {
            count,
            median: at(count / 2)?,
            p95: at((count * 95).div_ceil(100).saturating_sub(1))?,
            min: at(0)?,
        })
    }
}

/// Of at least one measurement.
///
/// # Errors
/// None was made.
pub fn summary(measured: Vec<Duration>) -> Outcome<Summary> {
    Summary::of(measured).ok_or_else(|| "nothing measured".to_owned())
}

/// In milliseconds.
#[must_use]
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_of_what_was_measured() {
        assert_eq!(Summary::of(Vec::new()), None);
        let times = |all: std::ops::RangeInclusive<u64>| all.rev().map(Duration::from_millis);
        let one = Summary::of(times(7..=7).collect()).expect("one");
        assert_eq!((one.count, one.median, one.p95, one.min), (1, one.min, one.min, one.min));
        let many = Summary::of(times(1..=100).collect()).expect("many");
        assert_eq!(
            (many.count, ms(many.median), ms(many.p95), ms(many.min)),
            (100, 51.0, 95.0, 1.0)
        );
    }
}
