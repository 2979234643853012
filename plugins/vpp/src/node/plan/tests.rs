use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use vpp_api::Mac;

use super::*;
use crate::node::seen::Stale;

fn part(index: u32, name: &str) -> Part {
    Part {
        index: IfIndex(index),
        name: name.to_owned(),
        mac: Mac::default(),
        tag: "tagged".to_owned(),
        up: false,
        link: true,
        mtu: 9000,
        link_mtu: 9000,
        tables: [0; 2],
        addresses: BTreeSet::new(),
    }
}

/// VPP as these tests know it: what a step does to what is seen.
fn after(mut seen: Seen, step: &Step) -> Seen {
    fn at(seen: &mut Seen, on: On) -> &mut Part {
        match on {
            On::Uplink => seen.uplink.as_mut(),
            On::Gateway => seen.gateway.as_mut(),
            On::HostLink => seen.host_link.as_mut(),
        }
        .expect("a step is about what is there")
    }
    match step {
        Step::AddTable(id, family) => {
            seen.tables.insert((*id, *family));
        }
        Step::AddSource(name) if *name == SOURCE => seen.source = Some(23),
        Step::AddSource(_) => seen.pod_source = Some(24),
        Step::CreateGateway => seen.gateway = Some(part(50, "loop0")),
        Step::DeleteHostLink => seen.stale = None,
        Step::CreateHostLink => seen.host_link = Some(part(51, "host-vpp-v0")),
        Step::TagGateway => at(&mut seen, On::Gateway).tag = "tagged".to_owned(),
        Step::SetTable(on, family, id) => {
            assert!(*id == 0 || seen.tables.contains(&(*id, *family)), "VPP -3");
            let part = at(&mut seen, *on);
            assert!(part.addresses.iter().all(|it| it.family() != *family), "VPP -114");
            part.tables[usize::from(family.is_ipv6())] = *id;
        }
        Step::SetFrame(on, mtu) => at(&mut seen, *on).link_mtu = *mtu,
        Step::SetMtu(on, mtu) => {
            let part = at(&mut seen, *on);
            assert!(part.link_mtu >= *mtu, "the frame is too small");
            part.mtu = *mtu;
        }
        Step::SetUp(on) => at(&mut seen, *on).up = true,
        Step::EnableIp6(on) | Step::SilenceRa(on) => {
            at(&mut seen, *on);
        }
        Step::AddAddress(on, address) => {
            assert!(at(&mut seen, *on).addresses.insert(*address), "VPP -105");
        }
        Step::SetRoute(prefix, hop) => {
            assert!(seen.source.is_some());
            let index = hop.on.map_or(IfIndex::NONE, |on| at(&mut seen, on).index);
            seen.routes.insert(*prefix, Way::Hop(hop.via, index));
        }
        Step::DeleteRoute(prefix) => {
            assert!(seen.routes.remove(prefix).is_some());
        }
    }
    seen
}

fn v4(third: u8, last: u8, len: u8) -> Prefix {
    Prefix::new(Ipv4Addr::new(10, 1, third, last).into(), len).unwrap()
}

fn v6(third: u8, last: u8, len: u8) -> Prefix {
    let address = Ipv6Addr::new(0xfd00, 1, third.into(), 0, 0, 0, 0, last.into());
    Prefix::new(address.into(), len).unwrap()
}

fn any_address() -> impl Strategy<Value = Prefix> {
    (any::<bool>(), 0u8..3, 1u8..4).prop_map(|(is_v4, third, last)| {
        if is_v4 { v4(third, last, 24) } else { v6(third, last, 64) }
    })
}

fn any_hop() -> impl Strategy<Value = (Prefix, Hop)> {
    let on = prop_oneof![Just(None), Just(Some(On::Uplink)), Just(Some(On::HostLink))];
    (any::<bool>(), 0u8..6, 1u8..4, on).prop_map(|(is_v4, third, last, on)| {
        let (to, via) = if is_v4 {
            (v4(third, 0, 24), v4(9, last, 32))
        } else {
            (v6(third, 0, 64), v6(9, last, 128))
        };
        (to, Hop { via: via.address(), on })
    })
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let part = || {
        let mtu = prop_oneof![Just(None), Just(Some(1500)), Just(Some(9100))];
        (proptest::collection::btree_set(any_address(), 0..4), mtu)
            .prop_map(|(addresses, mtu)| PartWish { addresses, mtu })
    };
    let host = |address: Prefix| Prefix::host(address.address());
    (
        prop_oneof![Just(0u32), Just(7)],
        proptest::collection::btree_set(any_address().prop_map(host), 0..3),
        proptest::option::of(part()),
        proptest::option::of(part()),
        proptest::collection::btree_map(any::<u8>(), any_hop(), 0..8),
    )
        .prop_map(|(table, gateways, uplink, host_link, hops)| {
            let possible = |hop: &Hop| match hop.on {
                Some(On::Uplink) => uplink.is_some(),
                Some(On::HostLink) => host_link.is_some(),
                _ => true,
            };
            let routes = hops.into_values().filter(|(_, hop)| possible(hop)).collect();
            Wish { table, gateways, uplink, host_link, routes }
        })
}

fn any_part(index: u32) -> impl Strategy<Value = Part> {
    (
        any::<bool>(),
        prop_oneof![Just(1500u32), Just(9000)],
        prop_oneof![Just([0u32; 2]), Just([7, 7]), Just([0, 7])],
        proptest::collection::btree_set(any_address(), 0..3),
        any::<bool>(),
    )
        .prop_map(move |(up, mtu, tables, addresses, is_tagged)| Part {
            up,
            mtu,
            tables,
            addresses,
            tag: if is_tagged { "tagged" } else { "" }.to_owned(),
            ..part(index, "interface")
        })
}

