//! `plat vpp`.

mod check;
mod nics;
mod preflight;
mod show;
mod startup_conf;
mod trace;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use vpp_plugin::record::{Record, Records};

use crate::cli::absolute;
use crate::context::{Command, Context, Exit, Failure};
use crate::vpp::host::Files;
use crate::vpp::running::SOCKET;

/// Commands of `plat vpp`.
#[derive(Debug, Subcommand)]
pub(crate) enum Vpp {
    /// Tells whether this node is ready for VPP and for pods on it, and what to do if not.
    Preflight(preflight::Preflight),
    /// Lists the network devices: which one VPP could take, and which one carries the default route.
    Nics(nics::Nics),
    /// Makes VPP's startup configuration.
    StartupConf(startup_conf::StartupConf),
    /// Shows what VPP has: uplink, gateways, the interfaces of pods, routes to other nodes.
    Show(show::Show),
    /// Compares VPP with what is recorded of attachments, and puts it right.
    Check(check::Check),
    /// Follows the packets of a pod through VPP.
    Trace(trace::Trace),
}

impl Command for Vpp {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        match self {
            Self::Preflight(command) => command.run(context, out),
            Self::Nics(command) => command.run(context, out),
            Self::StartupConf(command) => command.run(context, out),
            Self::Show(command) => command.run(context, out),
            Self::Check(command) => command.run(context, out),
            Self::Trace(command) => command.run(context, out),
        }
    }
}

/// The node's files.
fn files(context: &Context) -> Files {
    Files::below(context.survey.at(Path::new("/")))
}

/// VPP's socket below the context's root, and whether somebody named it.
fn socket(context: &Context, named: Option<&PathBuf>) -> (PathBuf, bool) {
    let path = named.map_or_else(|| PathBuf::from(SOCKET), |path| absolute(path));
    (context.survey.at(&path), named.is_some())
}

/// What the plugin remembers of attachments.
struct Remembered {
    /// The records that can be read.
    records: Vec<Record>,
    /// A sentence for each that cannot.
    unread: Vec<String>,
}

fn store(context: &Context) -> Records {
    Records::new(context.survey.at(&context.survey.state.volatile.join("vpp")))
}

/// Reads what the plugin remembers.
///
/// # Errors
/// If it cannot be listed.
fn remembered(context: &Context) -> Result<Remembered, Failure> {
    let listed = store(context)
        .all()
        .map_err(|error| Failure::new(error.to_string(), "run this as root, as the plugin runs"))?;
    let mut remembered = Remembered { records: Vec::new(), unread: Vec::new() };
    for one in listed {
        match one.record {
            Ok(record) => remembered.records.push(record),
            Err(error) => remembered.unread.push(error.to_string()),
        }
    }
    Ok(remembered)
}

/// The sockets that are asked: the one that is named, else all that attachments have, else the usual one. With each,
/// where it is below the context's root.
fn sockets(
    context: &Context,
    named: Option<&PathBuf>,
    records: &[Record],
) -> Vec<(PathBuf, PathBuf)> {
    let mut paths: BTreeSet<PathBuf> = match named {
        Some(path) => BTreeSet::from([absolute(path)]),
        None => records.iter().map(|record| record.socket.clone()).collect(),
    };
    if paths.is_empty() {
        paths.insert(PathBuf::from(SOCKET));
    }
    paths.into_iter().map(|path| (context.survey.at(&path), path)).collect()
}
