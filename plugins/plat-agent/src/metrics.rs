/*!
What is counted and measured, as Prometheus reads it.

Every metric of the agent is in `ALL`, and only what is there can be set. What the loop and its helpers count stays in
`Metrics`; what the node's stores hold is read when it is asked for ([`stores`]). The text is written by
prometheus-client, in the OpenMetrics format; [`exposition`] makes Prometheus' own of it. docs/plat-agent.md has a table of
them. `plat` tells the same of stores where no agent runs, and [`of_plat`] besides, which docs/operations/monitoring.md has.
*/

pub mod exposition;
pub mod of_plat;
pub mod stores;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::engine::{Action, Report, Row, SinkReport};
use crate::log::Cause;
use crate::replay::{PodStatus, VppReport, VppState};
use vpp_plugin::replay;

/// A metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name; that of a counter ends in `_total`.
    pub(crate) name: &'static str,
    /// A sentence.
    pub(crate) help: &'static str,
    /// The names of its labels.
    pub(crate) labels: &'static [&'static str],
}

const fn metric(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, help, labels }
}

/// The histogram: it has several samples of a name each.
const RESYNC_SECONDS: Metric =
    metric("plat_agent_resync_duration_seconds", &[], "How long looking at everything takes.");

macro_rules! metrics {
    ($($constant:ident = $name:literal, $labels:expr, $help:literal;)*) => {
        $(pub(crate) const $constant: Metric = metric($name, &$labels, $help);)*
        /// Every metric but the histogram.
        pub(crate) const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    BUILD_INFO = "plat_agent_build_info", ["version"], "The version that runs; always 1.";
    START = "plat_agent_start_time_seconds", [], "When it was started, in seconds since 1970.";
    RESIDENT = "plat_agent_resident_memory_bytes", [], "The memory that it uses.";
    READY = "plat_agent_ready", [], "Whether all routes are known and can be set, as /readyz tells.";
    RESYNCS = "plat_agent_resyncs_total", [], "How often everything was looked at.";
    RESYNC_AGE = "plat_agent_resync_age_seconds", [], "How long ago everything was looked at last.";
    TROUBLES = "plat_agent_troubles", ["cause"], "Things that are wrong now.";
    ERRORS = "plat_agent_errors_total", ["cause"], "Things that have begun to be wrong.";
    SOURCES_COMPLETE = "plat_sources_complete", [], "Whether every source has told all it knows.";
    SOURCE_UP = "plat_source_up", ["source", "position"], "Whether a source in etcd can be read.";
    SOURCE_AGE = "plat_source_contact_age_seconds", ["source", "position"],
        "How long ago a source in etcd was read or has told a change.";
    SINK_UP = "plat_sink_up", ["sink"], "Whether routes can be listed and changed there.";
    DESIRED = "plat_routes_desired", ["sink", "family"], "Routes that should be there.";
    PRESENT = "plat_routes_present", ["sink", "family"], "Routes of the agent that are there.";
    HELD = "plat_routes_held", ["sink", "family"],
        "Routes that stay, though nobody can say now whether they should be there.";
    FOREIGN = "plat_routes_foreign", ["sink", "family"],
        "Routes of others in the place of one that should be there.";
    UNREACHABLE = "plat_routes_unreachable", ["sink", "family"],
        "Routes that are not made because their next hop cannot be reached.";
    FAILED = "plat_routes_failed", ["sink", "family"], "Changes that failed at the last look.";
    REFUSED = "plat_routes_refused", ["family"], "What sources tell and makes no route.";
    CHANGES = "plat_route_changes_total", ["sink", "family", "action", "outcome"],
        "Changes of routes.";
    VPP_UP = "plat_vpp_up", ["socket"], "Whether VPP answers.";
    VPP_RESTARTS = "plat_vpp_restarts_total", ["socket"], "How often VPP was started anew.";
    VPP_REPLAYS = "plat_vpp_replays_total", ["socket"], "How often something was put back into VPP.";
    VPP_PUT_BACK = "plat_vpp_pods_put_back_total", ["socket"],
        "Attachments that were put back into VPP.";
    VPP_NOT_PUT_BACK = "plat_vpp_pods_failed_total", ["socket", "cause"],
        "Attachments that could not be put back into VPP; one that fails twice counts twice.";
    VPP_PODS = "plat_vpp_pods", ["socket", "status"],
        "Attachments of VPP at the last look, by how they are.";
    VPP_REPLAY_SECONDS = "plat_vpp_replay_duration_seconds", ["socket"],
        "How long it took the last time to put something back.";
    GC_RUNS = "plat_gc_runs_total", ["outcome"],
        "How often it was looked for addresses that no pod lives for.";
    GC_FREED = "plat_gc_freed_total", [], "Addresses that were freed because no pod lives for them.";
    STORE_UP = "plat_store_up", ["store"], "Whether a store can be used.";
    STORE_FAULTS = "plat_store_faults", ["ipam", "network"],
        "What is out of place in the stores of a network, as plat status tells.";
    POOL_SIZE = "plat_pool_addresses", ["ipam", "network", "ranges"],
        "Addresses that may be handed out from a range set, or from a block.";
    POOL_FREE = "plat_pool_addresses_free", ["ipam", "network", "ranges"],
        "Those of them that could be handed out now.";
    POOL_ALLOCATED = "plat_pool_addresses_allocated", ["ipam", "network", "ranges"],
        "Those of them that are held.";
    POOL_COOLING = "plat_pool_addresses_cooling", ["ipam", "network", "ranges"],
        "Those of them that were freed and rest.";
    ALLOCATIONS = "plat_allocations", ["ipam", "network"],
        "Addresses that a CNI network holds.";
    BLOCKS = "plat_blocks", ["pool", "family", "state"], "Blocks of cluster-wide pools.";
    OUTBOX = "plat_outbox_records", [], "Records that are to be written to etcd.";
    OUTBOX_AGE = "plat_outbox_age_seconds", [], "For how long the oldest of them waits.";
    ETCD_AGE = "plat_pool_contact_age_seconds", [],
        "How long ago etcd has answered for the pools of this node.";
    AUTONOMY = "plat_pool_autonomy_seconds", [],
        "For how long this node may give out addresses without etcd.";
    POOL_REFUSED = "plat_pool_refused", ["reason"],
        "Whether this node may give out nothing of its pools, and why.";
    CALLS = "plat_calls_total", ["ipam", "network", "command", "outcome"],
        "Calls of plugins in this boot that have changed a database, and refused ones.";
    CALL_SECONDS = "plat_call_seconds_total", ["ipam", "network", "command", "outcome"],
        "How long they took together, waiting for the lock included.";
}

/// Values by metric and labels.
#[derive(Clone, Debug, Default)]
pub struct Samples(BTreeMap<&'static str, BTreeMap<Vec<String>, f64>>);

impl Samples {
    /// The value of a metric with these labels, in the order of its label names.
    pub fn set(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        *self.at(metric, labels) = value;
    }

    /// A counter goes up.
    pub fn add(&mut self, metric: &Metric, labels: &[&str], more: f64) {
        *self.at(metric, labels) += more;
    }

    /// Takes over what another one has.
    pub(crate) fn merge(&mut self, other: Self) {
        for (name, values) in other.0 {
            self.0.entry(name).or_default().extend(values);
        }
    }

    /// Nothing is known of it any more.
    pub(crate) fn clear(&mut self, metric: &Metric) {
        self.0.remove(metric.name);
    }

    fn at(&mut self, metric: &Metric, labels: &[&str]) -> &mut f64 {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.0.entry(metric.name).or_default().entry(labels).or_default()
    }

    /// The text of the agent, with every metric's name and help.
    pub(crate) fn text(self, resync: Histogram) -> String {
        let mut registry = Registry::default();
        let help = RESYNC_SECONDS.help.trim_end_matches('.');
        registry.register(RESYNC_SECONDS.name, help, resync);
        registry.register_collector(Box::new(Told { samples: self, all: ALL.iter().collect() }));
        encoded(&registry)
    }

    /// What has a value, in Prometheus' text format.
    #[must_use]
    pub fn plain_text(self) -> String {
        let all = ALL.iter().chain(of_plat::ALL).filter(|metric| self.0.contains_key(metric.name));
        let all = all.collect();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Told { samples: self, all }));
        exposition::plain(&encoded(&registry))
    }
}

