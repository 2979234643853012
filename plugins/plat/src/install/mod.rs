/*!
The CNI plugins in the directory where a runtime looks for them.

| room | what is in it |
|---|---|
| [`decide`] | what becomes of each name, from what is there: pure |
| [`manifest`] | what was put where, and what of somebody else's was put aside for it |
| [`bin_dir`] | the files: looked at, staged, renamed, taken back |
| [`probe`] | whether a program is the plugin that its name says |
| [`files`] | other files that are installed with them: network configurations, certificates |

Everything can be killed at any point. What somebody else has put there is linked to a second name before
ours takes its place, and a name changes from one whole program to the other by one rename; so the next run
has only to look at what is there.
*/

pub(crate) mod bin_dir;
pub(crate) mod decide;
pub(crate) mod files;
pub(crate) mod manifest;
pub(crate) mod probe;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::context::{Context, Failure};
use crate::netconf::printable;

/// A plugin that a runtime calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Plugin {
    HostLocal,
    NodeLocal,
    EtcdPool,
    Vpp,
    Chain,
}

impl Plugin {
    /// Its name: that of the file, and `type` in configurations.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::HostLocal => "host-local",
            Self::NodeLocal => "node-local",
            Self::EtcdPool => "etcd-pool",
            Self::Vpp => "vpp",
            Self::Chain => "chain",
        }
    }

    /// Those that are meant: all of them, unless some are named.
    pub(crate) fn meant(only: &[Self]) -> Vec<Self> {
        Self::value_variants()
            .iter()
            .copied()
            .filter(|plugin| only.is_empty() || only.contains(plugin))
            .collect()
    }
}

/// A directory of plugins, as it is recorded and as it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Its path on the system that it belongs to, for the manifest.
    pub(crate) recorded: String,
    /// Where it is from here.
    pub(crate) path: PathBuf,
    /// The state directory of that system.
    pub(crate) state: PathBuf,
}

impl Target {
    /// The target that the command line names, below its root.
    ///
    /// # Errors
    /// If its path is no text.
    pub(crate) fn of(context: &Context, bin_dir: &Path) -> Result<Self, Failure> {
        let absolute = crate::cli::absolute(bin_dir);
        let Some(recorded) = absolute.to_str() else {
            let message = format!("{} is no UTF-8", shown(&absolute));
            return Err(Failure::new(message, "a directory with a plain name is needed"));
        };
        Ok(Self {
            recorded: recorded.to_owned(),
            path: context.survey.at(&absolute),
            state: context.survey.at(&context.survey.state.durable),
        })
    }
}

/// A path for people.
pub(crate) fn shown(path: &Path) -> String {
    printable(&path.display().to_string())
}

/// What went wrong with a path.
pub(crate) fn failed(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    let advice = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "run it as root",
        std::io::ErrorKind::ReadOnlyFilesystem => {
            "name a directory that can be written to by --bin-dir, and have the runtime look there"
        }
        std::io::ErrorKind::StorageFull => "make room there; nothing is half done",
        _ => "",
    };
    Failure::new(format!("cannot {what} {}: {error}", shown(path)), advice)
}
