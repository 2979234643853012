//! Decisions on values: what is a problem, and what is done about it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ipam_core::addr::{Cidr, Family};
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, IfName};
use ipam_core::policy::Policy;
use ipam_core::range::{RangeSet, RangeSpec};
use ipam_stores::survey::FaultKind;
use proptest::prelude::*;

use super::*;
use crate::living::cache::{Cached, IpamSection};
use crate::living::spaces::{At, Space, Spaces};

const NOW: u64 = 1_000_000;

fn addr(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

fn attachment(id: &str) -> Attachment {
    Attachment { container: ContainerId::new(id).unwrap(), ifname: IfName::new("eth0").unwrap() }
}

fn allocation(id: &str, text: &str) -> Allocation {
    Allocation {
        addr: addr(text),
        holder: Holder::Attachment(attachment(id)),
        set: None,
        owner: Owner::default(),
        since: Some(1000),
        cni_network: None,
    }
}

fn layout() -> Layout {
    let set = |subnet: &str| {
        let spec = RangeSpec { subnet: Cidr::parse(subnet), ..RangeSpec::default() };
        RangeSet::new(&[spec]).unwrap()
    };
    Layout { sets: vec![set("10.0.0.0/24"), set("fd00::/64")], policy: Policy::default() }
}

fn state(allocations: Vec<Allocation>) -> NetworkState {
    NetworkState {
        network: "n".to_owned(),
        instance: None,
        place: Place::Dir("/d/n".into()),
        layout: Some(layout()),
        marks: BTreeMap::from([(0, addr("10.0.0.9")), (1, addr("fd00::9"))]),
        pin: None,
        allocations,
        cooling: Vec::new(),
        shared: false,
        faults: Vec::new(),
    }
}

fn cached(id: &str, text: &str, at: At) -> Cached {
    Cached {
        network: "n".to_owned(),
        attachment: attachment(id),
        path: Some("/run/netns/x".into()),
        at,
        addrs: vec![addr(text)],
        owner: Owner::default(),
        ipams: vec![IpamSection { plugin: "host-local".to_owned(), ..IpamSection::default() }],
    }
}

fn spaces(number: u64, text: &str) -> Spaces {
    let addrs = Some(BTreeSet::from([addr(text)]));
    Spaces::new(BTreeMap::from([(number, Space { name: "space".to_owned(), addrs })]))
}

fn problems_of(
    networks: &[NetworkState],
    living: &Living,
    health: &[(PathBuf, Health)],
) -> Vec<Problem> {
    let mut problems = find(&Evidence {
        networks,
        unseen: &[],
        health,
        vanished: &[],
        moved: &HashSet::new(),
        living,
        configured: &[],
        default_database: "/run/plat/plat.db".into(),
        now: NOW,
        grace: Duration::from_secs(300),
    });
    problems.retain(|problem| problem.kind != "unknown");
    problems
}

/// An attachment that was made before its network was moved into a database belongs there all the same.
#[test]
fn what_was_moved_into_a_database_is_made_anew_there() {
    let path = PathBuf::from("/run/plat/plat.db");
    let living = Living::new(vec![cached("a", "10.0.0.5", At::Space(7))], spaces(7, "10.0.0.5"));
    for (moved, health, expected) in [
        (true, Health::Lost, "lost"),
        (true, Health::Fine, "unrecorded"),
        (false, Health::Fine, "unrecorded"),
    ] {
        let moved: HashSet<String> = moved.then(|| "n".to_owned()).into_iter().collect();
        let problems = find(&Evidence {
            networks: &[],
            unseen: &[],
            health: &[(path.clone(), health)],
            vanished: &[],
            moved: &moved,
            living: &living,
            configured: &[],
            default_database: path.clone(),
            now: NOW,
            grace: Duration::from_secs(300),
        });
        assert_eq!(kinds(&problems), [expected]);
        match &problems[0].fix {
            Fix::Rebuild(_, networks) => {
                assert_eq!(networks[0].allocations[0].addr, addr("10.0.0.5"));
            }
            Fix::Record(_) => assert!(moved.is_empty()),
            _ => assert!(!moved.is_empty()),
        }
    }
}

fn kinds(problems: &[Problem]) -> Vec<&'static str> {
    problems.iter().map(|problem| problem.kind).collect()
}

