//! What a node makes of a template.

use ipam_core::addr::Interval;
use ipam_core::config::Config;
use ipam_core::node::NodeIdentity;
use ipam_core::range::{Range, RangeSet};
use ipam_core::template::{LITERAL_KEYS, TEMPLATE_KEYS, has_ranges, merge, render};
use serde_json::{Value, json};

use crate::json::{elements, get, text};
use crate::ranges;

/// The keys whose values are addresses.
const ADDRESS_KEYS: &[&str] =
    &["subnet", "rangeStart", "rangeEnd", "gateway", "dst", "gw", "exclude"];

/// Reads the input as `{"index": 4, "node": "vm-004", "ipam": {}, "template": {}}`; the last one may be
/// missing, as where a section has ranges of its own.
///
/// What the section says stays; the same input gives the same; no address is left with a placeholder; what
/// comes out is refused or has the ranges of `ranges::check`; a range without an end of its own does not
/// reach into the next node's, and none that depends on the index comes round.
pub fn template(input: &[u8]) {
    let Ok(case) = serde_json::from_slice::<Value>(input) else { return };
    let Some(index) = case.get("index").and_then(Value::as_u64) else { return };
    let Ok(index) = u32::try_from(index) else { return };
    let name = case.get("node").and_then(Value::as_str).unwrap_or("vm");
    let Some(ipam) = case.get("ipam") else { return };
    // No host has such a name, and it would look like a placeholder that was left.
    if name.contains(['{', '}']) {
        return;
    }
    let section = match case.get("template") {
        Some(template) => {
            let merged = merge(ipam, template);
            assert_eq!(merged, merge(ipam, template), "the same is merged in two ways");
            let Ok(merged) = merged else { return };
            check_merged(ipam, template, &merged);
            merged
        }
        None => ipam.clone(),
    };
    let of = |more: u32| sets_of(&section, index.checked_add(more)?, name);
    if let (Some(own), Some(next)) = (of(0), of(1)) {
        check_neighbours(&section, &own, &next);
        if let Some(far) = of(256) {
            check_far(&own, &next, &far);
        }
    }
}

/// Renders a section and checks what comes out; the sets, if it is a valid configuration.
fn sets_of(section: &Value, index: u32, name: &str) -> Option<Vec<RangeSet>> {
    let node = NodeIdentity { index, name: name.to_owned(), source: "the input".to_owned() };
    let first = render(section, &node);
    assert_eq!(first, render(section, &node), "the same is rendered in two ways");
    let (rendered, _) = first.ok()?;
    check_filled(&rendered, None);
    for key in LITERAL_KEYS {
        assert_eq!(get(&rendered, key), get(section, key), "{key} was changed");
    }
    let net = json!({"cniVersion": "1.0.0", "name": "n", "ipam": rendered});
    let config = Config::parse(&net, "", &[]).ok()?;
    assert!(has_ranges(section), "ranges out of nothing");
    ranges::check(&config.sets, &net);
    Some(config.sets)
}

fn check_merged(ipam: &Value, template: &Value, merged: &Value) {
    for (key, value) in ipam.as_object().into_iter().flatten() {
        if !value.is_null() {
            assert_eq!(merged.get(key), Some(value), "{key} was the section's");
        }
    }
    let supplied = get(template, "ipam").unwrap_or(template);
    for key in TEMPLATE_KEYS {
        let expected = get(ipam, key).or_else(|| get(supplied, key));
        let expected = expected.or_else(|| get(template, key).filter(|_| *key == "dns"));
        assert_eq!(get(merged, key), expected, "{key}");
    }
    assert_eq!(merge(merged, template).as_ref(), Ok(merged), "merged twice");
}

/// No text in an address field has an opening brace. (A closing one alone is no placeholder.)
fn check_filled(value: &Value, key: Option<&str>) {
    let one_of =
        |keys: &[&str], key: &str| keys.iter().any(|known| known.eq_ignore_ascii_case(key));
    match value {
        Value::String(text) => {
            let address = key.is_some_and(|key| one_of(ADDRESS_KEYS, key));
            assert!(!address || !text.contains('{'), "{key:?} is {text:?}");
        }
        Value::Array(list) => list.iter().for_each(|value| check_filled(value, key)),
        Value::Object(object) => {
            for (key, value) in object {
                // Where carve has no meaning nobody computes it.
                if !one_of(LITERAL_KEYS, key) && !key.eq_ignore_ascii_case("carve") {
                    check_filled(value, Some(key));
                }
            }
        }
        _ => {}
    }
}

/// A range that is another one on the next node is another one, too, where an octet comes round.
fn check_far(own: &[RangeSet], next: &[RangeSet], far: &[RangeSet]) {
    let intervals = |sets: &[RangeSet]| -> Vec<Interval> {
        sets.iter().flat_map(RangeSet::ranges).map(Range::interval).collect()
    };
    for ((own, next), far) in intervals(own).into_iter().zip(intervals(next)).zip(intervals(far)) {
        assert!(own == next || own != far, "{own} is the range of a node 256 further on, too");
    }
}

/// A range with a start and no end of its own keeps clear of the next node's.
fn check_neighbours(section: &Value, own: &[RangeSet], next: &[RangeSet]) {
    let old_style = get(section, "subnet").map(|_| vec![section]);
    let written: Vec<Vec<&Value>> = old_style
        .into_iter()
        .chain(elements(get(section, "ranges")).map(|set| elements(Some(set)).collect()))
        .collect();
    let ranges_of = |sets: &'_ [RangeSet]| -> Vec<Vec<Range>> {
        sets.iter().map(|set| set.ranges().to_vec()).collect()
    };
    for ((written, own), next) in written.iter().zip(ranges_of(own)).zip(ranges_of(next)) {
        for ((written, own), next) in written.iter().zip(own).zip(next) {
            let (own, next) = (own.interval(), next.interval());
            let open = text(written, "rangeStart").is_some() && text(written, "rangeEnd").is_none();
            assert!(
                !open || own.first() == next.first() || !own.overlaps(next),
                "{own} reaches into the next node's {next}"
            );
        }
    }
}
