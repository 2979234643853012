//! Where things are for a call, and until when it may work.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cni::Environment;
use host_local::call::state_dirs;

use crate::node;
use crate::record::Records;

/// What undoing may take beyond the deadline: a failed ADD must not leave an interface because it took long.
const UNDOING: Duration = Duration::from_secs(10);

/// The places and the time of a call.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The attachments of this node.
    pub(crate) records: Records,
    /// Absolute paths of the system are below it.
    pub(crate) root: PathBuf,
    /// When the call has to be over.
    pub(crate) deadline: Instant,
}

impl Site {
    /// That of a call; an operator may move the state by the environment of the runtime.
    pub(crate) fn new(environment: &Environment, timeout: Duration) -> Self {
        let directory = state_dirs(environment).volatile.join("vpp");
        let now = Instant::now();
        Self {
            records: Records::new(directory),
            root: PathBuf::from("/"),
            deadline: now.checked_add(timeout).unwrap_or(now),
        }
    }

    /// The time that is left.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The same with time to undo.
    #[must_use]
    pub(crate) fn for_undoing(&self) -> Self {
        let now = Instant::now();
        let later = now.checked_add(UNDOING).unwrap_or(now);
        Self { deadline: self.deadline.max(later), ..self.clone() }
    }

    /// The same for the node's part.
    pub(crate) fn node(&self) -> node::Place<'_> {
        node::Place { run_dir: self.records.directory(), root: &self.root, deadline: self.deadline }
    }
}
