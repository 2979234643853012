/*!
Figures, and the one shape that they have as JSON. Each benchmark writes one [`Run`]:

```json
{
  "schema": 1,
  "bench": "ipam",
  "command": "bench-ipam --runs 50",
  "begun": "2030-01-31 12:00 UTC",
  "seconds": 301.5,
  "machine": {
    "processor": "...", "cores": 2, "memoryGb": 24.6, "kernel": "6.18.0",
    "fileSystems": {"disk": "ext4", "tmpfs": "tmpfs"},
    "loadBegin": "0.10 0.05 0.01", "loadEnd": "1.90 1.20 0.40", "steal": 0.002
  },
  "programs": [{"name": "host-local", "version": "0.1.0, commit 1f2e3d4c5b6a", "bytes": 3300000, "isReference": false}],
  "figures": [{
    "group": "time", "what": "ADD", "of": "host-local, dir", "place": "tmpfs", "at": {"held": 4000},
    "value": 1.41, "unit": "ms",
    "spread": {"count": 50, "min": 1.30, "p95": 1.75},
    "against": {"of": "Debian's host-local", "value": 29.8},
    "goal": {"bound": 1.2, "isAtLeast": false, "isOfRatio": true},
    "how": ""
  }]
}
```

Times are medians. `spread`, `against`, `goal`, `place`, `at`, `of` and `how` may be absent. A ratio is not written: it
is `value` through `against.value`, measured in turns in the same run.
*/

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Summary, ms};

/// The version of the shape.
pub const SCHEMA: u32 = 1;

/// What one benchmark has measured in one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The benchmark: `ipam`, `pool`, `agent`, `vpp`.
    pub bench: String,
    /// The benchmark's program and its options.
    pub command: String,
    /// When it began: date and time, UTC.
    pub begun: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it ran on.
    pub machine: Machine,
    /// What was measured.
    pub programs: Vec<Program>,
    /// What came out, in the order of measuring.
    pub figures: Vec<Figure>,
}

/// A machine, and what else it did meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// How many of its cores there are.
    pub cores: usize,
    /// Memory in GB, of 10^9 bytes.
    pub memory_gb: f64,
    /// The kernel's release.
    pub kernel: String,
    /// The type of the file system by what it is called in the figures: `disk` is `ext4`.
    pub file_systems: BTreeMap<String, String>,
    /// Load averages over 1, 5 and 15 minutes when it began.
    pub load_begin: String,
    /// The same when it was over.
    pub load_end: String,
    /// The share of the processors' time, 0 to 1, that the hypervisor gave to others during the run.
    pub steal: Option<f64>,
}

/// A program that was measured, or measured with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Program {
    /// As the figures call it.
    pub name: String,
    /// What it says of itself, and of ours the commit.
    pub version: String,
    /// Its size, where that is of interest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether it is what others are compared with.
    pub is_reference: bool,
}

/// One figure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Figure {
    /// What is told together: one chart, one table.
    pub group: String,
    /// What is measured: `ADD`.
    pub what: String,
    /// Of which program, in which mode.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// Where: `tmpfs`, `the kernel`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// Under which circumstances, as numbers: `held`, `callers`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at: BTreeMap<String, f64>,
    /// How much.
    pub value: f64,
    /// Of what: `ms`, `/s`, `MB`, nothing for a number.
    pub unit: String,
    /// How far measurements were apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// The same of something else, measured in turns with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    /// What it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// How it came about, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub how: String,
}

/// How far measurements are apart, in the figure's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spread {
    /// How many there were.
    pub count: usize,
    /// The least.
    pub min: f64,
    /// What 95 in 100 do not exceed.
    pub p95: f64,
}

/// What a figure is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Against {
    /// Whose it is.
    pub of: String,
    /// In the figure's unit.
    pub value: f64,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Goal {
    /// The bound.
    pub bound: f64,
    /// Whether more is better.
    pub is_at_least: bool,
    /// Whether it is about the ratio, and not about the value.
    pub is_of_ratio: bool,
}

impl Goal {
    /// A value that is not to be exceeded.
    #[must_use]
    pub fn at_most(bound: f64) -> Self {
        Self { bound, is_at_least: false, is_of_ratio: false }
    }

    /// A value that is to be reached.
    #[must_use]
    pub fn at_least(bound: f64) -> Self {
        Self { bound, is_at_least: true, is_of_ratio: false }
    }

    /// A ratio that is not to be exceeded.
    #[must_use]
    pub fn ratio_at_most(bound: f64) -> Self {
        Self { bound, is_at_least: false, is_of_ratio: true }
    }
}

