//! What is in short at the top, and what was wanted at the end.

use super::select::Set;
use super::text::{circumstances, goal, quantity, ratio, table, verdict, wanted};
use crate::figures::{Figure, Run};

/// The most telling ratios.
pub(super) fn ratios(runs: &[Run]) -> String {
    let of = |bench: &str| Set::of_run(runs.iter().find(|run| run.bench == bench));
    let mut rows = Vec::new();
    let mut add = |figure: Option<&Figure>| {
        let Some((figure, against)) = figure.and_then(|it| Some((it, it.against.as_ref()?))) else {
            return;
        };
        let Some(value) = figure.ratio() else { return };
        rows.push(vec![
            format!("**{}**", ratio(value)),
            wanted(figure).to_owned(),
            circumstances(figure),
            quantity(figure.value, &figure.unit),
            against.of.clone(),
            quantity(against.value, &figure.unit),
        ]);
    };
    let ipam = of("ipam");
    let place = ipam.group("time").places().last().copied().unwrap_or_default();
    let time = ipam.group("time").on(place);
    let name = time.ours().first().copied().unwrap_or_default();
    let held = time.numbers("held");
    let mut ends: Vec<f64> = held.first().into_iter().chain(held.last()).copied().collect();
    ends.dedup();
    for what in ["ADD", "DEL"] {
        for held in &ends {
            add(time.what(what).of(name).at("held", *held).first());
        }
    }
    let callers = ipam.group("callers").on(place).what("ADD").of(name);
    let held = callers.numbers("held").first().copied().unwrap_or_default();
    let callers = callers.at("held", held);
    let some = callers.numbers("callers").into_iter().rfind(|count| *count <= 16.0);
    add(callers.at("callers", some.unwrap_or_default()).first());
    let memory = ipam.group("memory").on(place).of(name);
    add(memory.iter().last());
    add(ipam.group("start").of("host-local").first());
    add(ipam.group("size").of("host-local").first());
    let pool = of("pool");
    add(pool.group("local").what("ADD").first());
    add(pool.group("sync").what("ADD").first());
    add(of("vpp").group("attach").what("ADD by veth").first());
    for place in of("agent").group("routes").places() {
        add(of("agent").group("routes").on(place).what("routes added").first());
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "## In short\n\n{}",
        table(&["ratio", "better is", "what", "figure", "beside", "its figure"], &rows)
    )
}

/// What was wanted, and whether it is so.
pub(super) fn goals(runs: &[Run]) -> String {
    let mut rows = Vec::new();
    for figure in runs.iter().flat_map(|run| &run.figures) {
        let Some((bound, is_met)) = figure.goal.zip(figure.is_met()) else { continue };
        let shown = match figure.ratio() {
            Some(value) if bound.is_of_ratio => format!("ratio {}", ratio(value)),
            _ => quantity(figure.value, &figure.unit),
        };
        let verdict = verdict(is_met).to_owned();
        rows.push(vec![circumstances(figure), shown, goal(&bound), verdict]);
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "## Goals\n\nWhat is wanted of the suite on a quiet machine, and what came out in this run. A goal that is meant for a real VPP is not \
         asked of the one in miniature.\n\n{}",
        table(&["what", "figure", "goal", ""], &rows)
    )
}