#[test]
fn what_is_wrong_with_records_is_found() {
    let sound = || vec![allocation("a", "10.0.0.5"), allocation("a", "fd00::5")];
    let with = |more: Allocation| {
        let mut all = sound();
        all.push(more);
        vec![state(all)]
    };
    let elsewhere = |held: Allocation| {
        vec![state(sound()), NetworkState { place: Place::Dir("/e/n".into()), ..state(vec![held]) }]
    };
    let marked = |set: usize, text: &str| {
        let mut state = state(sound());
        state.marks.insert(set, addr(text));
        vec![state]
    };
    for (what, networks, expected) in [
        ("nothing", vec![state(sound())], &[][..]),
        ("outside", with(allocation("b", "10.9.0.5")), &["outside"][..]),
        ("the gateway", with(allocation("b", "10.0.0.1")), &["gateway"]),
        ("two of a set", with(allocation("a", "10.0.0.6")), &["surplus"]),
        ("another's in another store", elsewhere(allocation("b", "10.0.0.5")), &["duplicate"]),
        ("its own in another store", elsewhere(allocation("a", "10.0.0.5")), &["copied"]),
        ("another address in another store", elsewhere(allocation("b", "10.0.0.6")), &[]),
        ("a mark outside", marked(0, "10.0.1.9"), &["mark-outside"]),
        ("a mark of no set", marked(2, "10.0.0.9"), &["mark-outside"]),
    ] {
        let problems = problems_of(&networks, &Living::default(), &[]);
        assert_eq!(kinds(&problems), expected, "{what}");
        assert!(problems.iter().all(|problem| !matches!(problem.fix, Fix::Free(_))));
    }
    let mut bare = state(vec![allocation("a", "10.9.0.5"), allocation("a", "10.9.0.6")]);
    bare.layout = None;
    assert_eq!(
        kinds(&problems_of(&[bare], &Living::default(), &[])),
        [""; 0],
        "no ranges are known"
    );
}

#[test]
fn only_what_is_gone_for_sure_is_freed() {
    let held = || allocation("a", "10.0.0.5");
    let own = |at: At| Living::new(vec![cached("a", "10.0.0.5", at)], Spaces::default());
    let young = Allocation { since: Some(NOW - 10), ..held() };
    let shared = NetworkState { shared: true, ..state(vec![held()]) };
    let mut blind = own(At::Nothing);
    blind.blind = Some("why".to_owned());
    let used = Living::new(vec![cached("a", "10.0.0.5", At::Nothing)], spaces(7, "10.0.0.5"));
    for (what, state, living, expected, freed) in [
        ("it lives", state(vec![held()]), own(At::Space(7)), &[][..], false),
        ("nobody knows", state(vec![held()]), Living::default(), &[], false),
        ("it is unclear", state(vec![held()]), own(At::Unclear), &[], false),
        ("its namespace is gone", state(vec![held()]), own(At::Nothing), &["leaked"][..], true),
        ("it is young", state(vec![young]), own(At::Nothing), &["leaked"], false),
        ("others are here", shared, own(At::Nothing), &["leaked"], false),
        ("not everything is seen", state(vec![held()]), blind, &[], false),
        ("somebody has the address", state(vec![held()]), used, &["doubtful"], false),
    ] {
        let problems = problems_of(&[state], &living, &[]);
        assert_eq!(kinds(&problems), expected, "{what}");
        let frees = problems.iter().any(|problem| matches!(problem.fix, Fix::Free(_)));
        assert_eq!(frees, freed, "{what}");
    }
}

#[test]
fn what_is_in_use_without_a_record_is_recorded() {
    let living =
        |addr: &str| Living::new(vec![cached("a", "10.0.0.5", At::Space(7))], spaces(7, addr));
    let other = NetworkState { place: Place::Dir("/e/n".into()), ..state(vec![]) };
    let record = |place: &Place| (Some(place.clone()), true);
    let dir = Place::Dir("/d/n".into());
    for (what, networks, used, expected, (place, possible)) in [
        ("no record", vec![state(vec![])], "10.0.0.5", &["unrecorded"][..], record(&dir)),
        ("two stores", vec![state(vec![]), other], "10.0.0.5", &["unrecorded"], (None, false)),
        (
            "no store",
            vec![],
            "10.0.0.5",
            &["unrecorded"],
            record(&Place::Dir("/var/lib/cni/networks/n".into())),
        ),
        (
            "another's record",
            vec![state(vec![allocation("b", "10.0.0.5")])],
            "10.0.0.5",
            &["conflict"],
            (Some(dir.clone()), false),
        ),
    ] {
        let problems = problems_of(&networks, &living(used), &[]);
        assert_eq!(kinds(&problems), expected, "{what}");
        assert_eq!(problems[0].place, place, "{what}");
        assert_eq!(problems[0].fix.is_possible(), possible, "{what}");
    }
    for (what, networks, living) in [
        ("its record", vec![state(vec![allocation("a", "10.0.0.5")])], living("10.0.0.5")),
        ("not in use", vec![state(vec![])], living("10.0.0.6")),
    ] {
        assert_eq!(kinds(&problems_of(&networks, &living, &[])), [""; 0], "{what}");
    }
    let mut foreign = cached("a", "10.0.0.5", At::Space(7));
    foreign.ipams = vec![IpamSection { plugin: "dhcp".to_owned(), ..IpamSection::default() }];
    let living = Living::new(vec![foreign], spaces(7, "10.0.0.5"));
    assert_eq!(kinds(&problems_of(&[state(vec![])], &living, &[])), [""; 0], "another's IPAM");
}