impl Figure {
    /// A figure without anything about it.
    #[must_use]
    pub fn new(group: &str, what: &str, value: f64, unit: &str) -> Self {
        Self {
            group: group.to_owned(),
            what: what.to_owned(),
            value,
            unit: unit.to_owned(),
            ..Self::default()
        }
    }

    /// A median in milliseconds, and how far measurements were apart.
    #[must_use]
    pub fn time(group: &str, what: &str, summary: &Summary) -> Self {
        let Summary { count, median, p95, min } = *summary;
        let spread = Spread { count, min: ms(min), p95: ms(p95) };
        Self { spread: Some(spread), ..Self::new(group, what, ms(median), "ms") }
    }

    /// Whose it is.
    #[must_use]
    pub fn of(mut self, of: &str) -> Self {
        of.clone_into(&mut self.of);
        self
    }

    /// Where it was measured.
    #[must_use]
    pub fn on(mut self, place: &str) -> Self {
        place.clone_into(&mut self.place);
        self
    }

    /// Under which circumstance.
    #[must_use]
    pub fn at(mut self, what: &str, number: impl Into<f64>) -> Self {
        self.at.insert(what.to_owned(), number.into());
        self
    }

    /// What it is compared with.
    #[must_use]
    pub fn against(mut self, of: &str, value: f64) -> Self {
        self.against = Some(Against { of: of.to_owned(), value });
        self
    }

    /// What it should be, if anything.
    #[must_use]
    pub fn goal(mut self, goal: impl Into<Option<Goal>>) -> Self {
        self.goal = goal.into();
        self
    }

    /// How it came about.
    #[must_use]
    pub fn how(mut self, how: impl Into<String>) -> Self {
        self.how = how.into();
        self
    }

    /// The value through what it is compared with, which is more than nothing.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let base = self.against.as_ref()?.value;
        (base > 0.0).then_some(self.value / base)
    }

    /// Whether it is as it should be, where that is said.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        let goal = self.goal?;
        let figure = if goal.is_of_ratio { self.ratio()? } else { self.value };
        Some(if goal.is_at_least { figure >= goal.bound } else { figure <= goal.bound })
    }
}

/// Why a text holds no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not JSON, or not of this shape.
    #[error("these are no figures of a benchmark: {0}")]
    Shape(#[from] serde_json::Error),
    /// It was written by another version.
    #[error("the figures have schema {0}, not {SCHEMA}: measure again")]
    Schema(u32),
}

impl Run {
    /// Of JSON. All numbers are finite then.
    ///
    /// # Errors
    /// [`Error`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let run: Self = serde_json::from_str(text)?;
        if run.schema == SCHEMA { Ok(run) } else { Err(Error::Schema(run.schema)) }
    }

    /// As JSON. A number that is none, such as a share of nothing, becomes one that cannot be read again.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn write(&self) -> Result<String, Error> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let figure = Figure::new("time", "ADD", 1.5, "ms")
            .of("host-local, dir")
            .on("tmpfs")
            .at("held", 250)
            .against("the reference", 3.0)
            .goal(Goal::ratio_at_most(1.2))
            .how("a \"text\"\n");
        let run = Run {
            schema: SCHEMA,
            bench: "ipam".to_owned(),
            seconds: 1.25,
            figures: vec![figure, Figure::new("size", "binary", 3.0, "MB")],
            ..Run::default()
        };
        let text = run.write().expect("JSON");
        assert_eq!(Run::parse(&text).expect("figures"), run);
        let old = text.replace("\"schema\": 1", "\"schema\": 7");
        assert!(matches!(Run::parse(&old), Err(Error::Schema(7))));
        for broken in
            ["", "{}", "[]", &text.replace("1.25", "1e999"), &text.replace("\"bench\"", "\"x\"")]
        {
            assert!(matches!(Run::parse(broken), Err(Error::Shape(_))), "{broken}");
        }
    }

    #[test]
    fn goals_are_met_or_missed() {
        let figure = Figure::new("g", "w", 3.0, "ms").against("it", 2.0);
        let none = Figure::new("g", "w", 3.0, "ms").against("it", 0.0);
        for (figure, goal, met) in [
            (&figure, Goal::at_most(3.0), Some(true)),
            (&figure, Goal::at_most(2.9), Some(false)),
            (&figure, Goal::at_least(3.1), Some(false)),
            (&figure, Goal::ratio_at_most(1.5), Some(true)),
            (&figure, Goal::ratio_at_most(1.4), Some(false)),
            (&none, Goal::ratio_at_most(1.4), None),
        ] {
            assert_eq!(figure.clone().goal(goal).is_met(), met, "{goal:?}");
        }
        assert_eq!((figure.ratio(), none.ratio(), figure.is_met()), (Some(1.5), None, None));
    }
}
