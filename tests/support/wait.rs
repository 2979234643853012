//! Waiting for what happens in its own time.

use std::time::{Duration, Instant};

/// Far more than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until `condition` holds; panics after two minutes, saying `what` did not come true.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
