/*!
The loop: something happens, a moment is waited for more of it, then everything is looked at.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use kernel::{Groups, Monitor};

use crate::config::{Config, SinkSpec};
use crate::engine::{Action, Mode, Report, look};
use crate::feed::{self, Place};
use crate::log::{Complaints, Level, line};
use crate::node::Node;
use crate::observe::Board;
use crate::report::summary;
use crate::sinks::Sink;
use crate::sources::{Me, Sources, Update};

/// For how long more is waited for after something has happened, and at most.
const QUIET: Duration = Duration::from_millis(20);
/// See [`QUIET`].
const LONGEST: Duration = Duration::from_millis(200);
/// How often sinks are looked at for having become others.
const PROBE: Duration = Duration::from_secs(1);
/// After how long what failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Which range of which source.
pub(crate) type RangeId = (usize, usize);

/// What may happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// etcd has something else.
    Etcd(RangeId, Update),
    /// etcd cannot be asked, or can again.
    EtcdTrouble(RangeId, Option<String>),
    /// A link, an address or a route has changed.
    Network,
    /// The network cannot be listened to.
    NetworkTrouble(String),
    /// This node is another one than it was known as.
    Me(Me),
    /// What is wrong with the node's record and its pools now.
    NodeTroubles(Vec<String>),
    /// It is to end.
    Stop,
}

/// What the loop knows.
struct State {
    sources: Sources,
    me: Me,
    etcd: BTreeMap<RangeId, String>,
    network: Option<String>,
    node: Vec<String>,
    dirty: bool,
    stop: bool,
}

/// Runs until a signal ends it.
///
/// # Errors
/// Why it cannot begin, in a sentence.
pub(crate) fn run(
    config: &Config,
    sources: Sources,
    places: Vec<Place>,
    mut sinks: Vec<Box<dyn Sink>>,
    node: Option<Node>,
    me: Me,
) -> Result<(), String> {
    let (to, events) = channel();
    signals(to.clone())?;
    let board = Board::new(config.resync);
    if let Some(address) = config.listen {
        board
            .serve(address)
            .map_err(|error| format!("{address} cannot be listened on: {error}"))?;
    }
    for place in places {
        feed::start(place, to.clone());
    }
    let protocols = config.sinks.iter().filter_map(|sink| match sink {
        SinkSpec::Kernel(kernel) => Some(kernel.protocol),
        SinkSpec::Vpp(_) => None,
    });
    listen(protocols.collect(), to.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let node = node.map(|node| node.start(to, Arc::clone(&stop)));
    let mut state = State {
        sources,
        me,
        etcd: BTreeMap::new(),
        network: None,
        node: Vec::new(),
        dirty: true,
        stop: false,
    };
    line(Level::Info, "started");
    state.turn(config, &events, &mut sinks, &board);
    stop.store(true, Ordering::Relaxed);
    if let Some(node) = node {
        // It has a deadline for everything that it does.
        let _ = node.join();
    }
    line(Level::Info, "ended; the routes stay");
    Ok(())
}

impl State {
    fn turn(
        &mut self,
        config: &Config,
        events: &Receiver<Event>,
        sinks: &mut [Box<dyn Sink>],
        board: &Board,
    ) {
        let mut complaints = Complaints::default();
        let mut report = Report::default();
        let mut next = Instant::now();
        let mut probe = Instant::now() + PROBE;
        while !self.stop {
            let now = Instant::now();
            if now >= probe {
                for sink in sinks.iter_mut() {
                    self.dirty |= sink.has_changed();
                }
                probe = now + PROBE;
            }
            if self.dirty || now >= next {
                self.dirty = false;
                let begun = Instant::now();
                report = look(&self.sources, &self.me, sinks, Mode::Apply);
                board.looked(&report, begun.elapsed());
                tell(&report);
                let failed = report.sinks.iter().any(|sink| {
                    sink.trouble.is_some() || sink.routes.iter().any(|row| row.error.is_some())
                });
                next =
                    Instant::now() + if failed { RETRY.min(config.resync) } else { config.resync };
            }
            let wrong = self.complaints(&report);
            board.troubles(wrong.len());
            complaints.are(wrong);
            self.wait(events, next.min(probe));
        }
    }

    /// Waits for something to happen, and then for a moment in which nothing does.
    fn wait(&mut self, events: &Receiver<Event>, until: Instant) {
        let timeout = until.saturating_duration_since(Instant::now());
        match events.recv_timeout(timeout) {
            Ok(event) => self.take(event),
            Err(RecvTimeoutError::Timeout) => return,
            // The signals' thread never ends before.
            Err(RecvTimeoutError::Disconnected) => self.stop = true,
        }
        let longest = Instant::now() + LONGEST;
        while self.dirty && !self.stop && Instant::now() < longest {
            match events.recv_timeout(QUIET) {
                Ok(event) => self.take(event),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Etcd((source, range), update) => {
                self.dirty |= self.sources.update(source, range, update);
            }
            Event::EtcdTrouble(id, Some(trouble)) => {
                self.etcd.insert(id, trouble);
            }
            Event::EtcdTrouble(id, None) => {
                self.etcd.remove(&id);
            }
            Event::Network => {
                self.network = None;
                self.dirty = true;
            }
            Event::NetworkTrouble(trouble) => self.network = Some(trouble),
            Event::Me(me) => {
                self.dirty |= self.me != me;
                self.me = me;
            }
            Event::NodeTroubles(troubles) => self.node = troubles,
            Event::Stop => self.stop = true,
        }
    }

    /// All that is wrong.
    fn complaints(&self, report: &Report) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = report.notes.iter().cloned().collect();
        all.extend(self.etcd.values().map(|why| format!("{why}; routes stay as they are")));
        all.extend(self.network.clone());
        all.extend(self.node.iter().cloned());
        for refused in &report.refused {
            all.insert(format!(
                "{} of node {} ({}) makes no route: {}",
                refused.destination, refused.node, refused.origin, refused.reason
            ));
        }
        for sink in &report.sinks {
            all.extend(sink.trouble.iter().map(|why| format!("{}: {why}", sink.sink)));
            for row in &sink.routes {
                let (to, what) = (row.destination, &row.route);
                if let Some(error) = &row.error {
                    all.insert(format!("{}: the route to {to}: {error}", sink.sink));
                } else if row.action == Action::Foreign {
                    all.insert(format!(
                        "{}: {to} has a route of somebody else's, {what}: {}",
                        sink.sink, row.reason
                    ));
                }
            }
        }
        all
    }
}

/// Tells what was changed; a few routes each by itself.
fn tell(report: &Report) {
    const FEW: usize = 10;
    let changed = |action: Action| matches!(action, Action::Add | Action::Replace | Action::Remove);
    for sink in &report.sinks {
        let rows: Vec<_> =
            sink.routes.iter().filter(|row| changed(row.action) && row.error.is_none()).collect();
        if rows.is_empty() || sink.trouble.is_some() {
            continue;
        }
        if rows.len() > FEW {
            line(Level::Info, format_args!("{}: {}", sink.sink, summary(report)));
            continue;
        }
        for row in rows {
            let verb = match row.action {
                Action::Add => "added",
                Action::Replace => "replaced",
                _ => "removed",
            };
            let (to, what, why) = (row.destination, &row.route, &row.reason);
            line(Level::Info, format_args!("{}: {verb} {to} {what}: {why}", sink.sink));
        }
    }
}

/// Hears of changes in the network, but of routes with these protocols, which are this program's.
fn listen(protocols: Vec<u8>, to: Sender<Event>) {
    thread::spawn(move || {
        let groups = Groups { links: true, addresses: true, routes: true, neighbors: false };
        loop {
            let trouble = match Monitor::open(groups) {
                Err(error) => error,
                Ok(mut monitor) => match hear(&mut monitor, &protocols, &to) {
                    None => return,
                    Some(error) => error,
                },
            };
            if to.send(Event::NetworkTrouble(trouble.to_string())).is_err() {
                return;
            }
            thread::sleep(RETRY);
        }
    });
}

/// Until it fails; `None` if nobody listens any more.
fn hear(monitor: &mut Monitor, protocols: &[u8], to: &Sender<Event>) -> Option<kernel::Error> {
    // What was missed before is looked at, too.
    if to.send(Event::Network).is_err() {
        return None;
    }
    loop {
        match monitor.next(Duration::from_secs(60)) {
            Ok(None) => {}
            // What this program has set itself.
            Ok(Some(kernel::Event::RouteSet(route))) if protocols.contains(&route.protocol) => {}
            Ok(Some(_)) => {
                if to.send(Event::Network).is_err() {
                    return None;
                }
            }
            Err(error) => return Some(error),
        }
    }
}

/// Hears of the signals that end the daemon.
fn signals(to: Sender<Event>) -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};

    let failed = |error: std::io::Error| format!("signals cannot be listened to: {error}");
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let mut signals = {
            let _inside = runtime.enter();
            signal(kind).map_err(failed)?
        };
        let to = to.clone();
        thread::spawn(move || {
            runtime.block_on(signals.recv());
            let _ = to.send(Event::Stop);
        });
    }
    Ok(())
}
