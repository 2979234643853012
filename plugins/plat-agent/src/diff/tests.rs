use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn hop(last: u8) -> Way {
    Way { via: IpAddr::from([192, 168, 16, last]), device: Some(2), onlink: false }
}

fn there(prefix: &str, way: Option<Way>, ours: bool) -> Present {
    Present { prefix: net(prefix), way, ours, shown: String::new() }
}

fn wanted(routes: &[(&str, u8)]) -> Wanted {
    let routes = routes.iter().map(|(prefix, last)| (net(prefix), hop(*last))).collect();
    Wanted { routes, held: BTreeMap::new(), complete: true }
}

fn steps(wanted: &Wanted, present: &[Present]) -> Vec<Step> {
    diff(wanted, present).into_iter().map(|item| item.step).collect()
}

#[test]
fn each_case() {
    let one = wanted(&[("10.1.2.0/24", 2)]);
    let ours = |last| there("10.1.2.0/24", Some(hop(last)), true);
    let foreign = || there("10.1.2.0/24", Some(hop(2)), false);
    assert_eq!(steps(&one, &[]), [Step::Add(hop(2))]);
    assert_eq!(steps(&one, &[ours(2)]), [Step::Keep(0)]);
    assert_eq!(steps(&one, &[ours(3)]), [Step::Replace(0, hop(2))]);
    assert_eq!(steps(&one, &[there("10.1.2.0/24", None, true)]), [Step::Replace(0, hop(2))]);
    assert_eq!(steps(&one, &[ours(3), ours(2)]), [Step::Delete(0), Step::Keep(1)]);
    // Somebody else's stays, whatever its way; ours beside it stays if it is right.
    assert_eq!(steps(&one, &[foreign()]), [Step::Foreign(0)]);
    assert_eq!(steps(&one, &[foreign(), ours(2)]), [Step::Keep(1), Step::Foreign(0)]);
    assert_eq!(steps(&one, &[foreign(), ours(3)]), [Step::Delete(1), Step::Foreign(0)]);
    // Nobody asks for others' routes.
    assert_eq!(steps(&wanted(&[]), &[foreign()]), []);
    assert_eq!(steps(&wanted(&[]), &[ours(2)]), [Step::Delete(0)]);
    let mut unknown = wanted(&[]);
    unknown.complete = false;
    assert_eq!(steps(&unknown, &[ours(2)]), [Step::Hold(0)]);
    let mut held = wanted(&[]);
    held.held.insert(net("10.1.2.0/24"), vec![hop(2).via]);
    assert_eq!(steps(&held, &[ours(2)]), [Step::Hold(0)]);
    assert_eq!(steps(&held, &[ours(3)]), [Step::Delete(0)]);
}

/// What is there afterwards, as a place of routes would do it.
fn applied(present: &[Present], items: &[Item]) -> Vec<Present> {
    let mut after: Vec<Option<Present>> = present.iter().cloned().map(Some).collect();
    for item in items {
        match item.step {
            Step::Add(way) => after.push(Some(Present {
                prefix: item.prefix,
                way: Some(way),
                ours: true,
                shown: String::new(),
            })),
            Step::Replace(at, way) => after[at].as_mut().unwrap().way = Some(way),
            Step::Delete(at) => after[at] = None,
            Step::Keep(_) | Step::Hold(_) | Step::Foreign(_) => {}
        }
    }
    after.into_iter().flatten().collect()
}

fn some_prefix() -> impl Strategy<Value = IpNet> {
    (0u8..6).prop_map(|third| format!("10.1.{third}.0/24").parse().unwrap())
}

fn some_present() -> impl Strategy<Value = Vec<Present>> {
    let one = (some_prefix(), proptest::option::of(1u8..4), any::<bool>()).prop_map(
        |(prefix, last, ours)| Present { prefix, way: last.map(hop), ours, shown: String::new() },
    );
    proptest::collection::vec(one, 0..10)
}

fn some_wanted() -> impl Strategy<Value = Wanted> {
    (proptest::collection::btree_map(some_prefix(), (1u8..4).prop_map(hop), 0..6), any::<bool>())
        .prop_map(|(routes, complete)| Wanted { routes, held: BTreeMap::new(), complete })
}

proptest! {
    /// Afterwards all that is wanted is there once, unless somebody else has it; what is not wanted is gone;
    /// what is others' is as it was; and there is nothing more to do.
    #[test]
    fn applying_gives_what_is_wanted(wanted in some_wanted(), present in some_present()) {
        let items = diff(&wanted, &present);
        let after = applied(&present, &items);
        let others = |all: &[Present]| all.iter().filter(|r| !r.ours).cloned().collect::<Vec<_>>();
        prop_assert_eq!(others(&present), others(&after));
        for (prefix, way) in &wanted.routes {
            let here = |ours: bool| after.iter().filter(move |r| r.ours == ours && r.prefix == *prefix);
            let foreign = here(false).next().is_some();
            let ours: Vec<_> = here(true).map(|r| r.way).collect();
            prop_assert!(ours == [Some(*way)] || (foreign && ours.is_empty()), "{ours:?}");
        }
        for route in after.iter().filter(|r| r.ours) {
            prop_assert!(!wanted.complete || wanted.routes.contains_key(&route.prefix));
        }
        let again = diff(&wanted, &after);
        prop_assert!(again.iter().all(|item| matches!(
            item.step,
            Step::Keep(_) | Step::Hold(_) | Step::Foreign(_)
        )), "{again:?}");
    }
}
