use super::samples::{addr, allocation, layout, state};
use super::*;
use ipam_core::policy::Strategy;
use ipam_stores::survey::Cooling;
use proptest::prelude::*;

#[test]
fn a_set_is_counted_and_its_next_address_is_the_allocators() {
    let layout = layout(
        r#"{"exclude": ["10.1.2.8/30"], "ranges": [[{"subnet": "10.1.2.0/28"}], [{"subnet": "2001:db8::/64"}]]}"#,
        Policy::default(),
    );
    let mut state = state("pods");
    state.allocations = ["10.1.2.3", "10.1.2.4", "10.1.2.9", "10.9.9.9", "2001:db8::2"]
        .iter()
        .enumerate()
        .map(|(i, text)| allocation(text, i as u64, 100 + i as u64))
        .collect();
    state.cooling = vec![
        Cooling { addr: addr("10.1.2.5"), remaining: Duration::from_secs(7) },
        Cooling { addr: addr("10.1.2.6"), remaining: Duration::ZERO },
    ];
    state.marks.insert(0, addr("10.1.2.3"));
    let usage = NetworkUsage::new(&state, Some(&layout));
    assert_eq!((usage.held, usage.outside, usage.oldest), (5, 1, Some(100)));
    let v4 = &usage.sets[0];
    assert_eq!(v4.ranges, "10.1.2.0/28");
    assert_eq!((v4.size, v4.used, v4.free, v4.cooling), (9, 2, 6, 1));
    assert_eq!((v4.excluded, v4.misplaced, v4.oldest), (5, 1, Some(100)));
    assert_eq!(v4.next, Next::Address(addr("10.1.2.6")));
    let v6 = &usage.sets[1];
    assert_eq!((v6.size, v6.used, v6.excluded), ((1 << 64) - 2, 1, 1));
    assert_eq!(v6.next, Next::Address(addr("2001:db8::3")));
    assert_eq!(v6.level(80, 95), Exit::Fine);

    let unknown = NetworkUsage::new(&state, None);
    assert_eq!((unknown.sets.len(), unknown.held, unknown.outside), (0, 5, 0));
}

#[test]
fn the_next_address_follows_the_strategy() {
    let ranges = r#"{"ranges": [[{"subnet": "10.1.2.0/29"}]]}"#;
    let mut state = state("pods");
    state.allocations = vec![allocation("10.1.2.2", 0, 0)];
    state.marks.insert(0, addr("10.1.2.5"));
    for (strategy, next) in [
        (Strategy::Next, "10.1.2.6"),
        (Strategy::Sticky, "10.1.2.6"),
        (Strategy::Lowest, "10.1.2.3"),
    ] {
        let layout = layout(ranges, Policy { strategy, ..Policy::default() });
        let usage = NetworkUsage::new(&state, Some(&layout));
        assert_eq!(usage.sets[0].next, Next::Address(addr(next)), "{strategy}");
    }
}

#[test]
fn a_set_without_free_addresses_is_critical_at_any_limit() {
    let layout = layout(r#"{"ranges": [[{"subnet": "10.1.2.0/29"}]]}"#, Policy::default());
    let mut state = state("pods");
    state.allocations = (2..6).map(|n| allocation(&format!("10.1.2.{n}"), n, n)).collect();
    let usage = |state: &NetworkState| NetworkUsage::new(state, Some(&layout)).sets[0].clone();
    assert_eq!(usage(&state).level(80, 95), Exit::Fine);
    assert_eq!(usage(&state).level(79, 95), Exit::Warning);
    assert_eq!(usage(&state).level(10, 79), Exit::Critical);
    state.cooling = vec![Cooling { addr: addr("10.1.2.6"), remaining: Duration::from_secs(9) }];
    assert_eq!(usage(&state).next, Next::After(Duration::from_secs(9)));
    assert_eq!(usage(&state).level(100, 100), Exit::Critical);
    state.allocations.push(allocation("10.1.2.6", 6, 6));
    assert_eq!(usage(&state).next, Next::Full);
    assert_eq!(usage(&state).level(100, 100), Exit::Critical);
}

#[test]
fn ranges_are_named_as_they_were_written() {
    for (ranges, text) in [
        (
            r#"{"ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "10.1.3.0/24", "rangeStart": "10.1.3.9"}]]}"#,
            "10.1.2.0/24, 10.1.3.9-10.1.3.254",
        ),
        (r#"{"ranges": [[{"subnet": "2001:db8::/64"}]]}"#, "2001:db8::/64"),
        (
            r#"{"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.1.0/24"}, {"subnet": "10.1.2.0/24"},
                         {"subnet": "10.1.3.0/24"}, {"subnet": "10.1.4.0/24"}]]}"#,
            "10.1.0.0/24, 10.1.1.0/24, 10.1.2.0/24 and 2 more",
        ),
    ] {
        assert_eq!(ranges_text(&layout(ranges, Policy::default()).sets[0]), text);
    }
}

