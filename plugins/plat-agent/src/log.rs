//! Lines on standard error, for the journal: one level, one sentence.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write as _;

use crate::report::plain;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Something has happened that was wanted.
    Info,
    /// Something is not as it should be.
    Warning,
}

/// Writes a line.
pub(crate) fn line(level: Level, text: impl fmt::Display) {
    let level = match level {
        Level::Info => "info",
        Level::Warning => "warning",
    };
    let _ = writeln!(std::io::stderr(), "plat-agent: {level}: {}", plain(&text.to_string()));
}

/// What is wrong now: each thing is told when it begins and when it is over, not every time in between.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    now: BTreeSet<String>,
}

impl Complaints {
    /// All that is wrong at this moment.
    pub(crate) fn are(&mut self, all: BTreeSet<String>) {
        for new in all.difference(&self.now) {
            line(Level::Warning, new);
        }
        for over in self.now.difference(&all) {
            line(Level::Info, format_args!("no more: {over}"));
        }
        self.now = all;
    }
}
