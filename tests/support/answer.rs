//! What `plat` answers.

use std::iter;
use std::process::{Command, Output};

use serde_json::Value;

use crate::documented;

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    /// The exit status; `None` if a signal ended the process.
    pub exit: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Answer {
    /// Runs a command to its end. A document of `--json` must be as its schema says.
    #[track_caller]
    pub fn of(command: &mut Command) -> Self {
        let answer: Self = command.output().expect("it can be started").into();
        documented(iter::once(command.get_program()).chain(command.get_args()), &answer.stdout);
        answer
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout, self.stderr))
    }

    /// Asserts how it ended.
    #[track_caller]
    pub fn ends(self, exit: i32) -> Self {
        assert_eq!(self.exit, Some(exit), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that a line has all of these, apart from spaces between.
    #[track_caller]
    pub fn says(&self, words: &str) {
        let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            self.stdout.lines().any(|line| plain(line).contains(words)),
            "no line has {words:?}:\n{}{}",
            self.stdout,
            self.stderr
        );
    }
}

impl From<Output> for Answer {
    fn from(Output { status, stdout, stderr }: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
        Self { exit: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }
}
