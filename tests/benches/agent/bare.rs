//! The requests that routes need of the kernel and of VPP, and nothing else: a list, and what is missing or too much.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench_report::Outcome;
use kernel::{IpNet, Netlink, Route, RouteChange, RouteFilter};
use serde_json::Value;
use vpp_api::msg::IpRouteAddDelV2;
use vpp_api::types::RouteV2;
use vpp_api::{Client, Family, FibPath, Options, Prefix};

use crate::world::{PROTOCOL, text};

/// The first argument of a process that does this.
pub(crate) const BARE: &str = "--bare";
/// How long VPP may take for an answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many changes are sent to VPP at a time, as the agent does.
const BATCH: usize = 512;

/// A bare process for a file of routes: in a table of the kernel, or in VPP.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    pub(crate) routes: PathBuf,
    /// The kernel's table, or VPP's socket.
    pub(crate) place: String,
}

impl Bare {
    /// Runs it, for the routes to be there or not; how long that took.
    pub(crate) fn run(&self, there: bool) -> Outcome<Duration> {
        let this = std::env::current_exe().map_err(text)?;
        let mut command = Command::new(this);
        command.arg(BARE).arg(&self.routes).arg(&self.place).arg(there.to_string());
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        let begun = Instant::now();
        let status = command.status().map_err(text)?;
        let took = begun.elapsed();
        if status.success() { Ok(took) } else { Err(format!("the bare program: {status}")) }
    }
}

/// The process.
pub(crate) fn bare(arguments: &[String]) -> Outcome<()> {
    let [file, place, there] = arguments else { return Err("file, place, there".to_owned()) };
    let document = std::fs::read(file).map_err(text)?;
    let document: Value = serde_json::from_slice(&document).map_err(text)?;
    let mut wanted: Vec<(IpNet, IpAddr)> = Vec::new();
    for route in document["routes"].as_array().into_iter().flatten() {
        let word = |key: &str| route[key].as_str().unwrap_or_default().to_owned();
        wanted.push((word("dst").parse().map_err(text)?, word("gw").parse().map_err(text)?));
    }
    let there = there == "true";
    match place.parse() {
        Ok(table) => in_kernel(&wanted, table, there),
        Err(_) => in_vpp(&wanted, Path::new(place), there),
    }
}

fn in_kernel(wanted: &[(IpNet, IpAddr)], table: u32, there: bool) -> Outcome<()> {
    let mut netlink = Netlink::open().map_err(text)?;
    let filter = RouteFilter { table: Some(table), ..RouteFilter::default() };
    let present = netlink.routes(&filter).map_err(text)?;
    let present: BTreeSet<IpNet> = present.into_iter().map(|route| route.destination).collect();
    let changes = wanted.iter().filter(|(to, _)| present.contains(to) != there).map(|(to, via)| {
        let route = Route::to(*to).via(*via).protocol(PROTOCOL).table(table);
        if there { RouteChange::Add(route) } else { RouteChange::Delete(route) }
    });
    let changes: Vec<RouteChange> = changes.collect();
    netlink
        .change_routes(&changes)
        .map_err(text)?
        .into_iter()
        .collect::<Result<(), _>>()
        .map_err(text)
}

fn in_vpp(wanted: &[(IpNet, IpAddr)], socket: &Path, there: bool) -> Outcome<()> {
    let mut client =
        Client::connect(socket, &Options { timeout: PATIENCE, ..Options::new("bare") })
            .map_err(text)?;
    let source = client.fib_source("plat-agent", 0x90).map_err(text)?;
    let mut present = BTreeSet::new();
    for family in Family::BOTH {
        let routes = client.routes(0, 0, family).map_err(text)?;
        present.extend(routes.into_iter().filter(|it| it.src == source).map(|it| it.prefix));
    }
    let mut changes = Vec::new();
    for (to, via) in wanted {
        let prefix = Prefix::new(to.addr(), to.prefix_len()).map_err(text)?;
        if present.contains(&prefix) != there {
            let paths = vec![FibPath::via(*via, 0)];
            changes.push(if there {
                IpRouteAddDelV2::add(RouteV2::new(source, 0, prefix, paths))
            } else {
                IpRouteAddDelV2::delete(source, 0, prefix)
            });
        }
    }
    for batch in changes.chunks(BATCH) {
        if let Some((prefix, error)) = client.change_routes(batch).map_err(text)?.pop() {
            return Err(format!("{prefix:?}: {error}"));
        }
    }
    Ok(())
}
