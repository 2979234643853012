//! Many callers at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{Figure, Outcome, Summary, ms, summary};

/// What many calls came to.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Calls in a second, of all callers together.
    pub per_second: f64,
    /// What a caller waited for one call.
    pub waited: Summary,
    calls: u32,
}

impl Rate {
    /// As a figure of `command`.
    #[must_use]
    pub fn figure(&self, command: &str) -> Figure {
        let (median, p95) = (ms(self.waited.median), ms(self.waited.p95));
        let how = format!("{} calls, one takes {median:.2} ms, p95 {p95:.2}", self.calls);
        Figure::new("callers", command, self.per_second, "/s").how(how)
    }
}

/// `calls` calls by so many callers: each takes the next number that nobody has had, and says how long the call took.
///
/// # Errors
/// What a call says of itself, or that none was made.
pub fn all_at_once(
    callers: u32,
    calls: u32,
    call: impl Fn(u32) -> Outcome<Duration> + Sync,
) -> Outcome<Rate> {
    let next = AtomicU32::new(0);
    let caller = || -> Outcome<Vec<Duration>> {
        let mut took = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= calls {
                return Ok(took);
            }
            took.push(call(n)?);
        }
    };
    let start = Instant::now();
    let took: Outcome<Vec<Vec<Duration>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a caller has panicked".to_owned())?)
            .collect()
    });
    let per_second = f64::from(calls) / start.elapsed().as_secs_f64();
    Ok(Rate { per_second, waited: summary(took?.concat())?, calls })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_number_is_called_once() {
        let called = Mutex::new(BTreeSet::new());
        let rate = all_at_once(3, 20, |n| {
            let is_new = called.lock().map_err(|e| e.to_string())?.insert(n);
            if is_new { Ok(Duration::from_millis(2)) } else { Err(format!("{n} twice")) }
        });
        let rate = rate.expect("a rate");
        assert_eq!((rate.waited.count, called.lock().expect("numbers").len()), (20, 20));
        let figure = rate.figure("ADD");
        assert_eq!(figure.how, "20 calls, one takes 2.00 ms, p95 2.00");
        assert!(figure.value > 0.0 && figure.unit == "/s", "{figure:?}");
        let failed = all_at_once(2, 5, |n| Err(format!("call {n}")));
        assert!(failed.expect_err("a failure").starts_with("call "));
        assert!(all_at_once(2, 0, |_| Ok(Duration::ZERO)).is_err());
    }
}
