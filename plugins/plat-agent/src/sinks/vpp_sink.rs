/*!
Routes in VPP.

They belong to a FIB source of their own, behind the API's and the command line's: nobody else's request
changes them, and one list shows them. VPP does not look whether a source of a name is there before it makes
one, and cannot delete one: that happens under a lock. Next hops are recursive, so that they follow the
uplink when it is made anew.
*/

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use vpp_api::msg::IpRouteAddDelV2;
use vpp_api::types::RouteV2;
use vpp_api::{Client, Family, FibPath, IfIndex, Options, Prefix};

use super::{Change, Sink};
use crate::config::VppSink;
use crate::diff::{Present, Way};

/// The name of the source.
const SOURCE: &str = "plat-agent";
/// Behind VPP's API and command line, which have 0x80.
const PRIORITY: u8 = 0x90;
/// How many changes are sent at a time.
const BATCH: usize = 512;
/// How long VPP may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to say that it is there, when it was not.
const PROBE: Duration = Duration::from_millis(250);
/// How long the plugin's calls are waited for that make sources, too: VPP answers them in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The routes of one table.
pub(super) struct VppRoutes {
    spec: VppSink,
    run_dir: PathBuf,
    client: Option<Client>,
    /// The source, once it is there: looking makes none.
    source: Option<u8>,
    /// Whether it was reached since it was looked at last.
    was_there: bool,
}

impl VppRoutes {
    pub(super) fn new(spec: VppSink, run_dir: &Path) -> Self {
        // The directory in which the plugin locks a VPP.
        let run_dir = run_dir.join("vpp");
        Self { spec, run_dir, client: None, source: None, was_there: false }
    }

    /// The connection, made if it is not there.
    fn client(&mut self) -> Result<&mut Client, String> {
        let client = match self.client.take() {
            Some(client) if client.is_connected() => client,
            _ => {
                let mut client = self.connect(TIMEOUT).map_err(|error| error.to_string())?;
                self.source = client.find_fib_source(SOURCE).map_err(|error| error.to_string())?;
                client
            }
        };
        self.was_there = true;
        Ok(self.client.insert(client))
    }

    fn connect(&self, timeout: Duration) -> Result<Client, vpp_api::Error> {
        Client::connect(&self.spec.socket, &Options { timeout, ..Options::new(SOURCE) })
    }

    /// The source, made if it is not there.
    fn source(&mut self) -> Result<u8, String> {
        self.client()?;
        if let Some(source) = self.source {
            return Ok(source);
        }
        let lock = self.alone()?;
        let source = self.client()?.fib_source(SOURCE, PRIORITY).map_err(|error| error.to_string());
        drop(lock);
        self.source = source.as_ref().ok().copied();
        source
    }

    /// Takes the lock of whoever makes sources: the plugin's calls do, and replays.
    fn alone(&self) -> Result<vpp_plugin::node::Alone, String> {
        let now = Instant::now();
        let deadline = now.checked_add(PATIENCE).unwrap_or(now);
        let place =
            vpp_plugin::node::Place { run_dir: &self.run_dir, root: Path::new("/"), deadline };
        vpp_plugin::node::alone(&self.spec.socket, &place).map_err(|error| error.to_string())
    }

    fn look(&mut self) -> Result<Vec<RouteV2>, String> {
        let table = self.spec.table;
        let client = self.client()?;
        let mut routes = Vec::new();
        for family in Family::BOTH {
            routes.extend(client.routes(0, table, family).map_err(|error| error.to_string())?);
        }
        Ok(routes)
    }
}

fn prefix_of(net: IpNet) -> Result<Prefix, String> {
    Prefix::new(net.addr(), net.prefix_len()).map_err(|error| error.to_string())
}

fn net_of(prefix: Prefix) -> Option<IpNet> {
    IpNet::new(prefix.address(), prefix.len()).ok().map(|net| net.trunc())
}

/// The way of a route, if it is one that is set here.
fn way_of(route: &RouteV2) -> Option<Way> {
    let [path] = route.paths.as_slice() else { return None };
    let plain = path.kind == FibPath::NORMAL && path.sw_if_index == IfIndex::NONE;
    plain.then_some(Way { via: path.next_hop()?, device: None, onlink: false })
}

fn shown(route: &RouteV2) -> String {
    let hops: Vec<String> =
        route.paths.iter().filter_map(|path| Some(format!("via {}", path.next_hop()?))).collect();
    // Stable from 22.10 to 26.06.
    let by = match route.src {
        1 => "VPP itself".to_owned(),
        4 => "an interface".to_owned(),
        8 => "the API".to_owned(),
        9 => "the command line".to_owned(),
        15 => "a neighbour".to_owned(),
        20 => "VPP's default".to_owned(),
        other => format!("source {other}"),
    };
    if hops.is_empty() { format!("by {by}") } else { format!("{} by {by}", hops.join(", ")) }
}

impl Sink for VppRoutes {
    fn name(&self) -> String {
        format!("VPP at {}, table {}", self.spec.socket.display(), self.spec.table)
    }

    fn list(&mut self) -> Result<Vec<Present>, String> {
        let routes = match self.look() {
            Ok(routes) => routes,
            Err(error) => {
                self.client = None;
                return Err(error);
            }
        };
        let source = self.source;
        let present = routes.iter().filter_map(|route| {
            let ours = Some(route.src) == source;
            let way = if ours { way_of(route) } else { None };
            Some(Present { prefix: net_of(route.prefix)?, way, ours, shown: shown(route) })
        });
        Ok(present.collect())
    }

    fn way(&self, via: IpAddr) -> Result<Way, String> {
        Ok(Way { via, device: None, onlink: false })
    }

    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Option<String>>, String> {
        let (table, mut results) = (self.spec.table, vec![None; changes.len()]);
        let source = self.source()?;
        let mut requests = Vec::with_capacity(changes.len());
        for change in changes {
            let prefix = prefix_of(change.prefix())?;
            requests.push(match change {
                Change::Add(_, way) | Change::Replace(_, _, way) => IpRouteAddDelV2::add(
                    RouteV2::new(source, table, prefix, vec![FibPath::via(way.via, table)]),
                ),
                Change::Delete(..) => IpRouteAddDelV2::delete(source, table, prefix),
            });
        }
        for (batch, results) in requests.chunks(BATCH).zip(results.chunks_mut(BATCH)) {
            let refused = match self.client()?.change_routes(batch) {
                Ok(refused) => refused,
                Err(error) => {
                    self.client = None;
                    return Err(error.to_string());
                }
            };
            for (prefix, error) in refused {
                let at = batch.iter().position(|request| request.route.prefix == prefix);
                if let Some(result) = at.and_then(|at| results.get_mut(at)) {
                    *result = Some(error.to_string());
                }
            }
        }
        Ok(results)
    }

    fn has_changed(&mut self) -> bool {
        let alive = match &mut self.client {
            // An event that nobody has asked for does not come; the end of the connection does.
            Some(client) => client.next_event(Duration::ZERO).is_ok() && client.is_connected(),
            // A connection that says nothing and ends may stay with VPP for ever.
            None => self.connect(PROBE).is_ok(),
        };
        if !alive {
            self.client = None;
        }
        let before = std::mem::replace(&mut self.was_there, alive);
        alive != before
    }
}
