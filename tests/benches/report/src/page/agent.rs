//! plat-agent's routes.

use super::Sheet;
use super::pool::{HEAD, rows};
use super::select::Set;
use super::text::{quantity, ratio};
use crate::chart::{Axis, Bar, Bars, Scale, number};
use crate::figures::Run;

pub(super) fn write(run: Option<&Run>, sheet: &mut Sheet<'_>) {
    let title = "plat-agent: routes to other nodes";
    let Some(run) = run else {
        sheet.missing(title, "agent");
        return;
    };
    let all = Set::of_run(Some(run));
    sheet.say(&format!("## {title}"));
    routes(&all.group("routes"), sheet);
    sheet.say(
        "All routes of a large cluster at once: by the agent, run with `--once` or `--cleanup`, and by a bare program that lists what is there and sends \
         the same changes. The agent reads a file of routes for this, decides which of those that are there are its own, and says what it did. \
         In a running cluster it follows etcd, and sends one change where one node came or went: of such a change, 20 ms are a \
         pause in which more of them are waited for.",
    );
    sheet.table(&HEAD, &rows(&all));
}

fn routes(set: &Set<'_>, sheet: &mut Sheet<'_>) {
    let mut bars = Vec::new();
    for place in set.places() {
        let mut heading = Some(format!("in {place}"));
        for it in set.on(place).iter() {
            let Some(against) = &it.against else { continue };
            bars.push(Bar {
                label: it.what.clone(),
                parts: vec![(0, it.value)],
                text: format!(
                    "{}, ×{}",
                    quantity(it.value, &it.unit),
                    it.ratio().map(ratio).unwrap_or_default()
                ),
                heading: heading.take(),
            });
            bars.push(Bar {
                label: String::new(),
                parts: vec![(1, against.value)],
                text: quantity(against.value, &it.unit),
                heading: None,
            });
        }
    }
    let count = set.numbers("routes").last().copied().unwrap_or_default();
    let title = format!("{} routes at once, beside a bare program", number(count));
    let chart = Bars {
        description: title.clone(),
        title,
        axis: Axis::new("ms for all of them, median", Scale::Linear),
        kinds: vec![
            ("plat-agent, × the bare program".to_owned(), false),
            ("a bare program with the same requests".to_owned(), true),
        ],
        bars,
    };
    sheet.picture("agent", &chart.description, chart.draw());
}
