//! The commands, their options and their order.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use ipam_core::config::parse_duration;
use ipam_stores::StateDirs;
use ipam_stores::survey::Survey;

use crate::commands;
use crate::context::{Command, Context, Exit, Failure};

/// Shows and repairs the addresses of this node's CNI networks.
#[derive(Debug, Parser)]
#[command(name = "plat", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 fine, 1 needs attention, 2 full or broken, 3 could not be done."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Where to look")]
struct Global {
    /// Takes every path below DIR: another system's disk, a copy.
    #[arg(long, global = true, value_name = "DIR", default_value = "/", hide_default_value = true)]
    root: PathBuf,
    /// Looks into this dataDir, too; can be given several times.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Vec<PathBuf>,
    /// Looks into this database, too; can be given several times.
    #[arg(long, global = true, value_name = "FILE")]
    database: Vec<PathBuf>,
    /// Where network configurations lie.
    #[arg(long, global = true, value_name = "DIR", default_value = "/etc/cni/net.d")]
    conf_dir: PathBuf,
    /// Where etcd is: a file such as /etc/plat/etcd.json, or URLs with commas between them.
    #[arg(long, global = true, value_name = "FILE|URL")]
    etcd: Option<String>,
    /// The address space of the cluster's pools.
    #[arg(long, global = true, value_name = "SPACE")]
    space: Option<String>,
    /// How long to wait for another call's lock.
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = duration)]
    lock_timeout: Duration,
    /// Prints one JSON document.
    #[arg(long, global = true, help_heading = "How to print")]
    json: bool,
    /// Colours.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "How to print"
    )]
    color: When,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Shows how full each network is, and whether its state is sound.
    Status(commands::status::Status),
    /// Lists addresses and who holds them.
    Ls(commands::ls::Ls),
    /// Tells who holds an address, or what a pod or container holds.
    Who(commands::who::Who),
    /// Tells what an address of a cluster-wide pool is, and who would get it next.
    Explain(commands::explain::Explain),
    /// Tells who held an address before.
    History(commands::history::History),
    /// Draws a network's addresses.
    Map(commands::map::Map),
    /// Tells what happens to the cluster-wide pools, as it happens.
    Watch(commands::watch::Watch),
    /// Looks at the blocks of cluster-wide pools.
    #[command(subcommand)]
    Block(commands::block::Block),
    /// Looks for what is broken or leaks, and repairs it.
    Check(commands::check::Check),
    /// Frees the addresses of what does not live any more.
    Gc(commands::gc::Gc),
    /// Frees an address, or all of a container or a pod.
    Release(commands::release::Release),
    /// Takes over the addresses of another IPAM, or of a directory.
    Import(commands::import::Import),
    /// Writes the addresses of a network into a directory or a file.
    Export(commands::export::Export),
    /// Shows what node-local makes of a configuration, on any node.
    Render(commands::render::Render),
    /// Looks at network configurations.
    #[command(subcommand)]
    Conf(commands::conf::Conf),
    /// Shows and changes the pools of the cluster.
    #[command(subcommand)]
    Pool(commands::pool::Pool),
    /// Looks at what nodes are known as, and at the nodes of the cluster.
    #[command(subcommand)]
    Node(commands::node::Node),
    /// Prepares a node for VPP, and looks at what VPP has of pods.
    #[command(subcommand)]
    Vpp(commands::vpp::Vpp),
    /// Asks the agent of this node.
    #[command(subcommand)]
    Agent(commands::agent::Agent),
    /// Puts the CNI plugins where the runtime looks for them.
    Install(commands::install::Install),
    /// Takes them away again, and gives back what was there before.
    Uninstall(commands::uninstall::Uninstall),
    /// Tells what is printed with --json, as JSON Schemas.
    Schema(commands::schema::Schema),
    /// Prints the completions for a shell.
    Completions(commands::completions::Completions),
    /// Writes the manual pages.
    Man(commands::man::Man),
}

impl Commands {
    fn as_command(&self) -> &dyn Command {
        match self {
            Self::Status(command) => command,
            Self::Ls(command) => command,
            Self::Who(command) => command,
            Self::Explain(command) => command,
            Self::Watch(command) => command,
            Self::Block(command) => command,
            Self::History(command) => command,
            Self::Map(command) => command,
            Self::Check(command) => command,
            Self::Gc(command) => command,
            Self::Release(command) => command,
            Self::Import(command) => command,
            Self::Export(command) => command,
            Self::Render(command) => command,
            Self::Conf(command) => command,
            Self::Pool(command) => command,
            Self::Node(command) => command,
            Self::Vpp(command) => command,
            Self::Agent(command) => command,
            Self::Install(command) => command,
            Self::Uninstall(command) => command,
            Self::Schema(command) => command,
            Self::Completions(command) => command,
            Self::Man(command) => command,
        }
    }
}

/// A duration as in a configuration.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| "a number with a unit is needed, such as 300ms, 30s, 5m or 24h".to_owned())
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; anything else is a command that cannot be done.
            let asked = !error.use_stderr();
            let _ = error.print();
            return ExitCode::from(if asked { Exit::Fine } else { Exit::Failed }.status());
        }
    };
    let context = cli.global.context();
    let stdout = std::io::stdout();
    let mut out = std::io::BufWriter::new(stdout.lock());
    let ended = cli.command.as_command().run(&context, &mut out);
    let flushed = out.flush();
    match ended.and_then(|exit| flushed.map(|()| exit).map_err(Failure::from)) {
        Ok(exit) => ExitCode::from(exit.status()),
        Err(failure) if failure.unread => ExitCode::from(Exit::Fine.status()),
        Err(failure) => {
            let mut stderr = std::io::stderr().lock();
            let _ = writeln!(stderr, "plat: {}", failure.message);
            if !failure.advice.is_empty() {
                let _ = writeln!(stderr, "      {}", failure.advice);
            }
            ExitCode::from(Exit::Failed.status())
        }
    }
}

impl Global {
    fn context(&self) -> Context {
        let mut survey = Survey::new(&self.root, state_dirs());
        let data_dirs: Vec<PathBuf> = self.data_dir.iter().map(|dir| absolute(dir)).collect();
        let databases: Vec<PathBuf> = self.database.iter().map(|path| absolute(path)).collect();
        for dir in &data_dirs {
            survey.add_data_dir(dir);
        }
        for path in &databases {
            survey.add_database(path);
        }
        let terminal = std::io::stdout().is_terminal();
        let colour = match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
        Context {
            survey,
            etcd: self.etcd.clone(),
            space: self.space.clone(),
            data_dirs,
            databases,
            conf_dir: self.conf_dir.clone(),
            json: self.json,
            colour,
            width: size.map(|size| size.ws_col).filter(|columns| *columns > 0).unwrap_or(80),
            progress: std::io::stderr().is_terminal(),
            lock_timeout: self.lock_timeout,
        }
    }
}

/// The state directories, moved by the same variables as for the plugins.
fn state_dirs() -> StateDirs {
    let StateDirs { durable, volatile } = StateDirs::default();
    let place = |variable: &str, default: PathBuf| {
        std::env::var_os(variable).filter(|path| !path.is_empty()).map_or(default, PathBuf::from)
    };
    StateDirs {
        durable: place("PLAT_STATE_DIR", durable),
        volatile: place("PLAT_RUN_DIR", volatile),
    }
}

/// A path of the command line, seen from the root directory.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The definition, for completions and manual pages.
pub(crate) fn definition() -> clap::Command {
    <Cli as clap::CommandFactory>::command().color(ColorChoice::Never)
}