proptest! {
    /// The counts add up, and are those of the runs.
    #[test]
    fn counts_and_runs_agree(
        held in proptest::collection::btree_set(0_u8..=255, 0..60),
        cooling in proptest::collection::btree_set(0_u8..=255, 0..60),
        excluded in proptest::collection::vec((0_u8..=255, 0_u8..40), 0..5),
        bounds in (1_u8..=254, 1_u8..=254),
        mark in 0_u8..=255,
    ) {
        let excludes: Vec<String> = excluded
            .iter()
            .map(|(at, n)| format!("\"10.1.2.{at}-10.1.2.{}\"", at.saturating_add(*n)))
            .collect();
        let layout = layout(
            &format!(
                r#"{{"exclude": [{}], "ranges": [[{{"subnet": "10.1.2.0/24",
                    "rangeStart": "10.1.2.{}", "rangeEnd": "10.1.2.{}"}}]]}}"#,
                excludes.join(","), bounds.0.min(bounds.1), bounds.0.max(bounds.1)
            ),
            Policy::default(),
        );
        let mut state = state("pods");
        let at = |n: &u8| addr(&format!("10.1.2.{n}"));
        state.allocations = held.iter().map(|n| allocation(&at(n).to_string(), 1, 1)).collect();
        state.cooling = cooling
            .iter()
            .map(|n| Cooling { addr: at(n), remaining: Duration::from_secs(5) })
            .collect();
        state.marks.insert(0, at(&mark));
        let usage = &NetworkUsage::new(&state, Some(&layout)).sets[0];
        prop_assert_eq!(usage.size, usage.used + usage.free + usage.cooling);
        let range = &layout.sets[0].ranges()[0];
        let runs = runs(range, &state);
        let sum = |of: fn(Kind) -> bool| -> u128 {
            runs.iter().filter(|run| of(run.kind)).map(|run| run.interval.count()).sum()
        };
        prop_assert_eq!(sum(|_| true), range.interval().count());
        prop_assert_eq!(sum(|kind| matches!(kind, Kind::Used(_))), usage.used + usage.misplaced);
        prop_assert_eq!(sum(|kind| kind == Kind::Free), usage.free);
        prop_assert_eq!(sum(|kind| kind == Kind::Cooling), usage.cooling);
        prop_assert_eq!(
            sum(|kind| matches!(kind, Kind::Excluded | Kind::Gateway)),
            usage.excluded - usage.misplaced
        );
        for pair in runs.windows(2) {
            prop_assert_eq!(pair[0].interval.last().next(), Some(pair[1].interval.first()));
        }
        // Address by address, as the allocator would go.
        let is_free = |n: u16| {
            runs.iter().any(|run| run.kind == Kind::Free && run.interval.contains(at(&(n as u8))))
        };
        let start = if range.interval().contains(at(&mark)) { u16::from(mark) + 1 } else { 0 };
        let next = (0..256).map(|i| (start + i) % 256).find(|n| is_free(*n));
        match usage.next {
            Next::Address(addr) => prop_assert_eq!(Some(addr), next.map(|n| at(&(n as u8)))),
            Next::After(_) => prop_assert!(next.is_none() && usage.cooling > 0),
            Next::Full => prop_assert!(next.is_none() && usage.cooling == 0),
        }
    }
}
