/*!
What the agent tells about itself, on a Unix socket and, where the configuration says so, on a loopback port:
metrics at `/metrics`, all of it as one document at `/status`, whether the loop turns at `/healthz`, whether all
routes are known and set at `/readyz`.

| room | what is in it |
|---|---|
| here | what the loop has seen last, and what each page says |
| `server` | HTTP: few connections, small requests, short waits |
| `status` | the document |
*/

mod server;
mod status;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipam_stores::StateDirs;

use crate::config::{Config, Source};
use crate::engine::Report;
use crate::log::{Cause, Complaints};
use crate::metrics::{self, Metrics, Samples, exposition, stores};
pub(crate) use status::Document;
use status::{SourceStatus, Trouble};

/// For how long what the stores hold is told without reading it again.
const FRESH: Duration = Duration::from_secs(2);

/// What the loop has seen last.
#[derive(Debug)]
struct Seen {
    report: Arc<Report>,
    /// When everything was looked at last, and how long that took.
    at: Instant,
    took: Duration,
    looks: u64,
    troubles: Vec<Trouble>,
    /// The sources in etcd, by their position in the configuration.
    sources: BTreeMap<usize, SourceSeen>,
}

/// A source in etcd.
#[derive(Debug)]
struct SourceSeen {
    kind: &'static str,
    contact: Option<Instant>,
    /// Why each range of it cannot be read.
    troubles: BTreeMap<usize, String>,
}

/// What does not change.
#[derive(Debug)]
struct Inner {
    node: String,
    dirs: StateDirs,
    started: (Instant, u64),
    /// After how long without a look something is wrong.
    limit: Duration,
    metrics: Metrics,
    seen: Mutex<Seen>,
    /// What the stores held, and when that was.
    stores: Mutex<Option<(Instant, Samples)>>,
}

/// What the loop has seen last, for whoever asks.
#[derive(Clone, Debug)]
pub(crate) struct Board(Arc<Inner>);

/// A page: whether all is well, as far as it says that; its content type; the text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) good: bool,
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

const TEXT: &str = "text/plain; charset=utf-8";

/// The formats in which metrics can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus' own, which everybody reads.
    Plain,
    /// OpenMetrics, for those that ask for it.
    Open,
}

impl Format {
    /// What a client accepts, by its header.
    fn accepted(header: Option<&str>) -> Self {
        let open = header.is_some_and(|text| text.contains("application/openmetrics-text"));
        if open { Self::Open } else { Self::Plain }
    }
}

impl Board {
    /// Nothing is seen yet.
    pub(crate) fn new(config: &Config, dirs: &StateDirs) -> Self {
        let sources = config.sources.iter().enumerate().filter_map(|(position, source)| {
            let kind = match source {
                Source::Pool(_) => "pool",
                Source::Calico(_) => "calico",
                Source::Peers(_) | Source::File(_) => return None,
            };
            Some((position, SourceSeen { kind, contact: None, troubles: BTreeMap::new() }))
        });
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix = unix.map_or(0, |since| since.as_secs());
        let now = Instant::now();
        let board = Self(Arc::new(Inner {
            node: config.node.clone(),
            dirs: dirs.clone(),
            started: (now, unix),
            limit: config.resync * 3 + Duration::from_secs(30),
            metrics: Metrics::new(),
            seen: Mutex::new(Seen {
                report: Arc::default(),
                at: now,
                took: Duration::ZERO,
                looks: 0,
                troubles: Vec::new(),
                sources: sources.collect(),
            }),
            stores: Mutex::new(None),
        }));
        board.metrics().samples().set(&metrics::START, &[], metrics::number(u128::from(unix)));
        board
    }

    /// What is counted: here helpers of the loop add to it.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything was looked at.
    pub(crate) fn looked(&self, report: &Arc<Report>, took: Duration) {
        self.0.metrics.looked(report, took);
        self.0.metrics.vpps(&report.vpps);
        let mut seen = self.seen();
        seen.report = Arc::clone(report);
        seen.at = Instant::now();
        seen.took = took;
        seen.looks += 1;
    }

    /// So it is with VPPs, where nothing else was looked at.
    pub(crate) fn vpps(&self, report: &Arc<Report>) {
        self.0.metrics.vpps(&report.vpps);
        self.seen().report = Arc::clone(report);
    }

    /// What is wrong now; `begun` since the last time.
    pub(crate) fn troubles(&self, complaints: &Complaints, begun: &[Cause]) {
        self.0.metrics.troubles(complaints.now().map(|(complaint, _)| complaint.cause), begun);
        let trouble = |(complaint, since): (&crate::log::Complaint, u64)| Trouble {
            cause: complaint.cause.name(),
            text: complaint.text.clone(),
            since,
        };
        self.seen().troubles = complaints.now().map(trouble).collect();
    }

