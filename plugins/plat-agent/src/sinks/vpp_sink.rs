/*!
Routes in VPP.

They belong to a FIB source of their own, behind the API's and the command line's: nobody else's request
changes them, and one list shows them. VPP does not look whether a source of a name is there before it makes
one, and cannot delete one: that happens under a lock. Next hops are recursive, so that they follow the
uplink when it is made anew.
*/

use std::fs::{DirBuilder, OpenOptions};
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::layout::Fnv;
use ipam_stores::lock::Lock;
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
/// How often the lock is tried, and how long in between: VPP answers in milliseconds.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(25);

/// The routes of one table.
pub(super) struct VppRoutes {
    spec: VppSink,
    lock: PathBuf,
    client: Option<Client>,
    source: u8,
    /// Whether it was reached since it was looked at last.
    was_there: bool,
}

impl VppRoutes {
    pub(super) fn new(spec: VppSink, run_dir: &Path) -> Self {
        let mut hash = Fnv::default();
        hash.write(spec.socket.as_os_str().as_encoded_bytes());
        let lock = run_dir.join("agent").join(format!("vpp-{:016x}.lock", hash.finish()));
        Self { spec, lock, client: None, source: 0, was_there: false }
    }

    /// The connection with a source; both are made if they are not there.
    fn client(&mut self) -> Result<&mut Client, String> {
        let client = match self.client.take() {
            Some(client) if client.is_connected() => client,
            _ => {
                let options = Options { timeout: TIMEOUT, ..Options::new(SOURCE) };
                let mut client = Client::connect(&self.spec.socket, &options)
                    .map_err(|error| error.to_string())?;
                let lock = lock(&self.lock)?;
                self.source =
                    client.fib_source(SOURCE, PRIORITY).map_err(|error| error.to_string())?;
                drop(lock);
                client
            }
        };
        self.was_there = true;
        Ok(self.client.insert(client))
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

/// Takes the lock of whoever makes sources.
fn lock(path: &Path) -> Result<Lock, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("the lock {shown} cannot be opened: {error}");
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    }
    for _ in 0..TRIES {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        match Lock::try_exclusive(file, path) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => std::thread::sleep(PAUSE),
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(format!("the lock {shown} was not free for {:?}", PAUSE * TRIES))
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
            let ours = route.src == source;
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
        self.client()?;
        let source = self.source;
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
            None => std::os::unix::net::UnixStream::connect(&self.spec.socket).is_ok(),
        };
        if !alive {
            self.client = None;
        }
        let before = std::mem::replace(&mut self.was_there, alive);
        alive != before
    }
}
