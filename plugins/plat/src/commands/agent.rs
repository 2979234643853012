//! `plat agent`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::context::{Command, Context, Exit, Failure};
use crate::exposition;
use crate::output::{self, age, escape, span};

/// How long the agent may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// More than its answer with a hundred thousand routes, in bytes.
const LIMIT: usize = 64 << 20;
/// Where its configuration is.
const CONFIG: &str = "/etc/plat/agent.json";

/// Commands of `plat agent`.
#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Asks the running plat-agent how it is, and what it has done about routes.
    Status(Status),
    /// Prints the metrics of the running plat-agent, for the textfile collector of node_exporter.
    Metrics(Metrics),
}

impl Command for Agent {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        match self {
            Self::Status(command) => command.run(context, out),
            Self::Metrics(command) => command.run(context, out),
        }
    }
}

/// Options of `plat agent status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if all is well, 1 if something needs attention, 3 if no agent answers.\n\
                  Without --address root asks at /run/plat/agent/agent.sock, anybody else at the address that \
                  the configuration has as `listen`."
)]
pub(crate) struct Status {
    #[command(flatten)]
    who: Who,
}

/// Options of `plat agent metrics`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prometheus' text format, with plat_agent_up besides. Exit status: 0, or 3 if no agent answers."
)]
pub(crate) struct Metrics {
    #[command(flatten)]
    who: Who,
}

/// Which agent is asked.
#[derive(Debug, Args)]
struct Who {
    /// Where it answers, such as 127.0.0.1:9434.
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,
    /// Its configuration.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

/// What it tells; what is not there is of another version.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    version: String,
    node: String,
    running_seconds: u64,
    healthy: bool,
    ready: bool,
    unready: Option<String>,
    looks: Looks,
    troubles: Vec<Trouble>,
    sources: Vec<Source>,
    outbox: Option<Outbox>,
    totals: Vec<Totals>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Looks {
    count: u64,
    age_seconds: u64,
    took_millis: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Trouble {
    cause: String,
    text: String,
    since: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Source {
    source: String,
    position: usize,
    up: bool,
    contact_age_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Outbox {
    records: u64,
    age_seconds: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Totals {
    sink: String,
    up: bool,
    desired: u64,
    present: u64,
    held: u64,
    foreign: u64,
    unreachable: u64,
    failed: u64,
}

impl Command for Status {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (place, text) = self.who.ask(context, "/status")?;
        let wrong = |error: serde_json::Error| {
            Failure::new(
                format!("what answers at {place} is no plat-agent: {error}"),
                "--address says where it answers",
            )
        };
        let document: Value = serde_json::from_slice(&text).map_err(wrong)?;
        let told = Told::deserialize(&document).map_err(wrong)?;
        if context.json {
            output::json(out, &document)?;
        } else {
            told.print(out, output::now())?;
        }
        Ok(told.exit())
    }
}

impl Command for Metrics {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let answer = self.who.ask(context, "/metrics");
        out.write_all(exposition::agent(answer.is_ok()).as_bytes())?;
        out.write_all(&answer?.1)?;
        Ok(Exit::Fine)
    }
}

/// Where an agent may answer.
#[derive(Debug)]
enum Place {
    Socket(PathBuf),
    Port(SocketAddr),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => escape(&path.to_string_lossy()).fmt(f),
            Self::Port(address) => address.fmt(f),
        }
    }
}

impl Who {
    /// The first answer to what is asked for, and where it comes from.
    fn ask(&self, context: &Context, page: &str) -> Result<(Place, Vec<u8>), Failure> {
        let mut places = Vec::new();
        if let Some(address) = self.address {
            places.push(Place::Port(address));
        } else {
            let run = context.survey.at(&context.survey.state.volatile);
            places.push(Place::Socket(run.join("agent").join("agent.sock")));
            places.extend(listens(&context.survey.at(&self.config)).map(Place::Port));
        }
        let mut failures = Vec::new();
        for place in places {
            match fetch(&place, page) {
                Ok(text) => return Ok((place, text)),
                Err(error) => failures.push(format!("{place}: {error}")),
            }
        }
        Err(Failure::new(
            format!("no plat-agent answers at {}", failures.join(", nor at ")),
            "is it running (systemctl status plat-agent)? Without being root, an address helps that is \"listen\" \
             in its configuration, or --address",
        ))
    }
}

/// The address that a configuration has as `listen`. Whether the rest is right is for the agent to say.
fn listens(config: &Path) -> Option<SocketAddr> {
    let text = std::fs::read(config).ok()?;
    let config: Value = serde_json::from_slice(&text).ok()?;
    config.get("listen")?.as_str()?.parse().ok()
}

fn fetch(place: &Place, page: &str) -> Result<Vec<u8>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let asked = async {
            match place {
                Place::Socket(path) => get(UnixStream::connect(path).await, page).await,
                Place::Port(address) => get(TcpStream::connect(address).await, page).await,
            }
        };
        let late = || format!("no answer within {}", span(DEADLINE));
        tokio::time::timeout(DEADLINE, asked).await.map_err(|_| late())?
    })
}

async fn get<S>(stream: io::Result<S>, page: &str) -> Result<Vec<u8>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let said = |error: &dyn std::error::Error| {
        // What is wrong with a connection hyper says behind its own words.
        error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
    };
    let stream = stream.map_err(|error| said(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
    tokio::spawn(connection);
    let request = Request::get(page).header(HOST, "localhost").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| said(&error))?;
    let response = sender.send_request(request).await.map_err(|error| said(&error))?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("it answers {status}"));
    }
    let body = Limited::new(response.into_body(), LIMIT).collect().await;
    body.map(|body| body.to_bytes().to_vec()).map_err(|error| error.to_string())
}

