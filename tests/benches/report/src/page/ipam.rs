//! The IPAM plugins beside the reference.

use super::Sheet;
use super::select::Set;
use super::text::{quantity, ratio, times};
use crate::chart::{Axis, Bar, Bars, Lines, Scale, number};
use crate::figures::{Figure, Run};

pub(super) fn write(run: Option<&Run>, sheet: &mut Sheet<'_>) {
    let Some(run) = run else {
        sheet.missing("ADD and DEL beside the reference", "ipam");
        return;
    };
    let all = Set::of_run(Some(run));
    over_held(&all, sheet);
    special(&all.group("special"), sheet);
    callers(&all.group("callers"), sheet);
    memory(&all.group("memory"), sheet);
    start(&all, sheet);
}

/// The place that charts are of: on tmpfs nothing is about the disk.
fn charted<'a>(set: &Set<'a>) -> &'a str {
    set.places().last().copied().unwrap_or_default()
}

/// Where there is something to compare with, its ratio to ours above the higher of both points.
fn notes(set: &Set<'_>, x: &str) -> Vec<((f64, f64), String)> {
    let ours = set.ours().first().copied().unwrap_or_default();
    let note = |figure: &Figure| {
        let (at, base) = (*figure.at.get(x)?, figure.against.as_ref()?.value);
        let factor = if base > figure.value { base / figure.value } else { figure.value / base };
        factor.is_finite().then(|| ((at, base.max(figure.value)), format!("×{}", short(factor))))
    };
    set.of(ours).iter().filter_map(note).collect()
}

/// A factor with two digits.
fn short(factor: f64) -> String {
    if factor < 9.95 { format!("{factor:.1}") } else { number(factor.round()) }
}

fn over_held(all: &Set<'_>, sheet: &mut Sheet<'_>) {
    let time = all.group("time");
    if time.is_empty() {
        return;
    }
    sheet.say("## ADD and DEL over held addresses");
    let place = charted(&time);
    for what in ["ADD", "DEL"] {
        let set = time.on(place).what(what);
        if set.is_empty() {
            continue;
        }
        let ours = set.ours().first().copied().unwrap_or_default();
        let reference = set.reference().unwrap_or_default();
        let title = format!("{what} over addresses held, on {place}");
        let chart = Lines {
            description: description(&set, &title),
            title: title.clone(),
            x: Axis::new("addresses held already (logarithmic)", Scale::Log10),
            y: Axis::new(&format!("ms for one {what}, median (logarithmic)"), Scale::Log10),
            series: set.series("held"),
            notes: notes(&set, "held"),
            legend: format!("×n: {reference} takes n times as long as {ours}"),
        };
        sheet.picture(&what.to_lowercase(), &chart.description, chart.draw());
    }
    let add = time.on(place).what("ADD");
    let ours = add.ours().first().copied().unwrap_or_default();
    let held = add.numbers("held");
    let (few, many) = (held.first().copied(), held.last().copied());
    let at = |held: Option<f64>| held.and_then(|held| add.of(ours).at("held", held).ratio());
    if let Some(((few, little), (many, much))) = few.zip(at(few)).zip(many.zip(at(many))) {
        sheet.say(&format!(
            "With {} addresses held, an ADD of {ours} takes {} of the reference's time, with {} held {}. The reference opens and reads every \
             reservation at each ADD and DEL, to see whether the container has one already, so that its time grows with what is held. \
             The directory store asks an index of a large directory, and the database store seeks two or three times, whatever is held; what is left is starting a process. Ratios are to the reference with as many held on the same file system: smaller is better. CPU is the processor time of a call.",
            number(few),
            ratio(little),
            number(many),
            ratio(much),
        ));
    }
    let mut rows = Vec::new();
    for place in time.places() {
        for held in time.on(place).numbers("held") {
            let here = time.on(place).at("held", held);
            for name in here.names() {
                let own = here.of(name);
                let value = |group: &str, what: &str| {
                    let own = all.group(group).on(place).at("held", held).of(name).what(what);
                    own.first().map(|it| number(it.value)).unwrap_or_default()
                };
                let add = own.what("ADD");
                let p95 = |set: &Set<'_>| {
                    set.first()
                        .and_then(|it| it.spread)
                        .map(|it| number(it.p95))
                        .unwrap_or_default()
                };
                let count = add.first().and_then(|it| it.spread).map(|it| it.count.to_string());
                rows.push(vec![
                    add.ratio().map(ratio).unwrap_or_default(),
                    own.what("DEL").ratio().map(ratio).unwrap_or_default(),
                    place.to_owned(),
                    number(held),
                    name.to_owned(),
                    value("time", "ADD"),
                    p95(&add),
                    value("processor", "CPU of an ADD"),
                    value("time", "DEL"),
                    p95(&own.what("DEL")),
                    value("processor", "CPU of a DEL"),
                    count.unwrap_or_default(),
                ]);
            }
        }
    }
    sheet.table(
        &[
            "ADD, ratio",
            "DEL, ratio",
            "on",
            "held",
            "plugin",
            "ADD ms",
            "p95",
            "CPU ms",
            "DEL ms",
            "p95",
            "CPU ms",
            "calls",
        ],
        &rows,
    );
}

