//! What `/status` tells, as one document.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::engine::Report;
use crate::metrics::Totals;

/// How the agent is. Fields may be added.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Document {
    /// Its version.
    version: &'static str,
    /// The node's name.
    node: String,
    /// When it was started, in seconds since 1970.
    started: u64,
    /// For how many seconds it runs.
    #[serde(rename = "runningSeconds")]
    running_seconds: u64,
    /// Whether it looks at everything as often as it should.
    healthy: bool,
    /// Whether it has looked at everything once, and every source has told what it knows.
    ready: bool,
    /// Why it is not ready; absent if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    unready: Option<&'static str>,
    /// Its looks at everything.
    looks: Looks,
    /// What is wrong now.
    troubles: Vec<Trouble>,
    /// The sources in etcd.
    sources: Vec<SourceStatus>,
    /// What waits to be written to etcd; absent on a node that uses no cluster-wide pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    outbox: Option<Outbox>,
    /// The routes in numbers, in the order of `sinks`.
    totals: Vec<SinkTotals>,
    #[serde(flatten)]
    #[cfg_attr(feature = "schema", schemars(with = "Report"))]
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

/// Looks at everything.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct Looks {
    /// How many there were.
    count: u64,
    /// How long ago the last one ended, in seconds.
    age_seconds: u64,
    /// How long it took, in milliseconds.
    took_millis: u64,
}

/// What waits to be written to etcd.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct Outbox {
    /// How many records.
    records: u64,
    /// For how many seconds the oldest one waits.
    age_seconds: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Trouble {
    /// What it is about: `etcd`, `network`, `node`, `refused`, `sink`, `route`, `foreign`, `forwarding`, `gc`, `vpp`, `other`.
    pub(super) cause: &'static str,
    /// A sentence.
    pub(super) text: String,
    /// Since when, in seconds since 1970.
    pub(super) since: u64,
}

/// A source in etcd.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceStatus {
    /// Its type.
    pub(super) source: &'static str,
    /// Its position in the configuration, from 0.
    pub(super) position: usize,
    /// Whether it tells what it knows now.
    pub(super) up: bool,
    /// How many seconds ago it has told something last; absent if it never has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) contact_age_seconds: Option<u64>,
}

/// The routes of a place in numbers.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct SinkTotals {
    /// How people know the place.
    sink: String,
    /// Whether it can be looked at.
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
