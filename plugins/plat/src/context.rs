//! What every command is given: the stores to look at, and how to print.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use ipam_stores::StoreError;
use ipam_stores::survey::Survey;

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Context {
    /// The stores.
    pub(crate) survey: Survey,
    /// The dataDirs that the command line names.
    pub(crate) data_dirs: Vec<PathBuf>,
    /// The databases that the command line names.
    pub(crate) databases: Vec<PathBuf>,
    /// Where network configurations lie, below the survey's root.
    pub(crate) conf_dir: PathBuf,
    /// What the command line says of etcd: a file, or URLs.
    pub(crate) etcd: Option<String>,
    /// The address space that the command line names.
    pub(crate) space: Option<String>,
    /// Whether to print one JSON document instead of text.
    pub(crate) json: bool,
    /// Whether text may have colours.
    pub(crate) colour: bool,
    /// The width of the terminal in columns; 80 where there is none.
    pub(crate) width: u16,
    /// Whether a person looks at standard error: progress may be shown there.
    pub(crate) progress: bool,
    /// How long to wait for another call's lock.
    pub(crate) lock_timeout: Duration,
}

/// How a command ended, for monitors: the numbers are those of their plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// 0: everything is fine.
    Fine,
    /// 1: something needs attention.
    Warning,
    /// 2: something is full or broken.
    Critical,
    /// 3: the command could not do what it was asked to.
    Failed,
}

impl Exit {
    /// The exit status.
    pub(crate) const fn status(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Failed => 3,
        }
    }
}

/// Why a command could not do what it was asked to; exit status 3.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// One sentence.
    pub(crate) message: String,
    /// What to do, or the right form.
    pub(crate) advice: String,
    /// Whether nobody reads the answer any more (`plat ls | head`): nothing to complain about.
    pub(crate) unread: bool,
}

impl Failure {
    /// A failure.
    pub(crate) fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { message: message.into(), advice: advice.into(), unread: false }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error.to_string(), error.advice())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let unread = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self { unread, ..Self::new(format!("cannot write the answer: {error}"), "") }
    }
}

/// What a command is: it prints to `out` and tells how it ended.
pub(crate) trait Command {
    /// Runs it.
    ///
    /// # Errors
    /// Why it could not be done.
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure>;
}
