//! Attachments to VPP.

use super::Sheet;
use super::pool::{HEAD, rows};
use super::select::Set;
use super::text::{quantity, ratio};
use crate::chart::{Axis, Bar, Bars, Scale};
use crate::figures::Run;

pub(super) fn write(run: Option<&Run>, sheet: &mut Sheet<'_>) {
    let title = "vpp: a pod attached to VPP";
    let Some(run) = run else {
        sheet.missing(title, "vpp");
        return;
    };
    let all = Set::of_run(Some(run));
    let version = run.programs.iter().find(|it| it.name == "VPP").map(|it| it.version.as_str());
    sheet.say(&format!("## {title}"));
    attach(&all, sheet);
    sheet.say(&format!(
        "Measured on VPP {}. The bare requests are what the plugin asks of VPP and of the kernel, by a program that knows the answers beforehand \
         and keeps nothing: what is beyond them is the IPAM plugin's process, the records that make DEL and a restart of VPP safe, and \
         looking at what is there already. A VPP in miniature makes an interface in no time where a real one takes tens of \
         milliseconds, so that the ratio there is the worst case, and says nothing of a real VPP: [vpp](vpp.md#measured) has \
         figures of one.",
        version.unwrap_or("of unknown version"),
    ));
    sheet.table(&HEAD, &rows(&all));
}

fn attach(all: &Set<'_>, sheet: &mut Sheet<'_>) {
    let Some(add) = all.group("attach").what("ADD by veth").first() else { return };
    let Some(bare) = &add.against else { return };
    let part = |what: &str| all.group("part").what(what).first().map_or(0.0, |it| it.value);
    let (pair, interface, ipam) =
        (part("the veth pair"), part("VPP's interface"), part("ADD by itself"));
    let rest = |whole: f64| (whole - pair - interface).max(0.0);
    let own_ipam = ipam.min(rest(add.value));
    let mut bars = vec![
        Bar {
            label: "ADD by veth".to_owned(),
            parts: vec![(0, pair), (1, interface), (2, own_ipam), (3, rest(add.value) - own_ipam)],
            text: format!(
                "{}, ×{}",
                quantity(add.value, &add.unit),
                add.ratio().map(ratio).unwrap_or_default()
            ),
            heading: None,
        },
        Bar {
            label: bare.of.clone(),
            parts: vec![(0, pair), (1, interface), (3, rest(bare.value))],
            text: quantity(bare.value, &add.unit),
            heading: None,
        },
    ];
    if let Some(del) = all.group("attach").what("DEL").first() {
        bars.push(Bar {
            label: "DEL".to_owned(),
            parts: vec![(3, del.value)],
            text: quantity(del.value, &del.unit),
            heading: None,
        });
    }
    let kinds = ["the veth pair", "VPP's interface on it", "the IPAM plugin", "everything else"];
    let chart = Bars {
        title: "ADD of vpp beside the bare requests".to_owned(),
        description: format!(
            "ADD takes {}, the same requests by a bare program {}",
            quantity(add.value, &add.unit),
            quantity(bare.value, &add.unit)
        ),
        axis: Axis::new("ms, median", Scale::Linear),
        kinds: kinds.map(|kind| (kind.to_owned(), false)).to_vec(),
        bars,
    };
    sheet.picture("vpp", &chart.description, chart.draw());
}
