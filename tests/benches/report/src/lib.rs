/*!
What the benchmarks share.

```text
 bench-ipam ─┐                                          ┌─► docs/benchmarks.md
 bench-pool ─┤                    figures as JSON       │
 bench-agent ┼─► Report ─► stdout, ──────────────────► bench-page
 bench-vpp ──┘                                          │
                                                        └─► docs/images/bench-*.svg
```

[`figures`] is the shape of the JSON, [`Report`] collects figures while a benchmark runs, [`options`] are the options that all
benchmarks have, and [`machine`] looks at what they run on. [`page`] makes the page of the figures, [`chart`] its charts:
both are functions from values to text.
*/

mod callers;
pub mod chart;
pub mod figures;
pub mod machine;
pub mod options;
pub mod page;
mod report;
mod times;

pub use callers::{Rate, all_at_once};
pub use figures::{Figure, Goal, Program, Run};
pub use report::Report;
pub use times::{Summary, ms, summary};

/// A benchmark's outcome: whatever goes wrong ends it, with a sentence that says what.
pub type Outcome<T> = Result<T, String>;
