//! What `/status` tells, as one document.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::engine::Report;
use crate::metrics::Totals;

/// The document. Fields may be added.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    version: &'static str,
    node: String,
    /// In seconds since 1970.
    started: u64,
    #[serde(rename = "runningSeconds")]
    running_seconds: u64,
    healthy: bool,
    ready: bool,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    unready: Option<&'static str>,
    looks: Looks,
    troubles: Vec<Trouble>,
    sources: Vec<SourceStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outbox: Option<Outbox>,
    /// In the order of `sinks`.
    totals: Vec<SinkTotals>,
    #[serde(flatten)]
    report: Shared,
}

/// What the document says of the agent itself.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) node: String,
    pub(super) started: u64,
    pub(super) running_seconds: u64,
    pub(super) healthy: bool,
    pub(super) unready: Option<&'static str>,
    pub(super) looks: u64,
    pub(super) look_age: Duration,
    pub(super) look_took: Duration,
    /// How many records wait to be written to etcd, and for how many seconds the oldest does.
    pub(super) outbox: Option<(u64, u64)>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Looks {
    count: u64,
    age_seconds: u64,
    took_millis: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outbox {
    records: u64,
    age_seconds: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Trouble {
    /// What it is about.
    pub(super) cause: &'static str,
    /// A sentence.
    pub(super) text: String,
    /// Since when, in seconds since 1970.
    pub(super) since: u64,
}

/// A source in etcd.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceStatus {
    pub(super) source: &'static str,
    /// Its position in the configuration.
    pub(super) position: usize,
    pub(super) up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) contact_age_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct SinkTotals {
    sink: String,
    up: bool,
    #[serde(flatten)]
    totals: Totals,
}

/// The report, which the loop has, too: thousands of rows.
#[derive(Debug)]
struct Shared(Arc<Report>);

impl Serialize for Shared {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Report::serialize(&self.0, to)
    }
}

impl Document {
    pub(super) fn new(
        facts: Facts,
        troubles: Vec<Trouble>,
        sources: Vec<SourceStatus>,
        report: Arc<Report>,
    ) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let totals = report.sinks.iter().map(|sink| SinkTotals {
            sink: sink.sink.clone(),
            up: sink.trouble.is_none(),
            totals: Totals::of(sink, |_| true),
        });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            node: facts.node,
            started: facts.started,
            running_seconds: facts.running_seconds,
            healthy: facts.healthy,
            ready: facts.unready.is_none(),
            unready: facts.unready,
            looks: Looks {
                count: facts.looks,
                age_seconds: facts.look_age.as_secs(),
                took_millis: millis(facts.look_took),
            },
            troubles,
            sources,
            outbox: facts.outbox.map(|(records, age_seconds)| Outbox { records, age_seconds }),
            totals: totals.collect(),
            report: Shared(report),
        }
    }
}