fn encoded(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = text::encode(&mut text, registry);
    text
}

/// Values, and the metrics that are told of.
#[derive(Debug)]
struct Told {
    samples: Samples,
    all: Vec<&'static Metric>,
}

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in &self.all {
            let (name, kind) = match metric.name.strip_suffix("_total") {
                Some(name) => (name, MetricType::Counter),
                None => (metric.name, MetricType::Gauge),
            };
            let mut family = encoder.encode_descriptor(name, metric.help, None, kind)?;
            for (values, value) in self.samples.0.get(metric.name).into_iter().flatten() {
                let labels: Vec<(&str, &str)> =
                    metric.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
                let write = |encoder: &mut prometheus_client::encoding::MetricEncoder<'_>| match (
                    kind,
                    whole(*value),
                ) {
                    (MetricType::Counter, Some(number)) => encoder
                        .encode_counter::<[(&str, &str); 0], _, u64>(&number.unsigned_abs(), None),
                    (MetricType::Counter, None) => {
                        encoder.encode_counter::<[(&str, &str); 0], _, u64>(value, None)
                    }
                    (_, Some(number)) => encoder.encode_gauge(&number),
                    (_, None) => encoder.encode_gauge(value),
                };
                if labels.is_empty() {
                    write(&mut family)?;
                } else {
                    write(&mut family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

/// A value as a whole number, if it is one that a float has exactly.
fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation, reason = "it is whole and within 2^53")]
    let number = (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64);
    number
}