fn any_seen() -> impl Strategy<Value = Seen> {
    let way = prop_oneof![
        any_hop().prop_map(|(_, hop)| Way::Hop(hop.via, IfIndex(1))),
        any_hop().prop_map(|(_, hop)| Way::Hop(hop.via, IfIndex::NONE)),
        Just(Way::Other),
    ];
    let routes = proptest::collection::vec((any_hop().prop_map(|(to, _)| to), way), 0..6);
    (
        any::<bool>(),
        proptest::option::of(Just(23u8)),
        proptest::option::of(Just(24u8)),
        any_part(1),
        proptest::option::of(any_part(2)),
        proptest::option::of(any_part(3)),
        routes,
    )
        .prop_map(|(has_table, source, pod_source, uplink, gateway, host_link, routes)| {
            let mut tables = BTreeSet::from([(0, Family::V4), (0, Family::V6)]);
            if has_table {
                tables.extend([(7, Family::V4), (7, Family::V6)]);
            }
            Seen {
                tables,
                source,
                pod_source,
                uplink: Some(uplink),
                gateway,
                host_link,
                stale: None,
                // Without the source there is no route of it.
                routes: if source.is_some() {
                    routes.into_iter().collect()
                } else {
                    BTreeMap::new()
                },
                hidden: BTreeMap::new(),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Every step is possible where it stands, and nothing is left to do behind the last.
    #[test]
    fn a_plan_leads_to_where_nothing_is_to_be_done(wish in any_wish(), seen in any_seen()) {
        // An interface with an address in another table is somebody's decision.
        if let Ok(first) = plan(&wish, &seen, &Others::new()) {
            let done = first.steps.iter().fold(seen, after);
            let second = plan(&wish, &done, &Others::new()).unwrap();
            prop_assert_eq!(second.steps, []);
            prop_assert_eq!(done.routes.len(), wish.routes.len());
        }
    }

    /// What others want stays, whatever this one wants.
    #[test]
    fn others_keep_their_routes(wish in any_wish(), seen in any_seen(), theirs in proptest::collection::vec(any_hop(), 0..4)) {
        let others: Others = theirs
            .iter()
            .map(|(to, hop)| (*to, (hop.via, "other".to_owned())))
            .collect();
        if let Ok(plan) = plan(&wish, &seen, &others) {
            for step in &plan.steps {
                match step {
                    Step::DeleteRoute(prefix) => prop_assert!(!others.contains_key(prefix)),
                    Step::SetRoute(prefix, hop) => {
                        prop_assert!(others.get(prefix).is_none_or(|(via, _)| *via == hop.via));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Everything that is wrong is said, and everything that is said is about something.
    #[test]
    fn differences_are_told(wish in any_wish(), seen in any_seen()) {
        if let Ok(plan) = plan(&wish, &seen, &Others::new()) {
            let told = plan.steps.iter().filter_map(|step| seen.lacking(step)).count();
            prop_assert_eq!(told == 0, plan.steps.is_empty());
            for step in &plan.steps {
                prop_assert!(!seen.doing(step).is_empty());
            }
        }
    }
}

#[test]
fn a_host_link_that_lost_its_device_is_made_again() {
    let wish = Wish {
        table: 0,
        gateways: BTreeSet::new(),
        uplink: None,
        host_link: Some(PartWish { addresses: BTreeSet::from([v4(0, 1, 30)]), mtu: Some(1500) }),
        routes: BTreeMap::new(),
    };
    let seen = Seen {
        source: Some(23),
        pod_source: Some(24),
        gateway: Some(Part { up: true, ..part(2, "loop0") }),
        stale: Some(Stale { index: IfIndex(3), device: Some("vpp-v0".to_owned()) }),
        ..Seen::default()
    };
    let plan = plan(&wish, &seen, &Others::new()).unwrap();
    let expected = [
        Step::DeleteHostLink,
        Step::CreateHostLink,
        Step::SetMtu(On::HostLink, 1500),
        Step::SetUp(On::HostLink),
        Step::AddAddress(On::HostLink, v4(0, 1, 30)),
    ];
    assert_eq!(plan.steps, expected);
}

#[test]
fn an_address_in_another_table_is_a_conflict() {
    let uplink = PartWish { addresses: BTreeSet::from([v4(0, 1, 24)]), mtu: None };
    let wish = Wish {
        table: 7,
        gateways: BTreeSet::new(),
        uplink: Some(uplink),
        host_link: None,
        routes: BTreeMap::new(),
    };
    let mut there = part(1, "Ethernet0");
    there.addresses.insert(v4(0, 1, 24));
    let seen = Seen { uplink: Some(there), ..Seen::default() };
    let conflict = plan(&wish, &seen, &Others::new()).unwrap_err();
    assert_eq!(conflict.to_string(), "Ethernet0 is in table 0 with 10.1.0.1/24, not in table 7");
}

#[test]
fn what_overlaps_is_named() {
    let all =
        [("loop3".to_owned(), vec![v4(3, 1, 24)]), ("Ethernet0".to_owned(), vec![v4(0, 1, 16)])];
    assert_eq!(overlap(v4(3, 9, 32), &all).unwrap(), "loop3 has 10.1.3.1/24");
    assert_eq!(overlap(v4(4, 9, 32), &all).unwrap(), "Ethernet0 has 10.1.0.1/16");
    assert_eq!(overlap(v6(4, 9, 128), &all), None);
}
