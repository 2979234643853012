use std::time::Duration;

use ipam_core::policy::Policy;
use ipam_stores::StoreError;
use ipam_stores::survey::{Cooling, Place, Unseen};

use super::*;
use crate::usage::samples::{addr, allocation, layout, shown, state};

/// A network in a database, one in a directory with ranges from a file and faults, one without ranges.
fn found() -> Found {
    let mut pods = state("pods");
    pods.pin = Some(7);
    pods.allocations = (2..=202)
        .map(|n| allocation(&format!("10.1.7.{n}"), n, 1000 + n))
        .chain([allocation("10.9.9.9", 1, 500), allocation("2001:db8::2", 2, 2000)])
        .collect();
    pods.cooling = vec![Cooling { addr: addr("10.1.7.203"), remaining: Duration::from_secs(9) }];
    pods.marks.insert(0, addr("10.1.7.202"));
    let ranges = layout(
        r#"{"ranges": [[{"subnet": "10.1.7.0/24"}], [{"subnet": "2001:db8::/64"}]]}"#,
        Policy::default(),
    );

    let mut bridge = state("bridge");
    bridge.instance = None;
    bridge.place = Place::Dir("/var/lib/cni/networks/bridge".into());
    let fault = |kind, what: &str| Fault { kind, what: what.to_owned(), addr: None };
    bridge.faults = vec![
        fault(FaultKind::Foreign, "notes\x1b.txt"),
        fault(FaultKind::Empty, "10.2.0.7"),
        fault(FaultKind::Empty, "10.2.0.8"),
    ];
    let small = layout(
        r#"{"exclude": ["10.2.0.3"], "ranges": [[{"subnet": "10.2.0.0/29"}]]}"#,
        Policy::default(),
    );
    bridge.allocations = ["10.2.0.2", "10.2.0.3"].map(|text| allocation(text, 1, 2000)).into();

    let mut old = state("old");
    old.place = Place::Dir("/var/lib/cni/networks/old".into());
    old.instance = None;
    old.allocations = vec![allocation("10.3.0.2", 1, 900)];
    Found {
        networks: vec![
            Shown { file: Some("/etc/cni/net.d/10-bridge.conf".into()), ..shown(bridge, small) },
            Shown { state: old, layout: None, file: None },
            shown(pods, ranges),
        ],
        notes: vec!["/etc/cni/net.d/99-odd.conf: no JSON".to_owned()],
        ..Found::default()
    }
}

