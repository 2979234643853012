//! The command line.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use etcd_pool::client::Connection;
use etcd_pool::config::{ETCD_VARIABLE, etcd_file};
use ipam_core::config::ConfigError;
use ipam_pool::key::Keys;
use ipam_stores::StateDirs;
use node_local::Surroundings;

use crate::config::{CONFIG_FILE, Config, ConfigSpec, Source};
use crate::daemon;
use crate::engine::{Mode, Report, cleanup, look};
use crate::feed::{self, Guard, Place};
use crate::gc;
use crate::log::{self, Verbosity};
use crate::node::Node;
use crate::place::{only_one, state_dirs};
use crate::replay::{self, VppReport};
use crate::report::{self, plain};
use crate::sinks::{self, Sink};
use crate::sources::{Me, Sources};

/// Keeps the routes to the pods of other nodes, and this node's record in etcd.
#[derive(Debug, Parser)]
#[command(name = "plat-agent", version, max_term_width = 100)]
#[command(after_help = "Exit status: 0 fine, 1 something needs attention, 3 could not be done.\n\
                        Signals: TERM and INT end it; the routes stay. USR1 frees what no pod lives for.")]
struct Cli {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
    /// Does once what is to be done, and ends.
    #[arg(long, conflicts_with = "cleanup")]
    once: bool,
    /// Changes nothing, and tells every route that would be added, kept or removed, and why.
    #[arg(long)]
    dry_run: bool,
    /// Removes all routes of this program, and no others, and ends.
    #[arg(long)]
    cleanup: bool,
    /// Frees once what no pod lives for any more, says the container runtime, and ends.
    #[arg(long, conflicts_with_all = ["once", "cleanup"])]
    gc: bool,
    /// How much is logged; `log` in the configuration says it, too [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<Verbosity>,
    /// How it is logged.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: log::Format,
    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

/// The definition of the command line, for completions and the manual page.
#[must_use]
pub fn definition() -> clap::Command {
    <Cli as clap::CommandFactory>::command().color(clap::ColorChoice::Never)
}

/// Why it could not be done: a sentence, and what would be right.
struct Failure {
    message: String,
    advice: String,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, advice: String::new() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { advice: format!("right is {}", error.expected), message: error.message }
    }
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            let mut stderr = io::stderr().lock();
            let _ = writeln!(stderr, "plat-agent: {}", plain(&failure.message));
            if !failure.advice.is_empty() {
                let _ = writeln!(stderr, "  {}", plain(&failure.advice));
            }
            ExitCode::from(3)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let dirs = state_dirs();
    let spec = ConfigSpec::read(&cli.config)?;
    let around = Surroundings {
        root: PathBuf::from("/"),
        host_name: etcd_pool::identity::host_name(),
        environment: std::env::var("NODE_INDEX").ok().filter(|text| !text.is_empty()),
        state_dir: dirs.durable.clone(),
    };
    let identity = node_local::preferred(spec.identity(), &around).map_err(|problem| Failure {
        message: format!("{}: {}", cli.config.display(), problem.error.message),
        advice: problem.error.details,
    })?;
    let config = spec.on(identity.as_ref(), &around.host_name).map_err(|error| Failure {
        message: format!("{}: {}", cli.config.display(), error.message),
        advice: format!("right is {}", error.expected),
    })?;
    log::start(cli.log_format, cli.log_level.or(config.log).unwrap_or_default());
    if cli.gc {
        return collect(cli, &config, &dirs);
    }
    let lock = if cli.dry_run { None } else { Some(alone(&dirs)?) };
    let mut sinks = sinks::open(&config.sinks, &dirs.volatile);
    let mode = if cli.dry_run { Mode::Explain } else { Mode::Apply };
    if cli.cleanup {
        return Ok(show(cli, &cleanup(&mut sinks, mode)));
    }
    let connection = connection(&config)?;
    let prefix = connection.as_ref().map_or(ipam_pool::key::DEFAULT_PREFIX, |c| c.prefix.as_str());
    let sources = Sources::new(&config, prefix);
    let places = places(&config, &sources, connection.as_ref());
    let mut node = connection.as_ref().map(|connection| Node::new(&config, connection, &dirs));
    let me = node.as_mut().map_or_else(
        || Me { uuid: None, name: config.node.clone(), addresses: config.addresses.clone() },
        Node::me,
    );
    let node = node.filter(|_| config.register);
    if cli.once || cli.dry_run {
        // Routes lead through what is put back.
        let vpps = config.vpps.iter().map(|it| replay::once(it, &dirs.volatile, mode)).collect();
        return Ok(once(cli, sources, &places, &mut sinks, node, me, vpps));
    }
    daemon::run(&config, &dirs, sources, places, sinks, node, me)?;
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

/// Frees once; beside a running agent, too, as every call does.
fn collect(cli: &Cli, config: &Config, dirs: &StateDirs) -> Result<ExitCode, Failure> {
    let Some(gc) = &config.gc else {
        return Err(Failure {
            message: format!(
                "{}: nothing says which runtime knows who lives",
                cli.config.display()
            ),
            advice: "add \"gc\": {\"runtime\": \"unix:///run/containerd/containerd.sock\"}"
                .to_owned(),
        });
    };
    let freed = gc::once(gc, dirs, cli.dry_run).map_err(|error| Failure {
        message: error.message,
        advice: "right is the runtime's socket, as root's, under \"gc\": {\"runtime\": ...}"
            .to_owned(),
    })?;
    let mut out = io::stdout().lock();
    // A reader that has gone away has seen enough.
    let _ = gc::show(&mut out, &freed, cli.json).and_then(|()| out.flush());
    Ok(if freed.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How long another agent is waited for: of one that was killed, a child that was about to become another program may
/// have its lock for a moment longer.
const PARTING: Duration = Duration::from_secs(1);

fn alone(dirs: &StateDirs) -> Result<ipam_stores::lock::Lock, Failure> {
    let deadline = Instant::now() + PARTING;
    loop {
        if let Some(lock) = only_one(dirs)? {
            return Ok(lock);
        }
        if Instant::now() >= deadline {
            return Err(Failure {
                message: "another plat-agent runs on this node".to_owned(),
                advice: "end it first; --dry-run works beside it".to_owned(),
            });
        }
        thread::sleep(PARTING / 20);
    }
}

/// How etcd is reached, where anything needs it: as the file says, else the node's own file.
fn connection(config: &Config) -> Result<Option<Connection>, Failure> {
    if let Some(connection) = &config.etcd {
        return Ok(Some(connection.clone()));
    }
    if !config.needs_etcd() {
        return Ok(None);
    }
    let variable = std::env::var(ETCD_VARIABLE).unwrap_or_default();
    let read = Connection::read(&etcd_file(&variable));
    read.map(Some)
        .map_err(|error| Failure { message: error.message, advice: error.advice.to_owned() })
}

/// What is read from etcd.
fn places(config: &Config, sources: &Sources, connection: Option<&Connection>) -> Vec<Place> {
    let mut places = Vec::new();
    for (source, ranges) in sources.ranges() {
        let own = match config.sources.get(source) {
            Some(Source::Calico(calico)) => calico.etcd.as_ref(),
            _ => None,
        };
        let Some(connection) = own.or(connection) else { continue };
        let guard = match config.sources.get(source) {
            Some(Source::Pool(_)) => Some(Guard::registry(Keys::new(&connection.prefix).meta())),
            Some(Source::Calico(calico)) => Some(Guard::calico(&calico.prefix)),
            _ => None,
        };
        for (position, range) in ranges.into_iter().enumerate() {
            let (connection, guard) = (connection.clone(), guard.clone());
            places.push(Place { connection, source, position, range, guard });
        }
    }
    places
}

fn once(
    cli: &Cli,
    mut sources: Sources,
    places: &[Place],
    sinks: &mut [Box<dyn Sink>],
    mut node: Option<Node>,
    mut me: Me,
    vpps: Vec<VppReport>,
) -> ExitCode {
    let mut troubles = Vec::new();
    if !cli.dry_run
        && let Some(node) = &mut node
    {
        troubles.extend(node.once().err());
        me = node.me();
    }
    for trouble in feed::load(&mut sources, places) {
        if !troubles.contains(&trouble) {
            troubles.push(trouble);
        }
    }
    let mode = if cli.dry_run { Mode::Explain } else { Mode::Apply };
    let mut report = look(&sources, &me, sinks, mode);
    report.notes.append(&mut troubles);
    report.vpps = vpps;
    show(cli, &report)
}

fn show(cli: &Cli, report: &Report) -> ExitCode {
    let mut out = io::stdout().lock();
    let printed =
        if cli.json { report::json(&mut out, report) } else { report::table(&mut out, report) };
    // A reader that has gone away has seen enough.
    let _ = printed.and_then(|()| out.flush());
    if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