/// A count as a value; from 2^53 on it is the nearest one.
#[allow(clippy::cast_precision_loss, reason = "a float is what Prometheus has")]
#[must_use]
pub const fn number(count: u128) -> f64 {
    count as f64
}

fn count(count: usize) -> f64 {
    number(count as u128)
}

/// What the agent counts, from its start.
#[derive(Debug)]
pub(crate) struct Metrics {
    samples: Mutex<Samples>,
    resync: Histogram,
}

impl Metrics {
    /// Nothing was counted yet.
    pub(crate) fn new() -> Self {
        let mut samples = Samples::default();
        samples.set(&BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        samples.set(&RESYNCS, &[], 0.0);
        for cause in Cause::ALL {
            // A counter that begins with its first error shows no increase.
            samples.set(&ERRORS, &[cause.name()], 0.0);
        }
        for outcome in ["done", "failed"] {
            samples.set(&GC_RUNS, &[outcome], 0.0);
        }
        samples.set(&GC_FREED, &[], 0.0);
        let steps = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        Self { samples: Mutex::new(samples), resync: Histogram::new(steps) }
    }

    /// All values, to be changed.
    pub(crate) fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What takes down how long a look takes.
    pub(crate) fn resync(&self) -> Histogram {
        self.resync.clone()
    }

    /// Everything was looked at.
    pub(crate) fn looked(&self, report: &Report, took: Duration) {
        self.resync.observe(took.as_secs_f64());
        let mut samples = self.samples();
        samples.add(&RESYNCS, &[], 1.0);
        samples.set(&SOURCES_COMPLETE, &[], f64::from(u8::from(report.complete)));
        let gauges =
            [&SINK_UP, &DESIRED, &PRESENT, &HELD, &FOREIGN, &UNREACHABLE, &FAILED, &REFUSED];
        for metric in gauges {
            samples.clear(metric);
        }
        for sink in &report.sinks {
            samples.at_sink(sink);
        }
        for family in FAMILIES {
            let refused = report.refused.iter().filter(|row| family_of(row.destination) == family);
            samples.set(&REFUSED, &[family], count(refused.count()));
        }
    }

    /// So many things are wrong now, by cause; these have begun to be.
    pub(crate) fn troubles(&self, now: impl Iterator<Item = Cause>, begun: &[Cause]) {
        let mut samples = self.samples();
        for cause in Cause::ALL {
            samples.set(&TROUBLES, &[cause.name()], 0.0);
        }
        for cause in now {
            samples.add(&TROUBLES, &[cause.name()], 1.0);
        }
        for cause in begun {
            samples.add(&ERRORS, &[cause.name()], 1.0);
        }
    }

    /// It was looked for what no pod lives for: how many addresses were freed, and whether all could be looked at.
    pub(crate) fn collected(&self, freed: usize, fine: bool) {
        let mut samples = self.samples();
        samples.add(&GC_RUNS, &[if fine { "done" } else { "failed" }], 1.0);
        samples.add(&GC_FREED, &[], count(freed));
    }

    /// VPPs and their attachments are so.
    pub(crate) fn vpps(&self, all: &[VppReport]) {
        let mut samples = self.samples();
        for vpp in all {
            let socket = vpp.socket.to_string_lossy();
            let socket = socket.as_ref();
            let up = vpp.state != VppState::Away;
            samples.set(&VPP_UP, &[socket], f64::from(u8::from(up)));
            let counts = &vpp.counts;
            samples.set(&VPP_RESTARTS, &[socket], number(u128::from(counts.restarts)));
            samples.set(&VPP_REPLAYS, &[socket], number(u128::from(counts.replays)));
            samples.set(&VPP_PUT_BACK, &[socket], number(u128::from(counts.put_back)));
            for cause in replay::Cause::ALL {
                let word = cause.word();
                let failed = counts.failed.get(word).copied().unwrap_or(0);
                samples.set(&VPP_NOT_PUT_BACK, &[socket, word], number(u128::from(failed)));
            }
            for status in PodStatus::ALL {
                samples.set(&VPP_PODS, &[socket, status.word()], count(vpp.count(status)));
            }
            if let Some(last) = &vpp.last {
                let took = Duration::from_millis(last.took_ms);
                samples.set(&VPP_REPLAY_SECONDS, &[socket], took.as_secs_f64());
            }
        }
    }
}

const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];

