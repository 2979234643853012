use std::time::Duration;

use ipam_core::policy::Policy;
use ipam_stores::survey::{Cooling, NetworkState};

use super::*;
use crate::picture::panel::panels;
use crate::shown::Shown;
use crate::usage::NetworkUsage;
use crate::usage::samples::{addr, allocation, layout, shown, state};

fn drawn(shown: &Shown, width: usize, colours: bool) -> String {
    let usage = NetworkUsage::new(&shown.state, shown.layout.as_ref());
    let mut out = Vec::new();
    for panel in panels(shown, &usage).0 {
        print(&panel, width, colours, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn holding(addresses: impl IntoIterator<Item = String>) -> NetworkState {
    let mut state = state("pods");
    state.allocations =
        addresses.into_iter().enumerate().map(|(n, text)| allocation(&text, n as u64, 1)).collect();
    state
}

#[test]
fn a_small_range_has_a_cell_for_each_address() {
    let mut state = holding((10..40).map(|n| format!("10.1.2.{n}")));
    state.allocations.remove(7);
    state.cooling = vec![Cooling { addr: addr("10.1.2.17"), remaining: Duration::from_secs(1) }];
    state.marks.insert(0, addr("10.1.2.39"));
    let shown = shown(
        state,
        layout(
            r#"{"exclude": ["10.1.2.2-10.1.2.9"], "ranges": [[{"subnet": "10.1.2.0/26"}]]}"#,
            Policy::default(),
        ),
    );
    let text = "\
10.1.2.0/26
10.1.2.0    ◆××××××××███████~██████████████
10.1.2.32  ████████○······················
█ 29 used  · 23 free  ~ 1 cooling  × 8 excluded
◆ gateway 10.1.2.1  ○ next 10.1.2.40
";
    assert_eq!(drawn(&shown, 80, false), text);
    let coloured = drawn(&shown, 80, true);
    assert!(coloured.contains("\x1b[35m◆\x1b[0m\x1b[90m××××××××\x1b[0m\x1b[34m███████\x1b[0m"));
}

#[test]
fn a_large_range_has_cells_of_many_addresses() {
    // All of the first cell, two thirds of the second, a bit of the third.
    let addresses = (2..512 + 340 + 9).map(|n| format!("10.16.{}.{}", n / 256, n % 256));
    let shown = shown(
        holding(addresses),
        layout(
            r#"{"exclude": ["10.17.0.0/16"], "ranges": [[{"subnet": "10.16.0.0/12"}]]}"#,
            Policy::default(),
        ),
    );
    let text = drawn(&shown, 80, false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 35);
    assert_eq!(lines[1], format!("10.16.0.0    █▓{}", "·".repeat(62)));
    assert_eq!(lines[3], format!("10.17.0.0    {}", "×".repeat(64)));
    assert_eq!(lines[32], format!("10.31.128.0  {}", "·".repeat(64)));
    assert!(lines[33].starts_with("a cell is 512 addresses: "));
    assert_eq!(
        lines[34],
        "859 used, 982,178 free, 0 cooling, 65,536 excluded, gateway 10.16.0.1  ○ next 10.16.3.93"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 100));
    let narrow = drawn(&shown, 40, false);
    assert_eq!(narrow.lines().nth(1), Some(format!("10.16.0.0    ▒{}", "·".repeat(15)).as_str()));
}

#[test]
fn of_a_huge_range_the_part_in_use_is_shown() {
    let shown = shown(
        holding(["2001:db8::3".to_owned()]),
        layout(r#"{"ranges": [[{"subnet": "2001:db8::/64"}]]}"#, Policy::default()),
    );
    let text = drawn(&shown, 80, false);
    assert!(
        text.starts_with(
            "\
2001:db8::/64
only 2001:db8::/120 is shown and counted: everything in use lies there
2001:db8::     ◆○█····························
2001:db8::20  ································
"
        ),
        "{text}"
    );
}

#[test]
fn without_ranges_what_is_held_is_shown() {
    let shown = Shown { state: holding(["10.1.2.3".to_owned()]), layout: None, file: None };
    let text = drawn(&shown, 80, false);
    assert!(
        text.contains("10.1.2.0    ···█····") && text.ends_with("█ 1 held; a cell is an address\n"),
        "{text}"
    );
    assert_eq!(drawn(&Shown { state: holding([]), layout: None, file: None }, 80, false), "");
}
