/*!
The loop: something happens, a moment is waited for more of it, then everything is looked at.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ipam_stores::StateDirs;
use kernel::{Groups, Monitor};

use crate::config::{Config, SinkSpec};
use crate::engine::{Action, Mode, Report, look};
use crate::feed::{self, Place};
use crate::forwarding::Verb;
use crate::gc;
use crate::log::{Cause, Complaint, Complaints, Level, line};
use crate::node::Node;
use crate::observe::Board;
use crate::replay::{Keeper, VppReport, Word};
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

/// How long threads that talk to a VPP are waited for at the end: so many times so long.
const MOMENTS: usize = 200;
/// See [`MOMENTS`].
const MOMENT: Duration = Duration::from_millis(10);

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
    /// What is wrong with freeing what no pod lives for, if anything is.
    GcTrouble(Option<String>),
    /// What has become of a VPP and its attachments.
    Vpp(Box<Word>),
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
    gc: Option<String>,
    vpps: BTreeMap<PathBuf, VppReport>,
    /// Whether that is not told yet.
    vpps_are_news: bool,
    dirty: bool,
    stop: bool,
}

/// Runs until a signal ends it.
///
/// # Errors
/// Why it cannot begin, in a sentence.
pub(crate) fn run(
    config: &Config,
    dirs: &StateDirs,
    sources: Sources,
    places: Vec<Place>,
    mut sinks: Vec<Box<dyn Sink>>,
    node: Option<Node>,
    me: Me,
) -> Result<(), String> {
    let (to, events) = channel();
    signals(to.clone())?;
    let board = Board::new(config, dirs);
    let (serving, trouble) = board.serve(config.listen, dirs).map_err(|error| {
        let address = config.listen.map_or_else(String::new, |address| address.to_string());
        format!("{address} cannot be listened on: {error}")
    })?;
    if let Some(trouble) = trouble {
        line(Level::Warning, trouble);
    }
    for place in places {
        feed::start(place, to.clone());
    }
    let protocols = config.sinks.iter().filter_map(|sink| match sink {
        SinkSpec::Kernel(kernel) => Some(kernel.protocol),
        SinkSpec::Vpp(_) => None,
    });
    listen(protocols.collect(), to.clone());
    let (ask, asked) = channel();
    collect_on_request(ask)?;
    match &config.gc {
        Some(gc) => gc::start(gc.clone(), dirs.clone(), asked, to.clone(), board.clone()),
        None => gc::refuse(asked),
    }
    let stop = Arc::new(AtomicBool::new(false));
    let keepers = config.vpps.iter().map(|socket| {
        let to = to.clone();
        let keeper = Keeper {
            socket: socket.clone(),
            run_dir: dirs.volatile.clone(),
            resync: config.resync,
            stop: Arc::clone(&stop),
            tell: move |word| to.send(Event::Vpp(Box::new(word))).is_ok(),
        };
        keeper.start()
    });
    let keepers: Vec<JoinHandle<()>> = keepers.collect();
    let node = node.map(|node| node.start(to, Arc::clone(&stop)));
    let mut state = State {
        sources,
        me,
        etcd: BTreeMap::new(),
        network: None,
        node: Vec::new(),
        gc: None,
        vpps: config.vpps.iter().map(|it| (it.clone(), VppReport::new(it))).collect(),
        vpps_are_news: false,
        dirty: true,
        stop: false,
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), node = config.node, "started");
    state.turn(config, &events, &mut sinks, &board);
    drop(serving);
    stop.store(true, Ordering::Relaxed);
    if let Some(node) = node {
        // It has a deadline for everything that it does.
        let _ = node.join();
    }
    // They take leave of their VPP. Not by the clock: where the whole machine stands still they get their turn behind.
    for _ in 0..MOMENTS {
        if keepers.iter().all(JoinHandle::is_finished) {
            break;
        }
        thread::sleep(MOMENT);
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
        let mut hints: BTreeSet<String> = BTreeSet::new();
        let mut report = Arc::new(Report::default());
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
                let mut found = look(&self.sources, &self.me, sinks, Mode::Apply);
                found.vpps = self.vpps.values().cloned().collect();
                report = Arc::new(found);
                let took = begun.elapsed();
                tracing::debug!(took_millis = u64::try_from(took.as_millis()).ok(), "looked");
                board.looked(&report, took);
                tell(&report);
                let now: BTreeSet<String> = report.hints.iter().cloned().collect();
                for hint in now.difference(&hints) {
                    line(Level::Info, format_args!("hint: {hint}"));
                }
                hints = now;
                let failed = report.sinks.iter().any(|sink| {
                    sink.trouble.is_some() || sink.routes.iter().any(|row| row.error.is_some())
                }) || report.forwarding.iter().any(|measure| measure.error.is_some());
                next =
                    Instant::now() + if failed { RETRY.min(config.resync) } else { config.resync };
            }
            if std::mem::take(&mut self.vpps_are_news) {
                Arc::make_mut(&mut report).vpps = self.vpps.values().cloned().collect();
                board.vpps(&report);
            }
            let wrong = self.complaints(&report);
            let begun = complaints.are(&wrong);
            board.troubles(&complaints, &begun);
            self.wait(events, next.min(probe), board);
        }
    }

    /// Waits for something to happen, and then for a moment in which nothing does.
    fn wait(&mut self, events: &Receiver<Event>, until: Instant, board: &Board) {
        let timeout = until.saturating_duration_since(Instant::now());
        match events.recv_timeout(timeout) {
            Ok(event) => self.take(event, board),
            Err(RecvTimeoutError::Timeout) => return,
            // The signals' thread never ends before.
            Err(RecvTimeoutError::Disconnected) => self.stop = true,
        }
        let longest = Instant::now() + LONGEST;
        while self.dirty && !self.stop && Instant::now() < longest {
            match events.recv_timeout(QUIET) {
                Ok(event) => self.take(event, board),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, event: Event, board: &Board) {
        match event {
            Event::Etcd((source, range), update) => {
                board.contact((source, range), None);
                self.dirty |= self.sources.update(source, range, update);
            }
            Event::EtcdTrouble(id, Some(trouble)) => {
                board.contact(id, Some(&trouble));
                self.etcd.insert(id, trouble);
            }
            Event::EtcdTrouble(id, None) => {
                board.contact(id, None);
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
            Event::GcTrouble(trouble) => self.gc = trouble,
            Event::Vpp(word) => {
                self.dirty |= word.routes;
                self.vpps.insert(word.report.socket.clone(), word.report);
                self.vpps_are_news = true;
            }
            Event::Stop => self.stop = true,
        }
    }

    /// All that is wrong.
    fn complaints(&self, report: &Report) -> BTreeSet<Complaint> {
        let mut all: BTreeSet<Complaint> =
            report.notes.iter().map(|note| Cause::Other.says(note)).collect();
        let stays = |why: &String| Cause::Etcd.says(format!("{why}; routes stay as they are"));
        all.extend(self.etcd.values().map(stays));
        all.extend(self.network.iter().map(|why| Cause::Network.says(why)));
        all.extend(self.node.iter().map(|why| Cause::Node.says(why)));
        all.extend(self.gc.iter().map(|why| Cause::Gc.says(why)));
        let of_vpps = self.vpps.values().flat_map(VppReport::complaints);
        all.extend(of_vpps.map(|why| Cause::Vpp.says(why)));
        for measure in &report.forwarding {
            let failed = |why: &String| {
                let (what, to) = (&measure.what, measure.action.word());
                Cause::Forwarding.says(format!("{what}, to {to}: {why}"))
            };
            all.extend(measure.error.iter().map(failed));
        }
        for refused in &report.refused {
            all.insert(Cause::Refused.says(format!(
                "{} of node {} ({}) makes no route: {}",
                refused.destination, refused.node, refused.origin, refused.reason
            )));
        }
        for sink in &report.sinks {
            let says = |why: &String| Cause::Sink.says(format!("{}: {why}", sink.sink));
            all.extend(sink.trouble.iter().map(says));
            for row in &sink.routes {
                let (to, what) = (row.destination, &row.route);
                if let Some(error) = &row.error {
                    let text = format!("{}: the route to {to}: {error}", sink.sink);
                    all.insert(Cause::Route.says(text));
                } else if row.action == Action::Foreign {
                    all.insert(Cause::Foreign.says(format!(
                        "{}: {to} has a route of somebody else's, {what}: {}",
                        sink.sink, row.reason
                    )));
                }
            }
        }
        all
    }
}

/// Tells what was changed; a few routes each by itself.
fn tell(report: &Report) {
    const FEW: usize = 10;
    for measure in &report.forwarding {
        if measure.action != Verb::Keep && measure.error.is_none() {
            let (verb, what, why) = (measure.action.word(), &measure.what, &measure.reason);
            line(Level::Info, format_args!("forwarding: {verb}: {what}: {why}"));
        }
    }
    let changed = |action: Action| matches!(action, Action::Add | Action::Replace | Action::Remove);
    for sink in &report.sinks {
        let rows: Vec<_> =
            sink.routes.iter().filter(|row| changed(row.action) && row.error.is_none()).collect();
        if rows.is_empty() || sink.trouble.is_some() {
            continue;
        }
        if rows.len() > FEW {
            tracing::info!("{}: {}", sink.sink, summary(report));
            continue;
        }
        for row in rows {
            let verb = match row.action {
                Action::Add => "added",
                Action::Replace => "replaced",
                _ => "removed",
            };
            let (sink, to, what, why) = (&sink.sink, row.destination, &row.route, &row.reason);
            tracing::info!(action = verb, node = row.node, "{sink}: {verb} {to} {what}: {why}");
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

/// Hears of the signal that asks for freeing what no pod lives for.
fn collect_on_request(ask: Sender<()>) -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};

    let failed = |error: std::io::Error| format!("signals cannot be listened to: {error}");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut signals = {
        let _inside = runtime.enter();
        signal(SignalKind::user_defined1()).map_err(failed)?
    };
    thread::spawn(move || {
        while runtime.block_on(signals.recv()).is_some() {
            if ask.send(()).is_err() {
                return;
            }
        }
    });
    Ok(())
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
