//! Who lives on this node, as options of commands ask for it; the rest is the crate `living`.

use std::path::PathBuf;

use clap::Args;

pub(crate) use living::*;

use crate::context::{Context, Failure};

/// Options that say where evidence is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who lives")]
pub(crate) struct Sources {
    /// Asks the container runtime at this socket, such as /run/containerd/containerd.sock.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) cri: Option<PathBuf>,
    /// Where the runtime keeps the results of its CNI calls, instead of libcni's own places; can be given
    /// several times.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Vec<PathBuf>,
}

impl Sources {
    /// Asks every source. The container runtime must answer where it is asked.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) fn gather(&self, context: &Context) -> Result<Living, Failure> {
        let caches: Vec<PathBuf> = self.cache.iter().map(|dir| crate::cli::absolute(dir)).collect();
        let gathered = Living::gather(&context.survey, self.cri.as_deref(), &caches);
        gathered.map_err(|error| Failure::new(error.message, error.advice))
    }
}
