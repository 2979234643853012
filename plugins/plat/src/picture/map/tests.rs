use std::collections::BTreeSet;

use ipam_core::policy::Policy;
use proptest::prelude::*;

use super::*;
use crate::usage::samples::{allocation, layout, shown, state};

fn origin(_: &Shown) -> String {
    "(node-local)".to_owned()
}

/// The cells that a path covers; each once.
fn covered(path: &str) -> BTreeSet<(u32, u32)> {
    let mut cells = BTreeSet::new();
    for rect in path.split('M').skip(1) {
        let numbers: Vec<u32> =
            rect.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        let [x, y, width, height, _] = numbers[..] else { panic!("{rect}") };
        for (dx, dy) in (0..width).flat_map(|dx| (0..height).map(move |dy| (dx, dy))) {
            assert!(cells.insert((x + dx, y + dy)), "{path}");
        }
    }
    cells
}

proptest! {
    /// A shape covers the places of its cells, in either order.
    #[test]
    fn a_shape_is_its_cells(
        bits in 0_u32..=12, ends in (any::<u32>(), any::<u32>()), hilbert in any::<bool>(),
    ) {
        let grid = Grid { order: if hilbert { Order::Hilbert } else { Order::Rows }, bits };
        let (a, b) = (ends.0 % (1 << bits), ends.1 % (1 << bits));
        let (first, last) = (a.min(b), a.max(b));
        let mut path = String::new();
        grid.shape(first, last, &mut path);
        let places: BTreeSet<(u32, u32)> = (first..=last).map(|cell| grid.place(cell)).collect();
        prop_assert_eq!(places.len() as u32, last - first + 1);
        prop_assert!(places.iter().all(|(x, y)| *x < 1 << grid.columns() && *y < 1 << grid.rows()));
        prop_assert_eq!(covered(&path), places);
    }
}

#[test]
fn a_small_map_has_a_tooltip_for_each_run() {
    let mut pods = state("pods");
    pods.allocations = vec![allocation("10.1.2.4", 1, 1000)];
    pods.allocations[0].owner.name = Some("<evil>\x1b".to_owned());
    let shown =
        shown(pods, layout(r#"{"ranges": [[{"subnet": "10.1.2.0/29"}]]}"#, Policy::default()));
    let svg = map_svg(&[shown], &origin, Order::Rows, 4600);
    for part in [
        "<title id=\"title\">Addresses of pods</title>",
        "<desc id=\"desc\">Network pods, 10.1.2.0/29. 10.1.2.0/29: 1 used, 4 free, 0 cooling, 0 excluded, gateway 10.1.2.1, next 10.1.2.2.</desc>",
        "<path class=\"g\" d=\"M1 0h1v1h-1z\"><title>10.1.2.1: gateway</title></path>",
        "<path class=\"f\" d=\"M2 0h2v1h-2z\"><title>10.1.2.2-10.1.2.3 (2): free</title></path>",
        "<path class=\"u\" d=\"M4 0h1v1h-1z\"><title>10.1.2.4\nshop/&lt;evil&gt;\\u{1b}\n000100010001 eth0\nsince 1970-01-01T00:16:40Z (60m)</title></path>",
        "<path class=\"n\" d=\"M2 0h1v1h-1z\"><title>10.1.2.2: next</title></path>",
    ] {
        assert!(svg.contains(part), "{part}\n{svg}");
    }
    assert!(!svg.contains("script"));
}

#[test]
fn a_full_network_is_a_small_document() {
    for (step, most) in [(1, 100_000), (2, 600_000)] {
        let mut pods = state("pods");
        pods.allocations = (2_u64..65_535)
            .step_by(step)
            .map(|n| allocation(&format!("10.1.{}.{}", n >> 8, n & 255), n, n))
            .collect();
        let shown =
            shown(pods, layout(r#"{"ranges": [[{"subnet": "10.1.0.0/16"}]]}"#, Policy::default()));
        for order in [Order::Rows, Order::Hilbert] {
            let svg = map_svg(std::slice::from_ref(&shown), &origin, order, 70_000);
            assert!(svg.len() < most, "{order:?} {step}: {}", svg.len());
            assert!(svg.contains("<title>10.1.7.0-10.1.7.255: "), "{order:?}");
        }
    }
}

#[test]
fn every_map_is_drawn_in_its_bounds() {
    for ranges in [
        r#"{"ranges": [[{"subnet": "10.16.0.0/12"}], [{"subnet": "2001:db8::/64"}]]}"#,
        r#"{"smallSubnets": true, "ranges": [[{"subnet": "10.1.2.7/32"}], [{"subnet": "2001:db8::/127"}]]}"#,
        r#"{"ranges": [[{"subnet": "0.0.0.0/0"}], [{"subnet": "::/0"}]]}"#,
    ] {
        let mut pods = state("pods");
        pods.allocations =
            ["10.16.0.9", "10.31.0.9", "2001:db8::5"].map(|a| allocation(a, 1, 1)).into();
        let shown = shown(pods, layout(ranges, Policy::default()));
        for order in [Order::Rows, Order::Hilbert] {
            let svg = map_svg(std::slice::from_ref(&shown), &origin, order, 70_000);
            assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
            assert!(svg.ends_with("</svg>\n"));
        }
    }
    let unknown = Shown { state: state("old"), layout: None, file: None };
    assert!(map_svg(&[unknown], &origin, Order::Rows, 0).contains("ranges not known"));
}