const fn family_of(net: ipnet::IpNet) -> &'static str {
    match net {
        ipnet::IpNet::V4(_) => "ipv4",
        ipnet::IpNet::V6(_) => "ipv6",
    }
}

/// What the routes of a place are, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Totals {
    /// How many there should be.
    pub(crate) desired: usize,
    /// How many of them are there.
    pub(crate) present: usize,
    /// How many stay though nobody can say now whether they should be there.
    pub(crate) held: usize,
    /// How many destinations have a route of somebody else's.
    pub(crate) foreign: usize,
    /// How many have a next hop that there is no way to.
    pub(crate) unreachable: usize,
    /// How many could not be made, changed or removed.
    pub(crate) failed: usize,
}

impl Totals {
    /// Of some rows; `whether` tells which.
    pub(crate) fn of(sink: &SinkReport, whether: impl Fn(&Row) -> bool) -> Self {
        let mut totals = Self::default();
        // Where changes could not be made at all, nobody says so of each.
        let done = sink.trouble.is_none();
        for row in sink.routes.iter().filter(|row| whether(row)) {
            let done = done && row.error.is_none();
            let one = |flag: bool| usize::from(flag);
            let is = |action: Action| row.action == action;
            totals.desired += one(!is(Action::Remove) && !is(Action::Hold));
            totals.present += one(match row.action {
                Action::Keep | Action::Hold | Action::Replace => true,
                Action::Add => done,
                Action::Remove => !done,
                Action::Foreign | Action::Unreachable => false,
            });
            totals.held += one(is(Action::Hold));
            totals.foreign += one(is(Action::Foreign));
            totals.unreachable += one(is(Action::Unreachable));
            totals.failed += one(is_change(row.action) && !done);
        }
        totals
    }
}

const fn is_change(action: Action) -> bool {
    matches!(action, Action::Add | Action::Replace | Action::Remove)
}

impl Samples {
    fn at_sink(&mut self, sink: &SinkReport) {
        let name = sink.sink.as_str();
        let up = f64::from(u8::from(sink.trouble.is_none()));
        self.set(&SINK_UP, &[name], up);
        for family in FAMILIES {
            let of = |row: &Row| family_of(row.destination) == family;
            let totals = Totals::of(sink, of);
            for (metric, value) in [
                (&DESIRED, totals.desired),
                (&PRESENT, totals.present),
                (&HELD, totals.held),
                (&FOREIGN, totals.foreign),
                (&UNREACHABLE, totals.unreachable),
                (&FAILED, totals.failed),
            ] {
                self.set(metric, &[name, family], count(value));
            }
            for (action, verb) in
                [(Action::Add, "add"), (Action::Replace, "replace"), (Action::Remove, "remove")]
            {
                for (outcome, good) in [("done", true), ("failed", false)] {
                    let done = |row: &Row| row.error.is_none() && sink.trouble.is_none();
                    let rows = sink
                        .routes
                        .iter()
                        .filter(|row| row.action == action && of(row) && done(row) == good);
                    self.add(&CHANGES, &[name, family, verb, outcome], count(rows.count()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