#[test]
fn a_lost_database_is_made_anew_from_what_lives() {
    let path = PathBuf::from("/run/plat/plat.db");
    let section = |plugin: &str, store: Option<&str>, database: Option<&str>| IpamSection {
        plugin: plugin.to_owned(),
        store: store.map(str::to_owned),
        database: database.map(PathBuf::from),
        ..IpamSection::default()
    };
    let entry = |id: &str, text: &str, at: At, ipam: IpamSection| Cached {
        ipams: vec![ipam],
        ..cached(id, text, at)
    };
    let here = || section("node-local", None, None);
    let living = Living::new(
        vec![
            entry("lives", "10.0.0.5", At::Space(7), here()),
            entry("untold", "10.0.0.6", At::Untold, here()),
            entry("gone", "10.0.0.7", At::Nothing, here()),
            Cached {
                network: "m".to_owned(),
                ..entry("directory", "10.0.0.8", At::Space(7), section("host-local", None, None))
            },
            entry("asked", "10.0.0.9", At::Space(7), section("host-local", Some("sqlite"), None)),
            entry("other", "10.0.0.10", At::Space(7), section("node-local", None, Some("/x.db"))),
            entry("held", "10.0.0.11", At::Space(7), here()),
        ],
        Spaces::default(),
    );
    let directory = state(vec![allocation("held", "10.0.0.11")]);
    for health in [Health::Lost, Health::Restored, Health::Corrupt("x".to_owned())] {
        let problems =
            problems_of(std::slice::from_ref(&directory), &living, &[(path.clone(), health)]);
        let Fix::Rebuild(to, networks) = &problems[0].fix else { panic!("{problems:?}") };
        assert_eq!(*to, path);
        let held: Vec<(String, String)> = networks
            .iter()
            .flat_map(|network| {
                let instance = network.instance.as_ref().unwrap().to_string();
                network
                    .allocations
                    .iter()
                    .map(move |held| (instance.clone(), held.addr.to_string()))
            })
            .collect();
        let expected =
            [("host-local", "10.0.0.9"), ("node-local", "10.0.0.5"), ("node-local", "10.0.0.6")]
                .map(|(instance, addr)| (instance.to_owned(), addr.to_owned()));
        assert_eq!(held, expected);
    }
    for (health, possible) in [
        (Health::Fine, None),
        (Health::Absent, None),
        (Health::FormerBoot, None),
        (Health::Newer(9, 1), Some(false)),
        (Health::Foreign, Some(false)),
    ] {
        let problems = problems_of(&[], &Living::default(), &[(path.clone(), health)]);
        assert_eq!(problems.first().map(|problem| problem.fix.is_possible()), possible);
    }
}

#[test]
fn only_what_loses_nothing_is_put_away() {
    for (kind, what, shared, removable) in [
        (FaultKind::Empty, "10.0.0.5", false, true),
        (FaultKind::Empty, "10.0.0.5", true, false),
        (FaultKind::Unreadable, "10.0.0.5", false, false),
        (FaultKind::Twice, "FD00::5", false, false),
        (FaultKind::Foreign, "README", false, false),
        (FaultKind::Foreign, ".plat.tmp.0", false, true),
        (FaultKind::Mark, "last_reserved_ip.0", false, true),
        (FaultKind::Mark, "node-index", false, false),
        (FaultKind::Index, "/run/plat/index/x", false, true),
        (FaultKind::Extents, "free", false, true),
    ] {
        let fault = Fault { kind, what: what.to_owned(), addr: None };
        let state = NetworkState { shared, faults: vec![fault], ..state(vec![]) };
        let problems = problems_of(&[state], &Living::default(), &[]);
        assert_eq!(problems.len(), 1, "{what}");
        assert_eq!(problems[0].fix.is_possible(), removable, "{what}");
    }
}

#[test]
fn nothing_reaches_a_terminal_that_it_would_obey() {
    assert_eq!(
        plain("a\u{1b}[31mb\n\u{7f}\u{9b}c\u{202e}ü"),
        "a\\u{1b}[31mb\\n\\u{7f}\\u{9b}c\\u{202e}ü"
    );
}

proptest! {
    /// A sound state has no problem, whoever of it lives; one that lives is never freed.
    #[test]
    fn a_sound_state_has_no_problem(
        held in proptest::collection::btree_set(2_u128..250, 0..60),
        fates in proptest::collection::vec(0..4_u8, 60),
    ) {
        let mut allocations = Vec::new();
        let mut entries = Vec::new();
        let mut all = BTreeMap::new();
        for (number, fate) in held.iter().zip(fates) {
            let id = format!("c{number}");
            let text = Addr::new(Family::V4, 0x0a00_0000 + number).unwrap().to_string();
            allocations.push(allocation(&id, &text));
            let space = u64::try_from(*number).unwrap();
            let at = match fate {
                0 => continue,
                1 => At::Unclear,
                2 => At::Nothing,
                _ => At::Space(space),
            };
            entries.push(cached(&id, &text, at));
            if fate == 3 {
                let addrs = Some(BTreeSet::from([addr(&text)]));
                all.insert(space, Space { name: id, addrs });
            }
        }
        let gone = entries.iter().filter(|entry| entry.at == At::Nothing).count();
        let living = Living::new(entries, Spaces::new(all));
        let problems = problems_of(&[state(allocations)], &living, &[]);
        prop_assert_eq!(problems.len(), gone);
        prop_assert!(problems.iter().all(|problem| problem.kind == "leaked"));
    }
}