/// What lines show, for those who do not see them.
fn description(set: &Set<'_>, title: &str) -> String {
    let ends = set.names().into_iter().filter_map(|name| {
        let own = set.of(name);
        let (first, last) = (own.first()?, own.iter().last()?);
        Some(format!(
            "{name} from {} to {}",
            quantity(first.value, &first.unit),
            quantity(last.value, &last.unit)
        ))
    });
    format!("{title}: {}", ends.collect::<Vec<_>>().join(", "))
}

fn special(set: &Set<'_>, sheet: &mut Sheet<'_>) {
    if set.is_empty() {
        return;
    }
    sheet.say(
        "### Where it is hardest\n\nA failing ADD finds no free address in a subnet that is full: the reference tries each of them. Two stacks are two \
         addresses for each call. Smaller ratios are better.",
    );
    let rows = |what: &str| {
        let one = set.what(what);
        let row = |it: &Figure| {
            let spread =
                it.spread.map(|it| (number(it.p95), it.count.to_string())).unwrap_or_default();
            vec![
                it.ratio().map(ratio).unwrap_or_default(),
                format!("{what}, {}", it.place),
                it.of.clone(),
                number(it.value),
                spread.0,
                spread.1,
            ]
        };
        one.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = set.whats().into_iter().flat_map(rows).collect();
    sheet.table(&["ratio", "case", "plugin", "ms", "p95", "calls"], &rows);
}

fn callers(set: &Set<'_>, sheet: &mut Sheet<'_>) {
    if set.is_empty() {
        return;
    }
    let place = charted(set);
    let held = set.on(place).numbers("held").first().copied().unwrap_or_default();
    sheet.say("## Throughput over callers");
    for what in ["ADD", "DEL"] {
        let set = set.on(place).what(what).at("held", held);
        if set.is_empty() {
            continue;
        }
        let ours = set.ours().first().copied().unwrap_or_default();
        let reference = set.reference().unwrap_or_default();
        let title = format!(
            "{what}s a second over callers, {} held at the start, on {place}",
            number(held)
        );
        let chart = Lines {
            description: description(&set, &title),
            title,
            x: Axis::new("callers at once (logarithmic)", Scale::Log2),
            y: Axis::new(&format!("{what}s a second (logarithmic)"), Scale::Log10),
            series: set.series("callers"),
            notes: notes(&set, "callers"),
            legend: format!("×n: {ours} does n times as many as {reference}"),
        };
        sheet.picture(
            &format!("callers-{}", what.to_lowercase()),
            &chart.description,
            chart.draw(),
        );
    }
    sheet.say(
        "A call is a process, so that the processors are busy with starting processes from about as many callers on as there are cores: more callers \
         bring no more calls. All of one node's calls take turns at one lock, but hold it only while they decide and write, which is a small \
         part of a call; the reference holds it while it reads all reservations. Larger ratios are better here.",
    );
    let mut rows = Vec::new();
    for place in set.places() {
        for held in set.on(place).numbers("held") {
            for callers in set.on(place).at("held", held).numbers("callers") {
                let here = set.on(place).at("held", held).at("callers", callers);
                for name in here.names() {
                    let of = |what: &str| here.of(name).what(what);
                    let rate =
                        |set: Set<'_>| set.first().map(|it| number(it.value)).unwrap_or_default();
                    let ratio = |set: Set<'_>| set.ratio().map(ratio).unwrap_or_default();
                    rows.push(vec![
                        ratio(of("ADD")),
                        ratio(of("DEL")),
                        place.to_owned(),
                        number(held),
                        number(callers),
                        name.to_owned(),
                        rate(of("ADD")),
                        rate(of("DEL")),
                    ]);
                }
            }
        }
    }
    sheet.table(
        &["ADD/s, ratio", "DEL/s, ratio", "on", "held", "callers", "plugin", "ADD/s", "DEL/s"],
        &rows,
    );
}

fn memory(set: &Set<'_>, sheet: &mut Sheet<'_>) {
    if set.is_empty() {
        return;
    }
    let set = set.on(charted(set));
    let title = "Memory of a call at most, over addresses held".to_owned();
    let reference = set.reference().unwrap_or_default();
    let ours = set.ours().first().copied().unwrap_or_default();
    let chart = Lines {
        description: description(&set, &title),
        title,
        x: Axis::new("addresses held already (logarithmic)", Scale::Log10),
        y: Axis::new("MB resident at most (VmHWM)", Scale::Linear),
        series: set.series("held"),
        notes: notes(&set, "held"),
        legend: format!("×n: {reference} has n times as much as {ours}"),
    };
    sheet.say("## Memory");
    sheet.picture("memory", &chart.description, chart.draw());
    let last = set.of(ours).iter().last().and_then(|it| Some((it, it.ratio()?)));
    if let Some((figure, ratio)) = last {
        sheet.say(&format!(
            "The most that one ADD or DEL has resident. With {} held {ours} needs {}, and the reference {} as much: a large directory is known by its index and the database by what is asked of it, so that neither is read whole, but by the one call that lists a large directory after another program has changed it.",
            number(figure.at.get("held").copied().unwrap_or_default()),
            quantity(figure.value, &figure.unit),
            times(1.0 / ratio),
        ));
    }
    let mut rows = Vec::new();
    for held in set.numbers("held") {
        for it in set.at("held", held).iter() {
            rows.push(vec![
                it.ratio().map(ratio).unwrap_or_default(),
                number(held),
                it.of.clone(),
                number(it.value),
            ]);
        }
    }
    sheet.table(&["ratio", "held", "plugin", "MB at most"], &rows);
}

fn start(all: &Set<'_>, sheet: &mut Sheet<'_>) {
    let (size, start) = (all.group("size"), all.group("start"));
    if size.is_empty() && start.is_empty() {
        return;
    }
    sheet.say("## Size and start");
    for (name, title, axis, set) in [
        ("size", "Size of the binaries", "MB", &size),
        ("start", "Start: a process that answers VERSION", "ms, median", &start),
    ] {
        if set.is_empty() {
            continue;
        }
        let reference = set.reference();
        let bars = set.iter().map(|it| Bar {
            label: it.of.clone(),
            parts: vec![(usize::from(Some(it.of.as_str()) == reference), it.value)],
            text: match it.ratio() {
                Some(value) => format!("{}, ×{}", quantity(it.value, &it.unit), ratio(value)),
                None => quantity(it.value, &it.unit),
            },
            heading: None,
        });
        let chart = Bars {
            title: title.to_owned(),
            description: description(set, title),
            axis: Axis::new(axis, Scale::Linear),
            kinds: vec![
                ("ours, × the reference's".to_owned(), false),
                ("the reference".to_owned(), true),
            ],
            bars: bars.collect(),
        };
        sheet.picture(name, &chart.description, chart.draw());
    }
    sheet.say(
        "Smaller ratios are better. Ours are static and need no library of the node. A start is what a call cannot do without; most of ours is the kernel's work for a new \
         process and the C library asking the processor what it can, which is slow in virtual machines. The reference starts a Go runtime \
         with its threads. etcd-pool brings a client of etcd with TLS, plat-agent that and its HTTP server, plat the command line of \
         everything.",
    );
    let mut names = size.names();
    names.extend(start.names().into_iter().filter(|name| size.of(name).is_empty()));
    let rows: Vec<Vec<String>> = names
        .into_iter()
        .map(|name| {
            let (size, start) = (size.of(name), start.of(name));
            let value = |set: &Set<'_>| set.first().map(|it| number(it.value)).unwrap_or_default();
            vec![
                size.ratio().map(ratio).unwrap_or_default(),
                start.ratio().map(ratio).unwrap_or_default(),
                name.to_owned(),
                value(&size),
                value(&start),
            ]
        })
        .collect();
    sheet.table(&["size, ratio", "start, ratio", "program", "MB", "VERSION ms"], &rows);
}
