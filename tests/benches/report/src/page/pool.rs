//! The modes of etcd-pool.

use super::Sheet;
use super::select::Set;
use super::text::{circumstances, goal, quantity, ratio, spread, verdict};
use crate::chart::{Axis, Bar, Bars, Lines, Scale};
use crate::figures::{Figure, Run};

pub(super) fn write(run: Option<&Run>, sheet: &mut Sheet<'_>) {
    let title = "etcd-pool: a pool for the whole cluster";
    let Some(run) = run else {
        sheet.missing(title, "pool");
        return;
    };
    let all = Set::of_run(Some(run));
    sheet.say(&format!("## {title}"));
    modes(&all, sheet);
    callers(&all.group("callers"), sheet);
    sheet.say(
        "One etcd of one member on the same machine, its data on tmpfs, so that no disk and no network is in these figures: both come on top of a \
         `sync` call, and on top of a bare transaction as well. With many callers the calls and etcd want the same processors, and all of them are busy. A call that is killed, or that waits for etcd, holds up no other one.",
    );
    sheet.table(&HEAD, &rows(&all));
}

/// What [`rows`] have.
pub(super) const HEAD: [&str; 6] = ["ratio", "what", "figure", "goal", "", "how"];

/// All figures of a run as rows, ratios first, goals beside whether they are met.
pub(super) fn rows(set: &Set<'_>) -> Vec<Vec<String>> {
    let row = |it: &Figure| {
        let mut how = spread(it);
        if let Some(against) = &it.against {
            how.push(format!("{}: {}", against.of, quantity(against.value, &it.unit)));
        }
        how.extend(Some(it.how.clone()).filter(|how| !how.is_empty()));
        vec![
            it.ratio().map(ratio).unwrap_or_default(),
            circumstances(it),
            quantity(it.value, &it.unit),
            it.goal.as_ref().map(goal).unwrap_or_default(),
            it.is_met().map(verdict).unwrap_or_default().to_owned(),
            how.join("; "),
        ]
    };
    set.iter().map(row).collect()
}

fn modes(all: &Set<'_>, sheet: &mut Sheet<'_>) {
    let mut bars: Vec<Bar> = Vec::new();
    for what in ["ADD", "DEL"] {
        let mut heading = Some(what.to_owned());
        for group in ["local", "sync"] {
            let Some(figure) = all.group(group).what(what).first() else { continue };
            let Some(against) = &figure.against else { continue };
            bars.push(Bar {
                label: against.of.clone(),
                parts: vec![(1, against.value)],
                text: quantity(against.value, &figure.unit),
                heading: heading.take(),
            });
            let factor = figure.ratio().map(|it| format!(", ×{}", ratio(it))).unwrap_or_default();
            bars.push(Bar {
                label: figure.of.clone(),
                parts: vec![(0, figure.value)],
                text: format!("{}{factor}", quantity(figure.value, &figure.unit)),
                heading: None,
            });
        }
    }
    let chart = Bars {
        title: "etcd-pool by mode, beside what it can be compared with".to_owned(),
        description: "Times of ADD and DEL in modes local and sync, beside node-local and a bare transaction of etcd".to_owned(),
        axis: Axis::new("ms, median", Scale::Linear),
        kinds: vec![
            ("etcd-pool, × what is above it".to_owned(), false),
            ("what it is compared with".to_owned(), true),
        ],
        bars,
    };
    sheet.picture("etcd", &chart.description, chart.draw());
    let of = |group: &str| all.group(group).what("ADD").ratio();
    if let Some((local, sync)) = of("local").zip(of("sync")) {
        sheet.say(&format!(
            "In mode `local` an ADD takes {} of what node-local takes for one out of the same database: the node has its block, answers by \
             itself, and tells etcd afterwards; starting the process that does so is the difference. In mode `sync` it waits until etcd has the \
             record: {} of one bare transaction by a process of its own with the same client, whatever others hold.",
            ratio(local),
            ratio(sync),
        ));
    }
}

fn callers(set: &Set<'_>, sheet: &mut Sheet<'_>) {
    let add = set.what("ADD");
    if add.is_empty() {
        return;
    }
    let title = "ADDs a second of one node over callers";
    let chart = Lines {
        title: title.to_owned(),
        description: format!("{title}, in modes local and sync"),
        x: Axis::new("callers at once (logarithmic)", Scale::Log2),
        y: Axis::new("ADDs a second", Scale::Linear),
        series: add.series("callers"),
        notes: Vec::new(),
        legend: String::new(),
    };
    sheet.picture("etcd-callers", &chart.description, chart.draw());
}
