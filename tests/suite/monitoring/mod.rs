//! Rules, dashboard and collector of `conf-examples/monitoring`: they are right by themselves, ask for nothing that nobody
//! tells, and a real agent tells it.

mod dashboard;
mod files;
mod query;
mod rules;
mod told;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{have, program, repository};

/// Where the files are.
fn folder() -> PathBuf {
    repository().join("conf-examples/monitoring")
}

/// Prometheus' tool: the one that `make deps` has fetched, else that of `PATH`. It is not installed with the other tools,
/// because its package starts a server; so where it could not be fetched a test is skipped also where nothing else may be.
fn promtool(test: &str) -> Option<PathBuf> {
    let fetched = repository().join("target/tools/promtool");
    if fetched.exists() {
        return Some(fetched);
    }
    if have("promtool") {
        return Some(program("promtool"));
    }
    // Written past the test harness, which would show it for failing tests only.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED {test}: needs promtool (tests/scripts/promtool.sh target/tools)"
    );
    None
}

/// Runs it in the folder; panics with what it says if it finds something wrong.
fn passes(promtool: &Path, words: &[&str], input: Option<&Path>) -> String {
    let mut command = Command::new(promtool);
    command.args(words).current_dir(folder());
    if let Some(input) = input {
        command.stdin(std::fs::File::open(input).expect("the input can be read"));
    }
    let Output { status, stdout, stderr } = command.output().expect("promtool can be run");
    let said = [stdout, stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(status.success(), "promtool {words:?}: {status}\n{said}");
    said
}
