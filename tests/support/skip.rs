//! Skipping: said aloud, and not allowed where everything can run.

use std::io::Write as _;
use std::path::Path;

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a program is on `PATH` (or, for a name with a slash, exists).
pub fn have(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).exists();
    }
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
}

/// True if the test can run. Otherwise it says on standard error which test is skipped and why;
/// with `PLAT_TESTS_SKIP_NOTHING` set, as in CI, a reason to skip is a failure.
#[must_use]
pub fn skip_unless(test: &str, needs: &[(bool, &str)]) -> bool {
    let missing: Vec<&str> = needs.iter().filter(|(met, _)| !met).map(|(_, what)| *what).collect();
    if missing.is_empty() {
        return true;
    }
    let reason = missing.join(", ");
    assert!(
        std::env::var_os("PLAT_TESTS_SKIP_NOTHING").is_none(),
        "{test} would be skipped, and nothing may be: needs {reason}"
    );
    // Written past the test harness, which would show it for failing tests only.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: needs {reason}");
    false
}
