use super::*;
use crate::usage::samples::{allocation, layout, shown, state};
use ipam_core::policy::Policy;
use proptest::prelude::*;

fn panel_of(ranges: &str, held: &[&str]) -> (String, u32, Option<String>) {
    let layout = layout(ranges, Policy::default());
    let mut state = state("pods");
    state.allocations = held.iter().map(|text| allocation(text, 1, 1)).collect();
    let shown = shown(state, layout);
    let usage = NetworkUsage::new(&shown.state, shown.layout.as_ref());
    let (panels, _) = panels(&shown, &usage);
    (panels[0].first.to_string(), panels[0].bits, panels[0].note.clone())
}

#[test]
fn a_panel_is_the_subnet_or_what_is_in_use_of_it() {
    for (ranges, held, first, bits, note) in [
        (r#"{"ranges": [[{"subnet": "10.1.2.0/24"}]]}"#, &[][..], "10.1.2.0", 8, None),
        (r#"{"ranges": [[{"subnet": "10.16.0.0/12"}]]}"#, &[], "10.16.0.0", 20, None),
        (
            r#"{"ranges": [[{"subnet": "10.0.0.0/8", "rangeStart": "10.127.255.250", "rangeEnd": "10.128.0.9"}]]}"#,
            &[],
            "10.127.255.250",
            4,
            None,
        ),
        (
            r#"{"ranges": [[{"subnet": "2001:db8::/64"}]]}"#,
            &["2001:db8::7"],
            "2001:db8::",
            8,
            Some("only 2001:db8::/120 is shown and counted: everything in use lies there"),
        ),
        (
            r#"{"ranges": [[{"subnet": "2001:db8::/64"}]]}"#,
            &["2001:db8::8000:0:0:1"],
            "2001:db8::",
            64,
            None,
        ),
        (
            r#"{"ranges": [[{"subnet": "2001:db8::/64", "rangeStart": "2001:db8::f00:5"}]]}"#,
            &["2001:db8::f00:1234"],
            "2001:db8::f00:0",
            13,
            Some("only 2001:db8::f00:0/115 is shown and counted: everything in use lies there"),
        ),
    ] {
        let expected = (first.to_owned(), bits, note.map(str::to_owned));
        assert_eq!(panel_of(ranges, held), expected, "{ranges}");
    }
}

#[test]
fn a_whole_family_has_a_picture() {
    for subnet in ["0.0.0.0/0", "::/0"] {
        let layout =
            layout(&format!(r#"{{"ranges": [[{{"subnet": "{subnet}"}}]]}}"#), Policy::default());
        let mut state = state("all");
        state.allocations = ["255.255.255.254", "0.0.0.9", "::2", "ffff::1"]
            .map(|text| allocation(text, 1, 1))
            .into();
        let shown = shown(state, layout);
        let usage = NetworkUsage::new(&shown.state, shown.layout.as_ref());
        let (panels, _) = panels(&shown, &usage);
        let panel = &panels[0];
        let cells = panel.cells(panel.bits - 11);
        assert_eq!(cells.len(), 2048);
        assert_eq!(cells.iter().map(|cell| cell.used).sum::<u128>(), 2, "{subnet}");
        assert!(panel.address(2047, panel.bits - 11).is_some());
    }
}

proptest! {
    /// Whatever the size of the cells, they hold the whole range, each address once.
    #[test]
    fn cells_hold_the_whole_range(
        held in proptest::collection::btree_set(0_u32..1024, 0..300),
        bounds in (1_u32..1023, 1_u32..1023),
        cell_bits in 0_u32..6,
    ) {
        let at = |n: u32| Addr::new(ipam_core::addr::Family::V4, u128::from(0x0a01_0000 + n)).unwrap();
        let (start, end) = (at(bounds.0.min(bounds.1)), at(bounds.0.max(bounds.1)));
        let layout = layout(
            &format!(
                r#"{{"exclude": ["10.1.1.0/28"], "ranges": [[{{"subnet": "10.1.0.0/22",
                    "rangeStart": "{start}", "rangeEnd": "{end}"}}]]}}"#
            ),
            Policy::default(),
        );
        let mut state = state("pods");
        state.allocations = held.iter().map(|n| allocation(&at(*n).to_string(), 1, 1)).collect();
        let shown = shown(state, layout);
        let usage = NetworkUsage::new(&shown.state, shown.layout.as_ref());
        let (panels, more) = panels(&shown, &usage);
        prop_assert_eq!((panels.len(), more), (1, 0));
        let panel = &panels[0];
        let cell_bits = cell_bits.min(panel.bits);
        let cells = panel.cells(cell_bits);
        prop_assert_eq!(cells.len(), 1 << (panel.bits - cell_bits));
        let sum = |of: fn(&Cell) -> u128| cells.iter().map(of).sum::<u128>();
        prop_assert_eq!(sum(|cell| cell.all()), Interval::new(start, end).unwrap().count());
        let total = panel.total();
        prop_assert_eq!(sum(|cell| cell.used), total.used);
        prop_assert_eq!(sum(|cell| cell.free), total.free);
        prop_assert_eq!(sum(|cell| cell.excluded), total.excluded);
        prop_assert!(cells.iter().all(|cell| cell.all() <= 1 << cell_bits));
        for addr in [start, end] {
            let cell = panel.cell_of(addr, cell_bits).unwrap();
            let first = panel.address(cell, cell_bits).unwrap();
            prop_assert!(first <= addr && addr.number() - first.number() < 1 << cell_bits);
            prop_assert!(cells[cell].all() > 0);
        }
    }
}
