use super::*;
use crate::usage::samples::{addr, allocation, layout, shown, state};
use ipam_core::policy::Policy;
use ipam_stores::survey::Cooling;

fn networks() -> Vec<Shown> {
    let layout = layout(
        r#"{"exclude": ["10.1.2.8/30"], "ranges": [[{"subnet": "10.1.2.0/28", "rangeEnd": "10.1.2.13"}], [{"subnet": "2001:db8::/64"}]]}"#,
        Policy::default(),
    );
    let mut pods = state("pods");
    pods.allocations = vec![
        allocation("10.1.2.3", 1, 1000),
        allocation("10.1.2.4", 17, 1000),
        allocation("2001:db8::3", 1, 1000),
    ];
    pods.cooling = vec![Cooling { addr: addr("10.1.2.5"), remaining: Duration::from_secs(12) }];
    vec![shown(pods, layout)]
}

fn said(query: &str) -> String {
    let networks = networks();
    let mut out = Vec::new();
    answer(query, &networks).unwrap().print(4600, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_holder_is_found_by_address_pod_and_container() {
    let id = "0001".repeat(16);
    let first = format!(
        "\
10.1.2.3 is held
  network    pods (node-local, sqlite /run/plat/plat.db)
  ranges     10.1.2.1-10.1.2.13
  gateway    10.1.2.1
  container  {id}
  interface  eth0
  pod        shop/web-1
  since      1970-01-01T00:16:40Z (60m ago)
  also holds 2001:db8::3
"
    );
    assert_eq!(said("10.1.2.3"), first);
    for query in ["shop/web-1", "web-1", "00010", &id] {
        let text = said(query);
        assert!(text.starts_with(&first) && text.contains("\n2001:db8::3 is held\n"), "{text}");
    }
}

#[test]
fn an_address_that_nobody_holds_has_a_standing() {
    let network = "pods (node-local, sqlite /run/plat/plat.db)";
    for (query, text) in [
        ("10.1.2.2", format!("is free in {network}: 10.1.2.1-10.1.2.13")),
        ("10.1.2.5", format!("was freed in {network} and rests for 12s more")),
        ("10.1.2.1", format!("is the gateway of {network}: 10.1.2.1-10.1.2.13")),
        ("10.1.2.9", format!("is excluded in {network}: 10.1.2.1-10.1.2.13")),
        (
            "10.1.2.14",
            format!("is in a subnet of {network}, but outside the range: 10.1.2.1-10.1.2.13"),
        ),
        ("10.7.7.7", "is in no range of any network here".to_owned()),
    ] {
        assert_eq!(said(query), format!("{query} {text}\n"));
    }
    assert!(said("nobody").starts_with("no pod and no container"));
}

#[test]
fn a_whole_id_is_no_beginning() {
    let mut networks = networks();
    for (n, id) in ["c1", "c10"].into_iter().enumerate() {
        let id = ipam_core::identity::ContainerId::new(id).unwrap();
        networks[0].state.allocations[n].holder = Holder::Container(id);
    }
    let found = answer("c1", &networks).unwrap();
    assert_eq!(found.held.len(), 1);
    assert_eq!(found.held[0].allocation.addr, addr("10.1.2.3"));
    assert!(answer("c", &networks).is_err());
}

#[test]
fn what_is_not_clear_is_refused() {
    let networks = networks();
    for (query, message) in [
        ("00", "2 containers have an ID that begins with 00"),
        ("10.1.2.3/24", "10.1.2.3/24 is a network"),
        ("", "nothing was asked for"),
    ] {
        assert_eq!(answer(query, &networks).unwrap_err().message, message);
    }
}