fn printed(found: &Found) -> String {
    let mut out = Vec::new();
    Report::new(found, 70, 95).print(&mut out, 4600, false).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_table_says_how_full_and_how_sound_each_network_is() {
    assert_eq!(
        printed(&found()),
        "  RANGES                          USED        SIZE  FREE  COOLING  EXCLUDED  OLDEST  NEXT
bridge  (dir /var/lib/cni/networks/bridge, ranges from /etc/cni/net.d/10-bridge.conf)  needs a look
  10.2.0.0/29         ██▌·······     1  25 %     4     3        0         2     43m  10.2.0.4
  excluded, yet held                 1
  empty reservation: 10.2.0.7 and 1 more
  file that does not belong here: notes\\u{1b}.txt
  `plat check` tells all of it, `plat check --fix` repairs it

old  (dir /var/lib/cni/networks/old)  ok
  ranges not known                   1           ?     ?                        61m
  its ranges are in no configuration here; see --conf-dir and --data-dir

pods  (node-local, sqlite /run/plat/plat.db, node index 7)  ok
  10.1.7.0/24         ███████▉··   201  79 %   253    51        1         1     59m  10.1.7.204
  2001:db8::/64       ▏·········     1   0 %  2^64  2^64        0         1     43m  2001:db8::3
  outside the ranges                 1
/etc/cni/net.d/99-odd.conf: no JSON
"
    );
}

#[test]
fn what_is_broken_comes_first_and_counts() {
    let mut found = found();
    assert_eq!(Report::new(&found, 80, 95).exit(), Exit::Warning, "faults that heal");
    found.networks.retain(|shown| shown.state.network == "pods");
    assert_eq!(Report::new(&found, 80, 95).exit(), Exit::Fine);
    assert_eq!(Report::new(&found, 79, 95).exit(), Exit::Warning);
    assert_eq!(Report::new(&found, 10, 79).exit(), Exit::Critical);
    let unseen = || Unseen {
        place: Place::Dir("/srv/secret".into()),
        error: StoreError::Io {
            call: "read",
            path: "/srv/secret".into(),
            source: std::io::ErrorKind::PermissionDenied.into(),
        },
    };
    found.unseen.push(unseen());
    assert_eq!(Report::new(&found, 80, 95).exit(), Exit::Failed);
    for (health, word) in [
        (Health::Lost, "is gone, though it was written in this boot\n  ADD is refused until"),
        (Health::Restored, "a copy was put back\n  ADD is refused until"),
        (
            Health::Corrupt("page 3".to_owned()),
            "cannot be relied on: page 3\n  ADD is refused until",
        ),
        (Health::Newer(4, 1), "schema 4, and 1 is the newest known here\n  use the `plat`"),
        (Health::Foreign, "is a database of another program\n  give the key"),
    ] {
        found.databases = vec![("/run/plat/plat.db".into(), health)];
        assert_eq!(Report::new(&found, 80, 95).exit(), Exit::Critical, "{word}");
        let text = printed(&found);
        assert!(text.starts_with("/run/plat/plat.db: "), "{text}");
        assert!(text.contains(word) && text.contains("/srv/secret"), "{text}");
    }
    for health in [Health::Fine, Health::Absent, Health::FormerBoot] {
        found.databases = vec![("/run/plat/plat.db".into(), health)];
        found.unseen.clear();
        assert_eq!(Report::new(&found, 80, 95).exit(), Exit::Fine);
    }
}

#[test]
fn nothing_at_all_is_fine() {
    let found = Found::default();
    assert_eq!(printed(&found), "no network has state on this node\n");
    assert_eq!(Report::new(&found, 80, 95).exit(), Exit::Fine);
}

#[test]
fn the_document_has_the_same_numbers() {
    let found = found();
    let document = document::document(&Report::new(&found, 70, 95));
    let document = serde_json::to_value(document).unwrap();
    assert_eq!(document["status"], "attention");
    let pods = &document["networks"][2];
    assert_eq!(pods["network"], "pods");
    assert_eq!((&pods["held"], &pods["outside"]), (&203.into(), &1.into()));
    let set = &pods["sets"][0];
    assert_eq!(set["ranges"], "10.1.7.0/24");
    assert_eq!(set["status"], "attention");
    assert_eq!(set["percent"], 79.446);
    assert_eq!(
        (&set["size"], &set["used"], &set["cooling"]),
        (&253.into(), &201.into(), &1.into())
    );
    assert_eq!(set["next"], "10.1.7.204");
    assert_eq!(pods["sets"][1]["size"], i64::MAX);
    assert_eq!(document["networks"][0]["faults"][0]["kind"], "foreign");
    assert_eq!(document["networks"][0]["health"], "attention");
    assert_eq!(document["networks"][0]["sets"][0]["excluded_held"], 1);
    assert_eq!(document["networks"][1]["ranges_known"], false);
}

#[test]
fn a_limit_moves_the_other_ones_default() {
    for (warn, critical, limits_of) in [
        (None, None, Some((80, 95))),
        (Some(97), None, Some((97, 97))),
        (None, Some(70), Some((70, 70))),
        (Some(70), None, Some((70, 95))),
        (None, Some(99), Some((80, 99))),
        (Some(50), Some(50), Some((50, 50))),
        (Some(51), Some(50), None),
    ] {
        assert_eq!(limits(warn, critical).ok(), limits_of, "{warn:?} {critical:?}");
    }
}