    /// A range of a source in etcd was read or has told something, or cannot be read.
    pub(crate) fn contact(&self, (source, range): (usize, usize), trouble: Option<&str>) {
        if let Some(source) = self.seen().sources.get_mut(&source) {
            match trouble {
                None => {
                    source.contact = Some(Instant::now());
                    source.troubles.remove(&range);
                }
                Some(why) => {
                    source.troubles.insert(range, why.to_owned());
                }
            }
        }
    }

    /// Why not all routes are known and can be set.
    fn unready(&self) -> Option<&'static str> {
        let seen = self.seen();
        if seen.looks == 0 {
            return Some("nothing was looked at yet");
        }
        if !seen.report.complete {
            return Some("not all sources have told all they know");
        }
        if seen.sources.values().any(|source| !source.troubles.is_empty()) {
            return Some("a source in etcd cannot be read; routes stay as they are");
        }
        let reached = seen.report.sinks.iter().all(|sink| sink.trouble.is_none());
        if !reached {
            return Some("a sink cannot be reached");
        }
        let whole = seen.report.vpps.iter().all(crate::replay::VppReport::is_ready);
        (!whole).then_some("VPP is away, or lacks a pod that could be put back")
    }

    /// Whether the loop turns.
    fn turns(&self) -> bool {
        self.seen().at.elapsed() < self.0.limit
    }

    /// What a path says; `None` if there is nothing.
    pub(crate) fn page(&self, path: &str, format: Format) -> Option<Page> {
        let verdict = |bad: Option<&str>| Page {
            good: bad.is_none(),
            kind: TEXT,
            text: format!("{}\n", bad.unwrap_or("ok")),
        };
        Some(match path {
            "/healthz" => verdict((!self.turns()).then_some("nothing was looked at for too long")),
            "/readyz" => verdict(self.unready()),
            "/metrics" => match (format, self.metrics_text()) {
                (Format::Open, text) => Page {
                    good: true,
                    kind: "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    text,
                },
                (Format::Plain, text) => Page {
                    good: true,
                    kind: "text/plain; version=0.0.4; charset=utf-8",
                    text: exposition::plain(&text),
                },
            },
            "/status" => {
                let text = serde_json::to_string_pretty(&self.document()).unwrap_or_default();
                Page { good: true, kind: "application/json", text: format!("{text}\n") }
            }
            _ => return None,
        })
    }

    fn metrics_text(&self) -> String {
        let mut samples = self.0.metrics.samples().clone();
        let ready = f64::from(u8::from(self.unready().is_none()));
        samples.set(&metrics::READY, &[], ready);
        if let Some(bytes) = resident() {
            samples.set(&metrics::RESIDENT, &[], metrics::number(bytes));
        }
        {
            let seen = self.seen();
            samples.set(&metrics::RESYNC_AGE, &[], seen.at.elapsed().as_secs_f64());
            for (position, source) in &seen.sources {
                let labels: [&str; 2] = [source.kind, &position.to_string()];
                let up = source.contact.is_some() && source.troubles.is_empty();
                samples.set(&metrics::SOURCE_UP, &labels, f64::from(u8::from(up)));
                if let Some(contact) = source.contact {
                    let age = contact.elapsed().as_secs_f64();
                    samples.set(&metrics::SOURCE_AGE, &labels, age);
                }
            }
        }
        samples.merge(self.of_stores());
        samples.text(self.0.metrics.resync())
    }

    /// What the stores hold, read not more often than is of use.
    fn of_stores(&self) -> Samples {
        let mut kept = self.0.stores.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((at, samples)) if at.elapsed() < FRESH => samples.clone(),
            _ => {
                let mut samples = Samples::default();
                stores::read(&self.0.dirs, &mut samples);
                *kept = Some((Instant::now(), samples.clone()));
                samples
            }
        }
    }

    fn document(&self) -> Document {
        let unready = self.unready();
        let (healthy, outbox) = (self.turns(), stores::waiting(&self.0.dirs));
        let seen = self.seen();
        let source = |(position, source): (&usize, &SourceSeen)| SourceStatus {
            source: source.kind,
            position: *position,
            up: source.contact.is_some() && source.troubles.is_empty(),
            contact_age_seconds: source.contact.map(|at| at.elapsed().as_secs()),
        };
        Document::new(
            status::Facts {
                node: self.0.node.clone(),
                started: self.0.started.1,
                running_seconds: self.0.started.0.elapsed().as_secs(),
                healthy,
                unready,
                looks: seen.looks,
                look_age: seen.at.elapsed(),
                look_took: seen.took,
                outbox,
            },
            seen.troubles.clone(),
            seen.sources.iter().map(source).collect(),
            Arc::clone(&seen.report),
        )
    }
}

/// The memory that this process uses, in bytes (proc(5), `statm`: pages of the kernel's size).
fn resident() -> Option<u128> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u128 = text.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u128)
}

#[cfg(test)]
mod tests;