impl Told {
    fn exit(&self) -> Exit {
        let well = self.healthy && self.ready && self.troubles.is_empty();
        if well { Exit::Fine } else { Exit::Warning }
    }

    fn print(&self, out: &mut dyn Write, now: u64) -> io::Result<()> {
        let seconds = |seconds: u64| span(Duration::from_secs(seconds));
        let state = match (self.healthy, self.ready) {
            (false, _) => "stuck: nothing was looked at for too long".to_owned(),
            (true, true) => "ready".to_owned(),
            (true, false) => {
                format!("not ready: {}", escape(self.unready.as_deref().unwrap_or("no reason")))
            }
        };
        let (version, node) = (escape(&self.version), escape(&self.node));
        let running = seconds(self.running_seconds);
        writeln!(out, "plat-agent {version} on {node}, running for {running}, {state}")?;
        let Looks { count, age_seconds, took_millis } = self.looks;
        if count > 0 {
            let (ago, times) = (seconds(age_seconds), output::count(u128::from(count)));
            writeln!(
                out,
                "everything was looked at {ago} ago, in {took_millis} ms; {times} times so far"
            )?;
        }
        if !self.totals.is_empty() {
            let mut table = output::table(&[
                "sink",
                "state",
                "desired",
                "present",
                "held",
                "foreign",
                "unreachable",
                "failed",
            ]);
            for totals in &self.totals {
                let mut row = vec![escape(&totals.sink).into_owned(), up(totals.up).to_owned()];
                row.extend(
                    [
                        totals.desired,
                        totals.present,
                        totals.held,
                        totals.foreign,
                        totals.unreachable,
                        totals.failed,
                    ]
                    .map(|number| output::count(u128::from(number))),
                );
                table.add_row(row);
            }
            section(out, &table)?;
        }
        if !self.sources.is_empty() {
            let mut table = output::table(&["source", "state", "last contact"]);
            for source in &self.sources {
                let contact = source.contact_age_seconds;
                table.add_row([
                    format!("{} (routes.sources[{}])", escape(&source.source), source.position),
                    up(source.up).to_owned(),
                    contact
                        .map_or_else(|| "never".to_owned(), |age| format!("{} ago", seconds(age))),
                ]);
            }
            section(out, &table)?;
        }
        if let Some(Outbox { records, age_seconds }) =
            self.outbox.as_ref().filter(|o| o.records > 0)
        {
            let oldest = seconds(*age_seconds);
            writeln!(out, "\nto be written to etcd: {records}, for {oldest} at most")?;
        }
        if !self.troubles.is_empty() {
            let mut table = output::table(&["since", "cause", "what is wrong"]);
            for trouble in &self.troubles {
                table.add_row([
                    age(now, trouble.since),
                    escape(&trouble.cause).into_owned(),
                    escape(&trouble.text).into_owned(),
                ]);
            }
            section(out, &table)?;
        }
        Ok(())
    }
}

const fn up(is_up: bool) -> &'static str {
    if is_up { "up" } else { "away" }
}

fn section(out: &mut dyn Write, table: &comfy_table::Table) -> io::Result<()> {
    writeln!(out)?;
    for line in table.lines() {
        writeln!(out, " {}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> (String, Exit) {
        let told: Told = serde_json::from_str(text).unwrap();
        let mut out = Vec::new();
        told.print(&mut out, 1000).unwrap();
        (String::from_utf8(out).unwrap(), told.exit())
    }

    #[test]
    fn what_is_told_is_shown() {
        let (text, exit) = printed(
            r#"{"version": "9", "node": "vm-1", "runningSeconds": 7200, "healthy": true, "ready": true,
                "looks": {"count": 12, "ageSeconds": 3, "tookMillis": 4}, "new": {},
                "sources": [{"source": "pool", "position": 1, "up": true, "contactAgeSeconds": 70}],
                "totals": [{"sink": "kernel, table main", "up": true, "desired": 3, "present": 3}],
                "outbox": {"records": 0, "ageSeconds": 0}}"#,
        );
        assert_eq!(exit, Exit::Fine);
        assert_eq!(
            text,
            "plat-agent 9 on vm-1, running for 2h, ready\n\
             everything was looked at 3s ago, in 4 ms; 12 times so far\n\
             \n  SINK                STATE  DESIRED  PRESENT  HELD  FOREIGN  UNREACHABLE  FAILED\n\
             \x20 kernel, table main  up     3        3        0     0        0            0\n\
             \n  SOURCE                    STATE  LAST CONTACT\n\
             \x20 pool (routes.sources[1])  up     70s ago\n"
        );
    }

    #[test]
    fn what_is_wrong_needs_attention_and_does_not_reach_the_terminal_raw() {
        let (text, exit) = printed(
            r#"{"version": "9", "node": "a\u001b[31m", "healthy": true, "ready": false, "unready": "why\nnot",
                "outbox": {"records": 2, "ageSeconds": 5},
                "troubles": [{"cause": "sink", "text": "x\u202ey", "since": 940}]}"#,
        );
        assert_eq!(exit, Exit::Warning);
        assert!(!text.replace('\n', "").contains(output::is_harmful), "{text:?}");
        for words in [
            "not ready: why\\u{a}not",
            "to be written to etcd: 2, for 5s at most",
            " 60s    sink   x\\u{202e}y",
        ] {
            assert!(text.contains(words), "no {words:?} in\n{text}");
        }
        for (document, expected) in [
            ("{}", Exit::Warning),
            (r#"{"healthy": true, "ready": true, "troubles": [{}]}"#, Exit::Warning),
            (r#"{"healthy": false, "ready": true}"#, Exit::Warning),
            (r#"{"healthy": true, "ready": true}"#, Exit::Fine),
        ] {
            assert_eq!(printed(document).1, expected, "{document}");
        }
    }
}
