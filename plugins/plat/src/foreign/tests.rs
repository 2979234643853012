//! Documents as the tools print them, and garbage.

use super::*;
use proptest::prelude::*;

fn shown(found: &Found) -> Vec<String> {
    let line = |network: &NetworkState, held: &Allocation| {
        let pod = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let holder = match &held.holder {
            Holder::Attachment(attachment) => attachment.to_string(),
            Holder::Container(container) => container.to_string(),
            Holder::Unknown => "?".to_owned(),
        };
        let owner = &held.owner;
        format!(
            "{} {} {holder} {}/{}",
            network.network,
            held.addr,
            pod(&owner.namespace),
            pod(&owner.name)
        )
    };
    found.networks.iter().flat_map(|n| n.allocations.iter().map(move |a| line(n, a))).collect()
}

const POOLS: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
   "metadata": {"name": "lan-192.168.2.0-24", "namespace": "kube-system"},
   "spec": {"range": "192.168.2.0/24", "allocations": {
     "1": {"id": "4b7f", "podref": "default/web-0", "ifname": "net1"},
     "2": {"id": "4b80", "podref": "default/web-1"},
     "3": {"id": "", "podref": "web-2"},
     "256": {"id": "4b81"}, "x": {"id": "4b82"}}}},
  {"kind": "IPPool", "metadata": {"name": "fd00----64"}, "spec": {"range": "fd00::/64",
     "allocations": {"18446744073709551615": {"id": "c", "ifname": "net1"}}}},
  {"kind": "IPPool", "metadata": {"name": "bad"}, "spec": {"range": "x"}}, 5]}"#;

#[test]
fn pools_of_whereabouts_are_read() {
    let found = read(Foreign::Whereabouts, POOLS, None).unwrap();
    assert_eq!(
        shown(&found),
        [
            "fd00----64 fd00::ffff:ffff:ffff:ffff c net1 -/-",
            "lan 192.168.2.1 4b7f net1 default/web-0",
            "lan 192.168.2.2 4b80 default/web-1",
            "lan 192.168.2.3 ? -/web-2",
        ]
    );
    assert_eq!(found.skipped.len(), 4, "{:?}", found.skipped);
}

fn blocks() -> Value {
    serde_json::json!({"items": [
        {"kind": "IPAMBlock", "metadata": {"name": "10-244-3-64-26"}, "spec": {
            "cidr": "10.244.3.64/26", "affinity": "host:vm-3", "strictAffinity": false,
            "allocations": [0, 1, null, 2, 7, 3], "unallocated": [2],
            "attributes": [
                {"handle_id": "vxlan-tunnel-addr-vm-3", "secondary": {"node": "vm-3", "type": "vxlanTunnelAddress"}},
                {"handle_id": "k8s-pod-network.abc", "secondary": {
                    "node": "vm-3", "namespace": "default", "pod": "web-0",
                    "timestamp": "2024-03-05 12:34:56.789 +0000 UTC"}},
                {"handle_id": "k8s-pod-network.def", "secondary": {"node": "vm-4", "namespace": "n", "pod": "p"}},
                {"handle_id": null}]}},
        {"kind": "IPAMBlock", "spec": {"cidr": "10.244.9.0/26", "affinity": "host:vm-9", "deleted": true,
            "allocations": [0], "attributes": [{"handle_id": "n.x"}]}}]})
}

#[test]
fn blocks_of_calico_are_read() {
    let found = read(Foreign::Calico, &blocks().to_string(), None).unwrap();
    assert_eq!(
        shown(&found),
        [
            "k8s-pod-network 10.244.3.64 ? -/-",
            "k8s-pod-network 10.244.3.65 abc default/web-0",
            "k8s-pod-network 10.244.3.67 def n/p",
            "k8s-pod-network 10.244.3.68 ? -/-",
            "k8s-pod-network 10.244.3.69 ? -/-",
        ]
    );
    assert_eq!(found.networks[0].allocations[1].since, Some(1_709_642_096));
    assert_eq!(found.skipped.len(), 3, "{:?}", found.skipped);
    // A borrowed address is its borrower's.
    let other = read(Foreign::Calico, &blocks().to_string(), Some("vm-4")).unwrap();
    assert_eq!(shown(&other), ["k8s-pod-network 10.244.3.67 def n/p"]);
    let own = read(Foreign::Calico, &blocks().to_string(), Some("vm-3")).unwrap();
    assert_eq!(shown(&own).len(), 4);
}

#[test]
fn etcds_answer_is_read() {
    // /calico/ipam/v2/assignment/ipv4/block/10.1.0.0-30
    let key = "L2NhbGljby9pcGFtL3YyL2Fzc2lnbm1lbnQvaXB2NC9ibG9jay8xMC4xLjAuMC0zMA==";
    // {"cidr":"10.1.0.0/30","allocations":[0],"attributes":[{"handle_id":"n.c1"}]}
    let value = "eyJjaWRyIjoiMTAuMS4wLjAvMzAiLCJhbGxvY2F0aW9ucyI6WzBdLCJhdHRyaWJ1dGVzIjpbeyJoYW5kbGVfaWQiOiJuLmMxIn1dfQ==";
    let answer = serde_json::json!({"header": {}, "kvs": [{"key": key, "value": value},
        {"key": key, "value": "e30"}, {"key": key, "value": "!"}, {"key": "eA==", "value": "e30="}], "count": 2});
    let found = read(Foreign::Calico, &answer.to_string(), None).unwrap();
    assert_eq!(shown(&found), ["n 10.1.0.0 c1 -/-"]);
    assert_eq!(found.skipped.len(), 2, "{:?}", found.skipped);
    let empty = r#"{"header": {"revision": 5}}"#;
    assert_eq!(read(Foreign::Calico, empty, None).unwrap(), Found::default());
}

#[test]
fn other_documents_are_refused() {
    for (kind, text, message) in [
        (Foreign::Whereabouts, "apiVersion: v1\nitems: &a []\n", "line 2"),
        (Foreign::Whereabouts, "{", "no JSON"),
        (Foreign::Whereabouts, &blocks().to_string(), "no IPPool"),
        (Foreign::Calico, POOLS, "no IPAM block"),
    ] {
        let failure = read(kind, text, None).unwrap_err();
        assert!(failure.message.contains(message), "{failure}");
        assert!(failure.advice.contains("kubectl get"), "{}", failure.advice);
    }
    assert_eq!(read(Foreign::Whereabouts, r#"{"items": []}"#, None).unwrap(), Found::default());
}

/// The document with one value anywhere in it replaced.
fn spoiled(value: &Value, at: &mut usize, with: &Value) -> Value {
    if *at == 0 {
        *at = usize::MAX;
        return with.clone();
    }
    *at = at.saturating_sub(1);
    match value {
        Value::Array(values) => values.iter().map(|value| spoiled(value, at, with)).collect(),
        Value::Object(object) => Value::Object(
            object.iter().map(|(key, value)| (key.clone(), spoiled(value, at, with))).collect(),
        ),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn a_spoiled_value_is_no_end(
        calico in any::<bool>(),
        at in 0_usize..70,
        with in prop_oneof![
            Just(Value::Null), any::<i64>().prop_map(Value::from), ".{0,8}".prop_map(Value::from),
            Just(Value::Array(vec![Value::from(-1), Value::from(u64::MAX)])),
            Just(serde_json::json!({"spec": {}, "-1": 5})),
        ],
    ) {
        let (kind, document) = if calico {
            (Foreign::Calico, blocks())
        } else {
            (Foreign::Whereabouts, serde_json::from_str(POOLS).unwrap())
        };
        let whole = shown(&read(kind, &document.to_string(), None).unwrap()).len();
        if let Ok(found) = read(kind, &spoiled(&document, &mut at.clone(), &with).to_string(), None) {
            prop_assert!(shown(&found).len() <= whole + 2);
        }
    }

    #[test]
    fn no_text_is_too_much(calico in any::<bool>(), text in "[{}\\[\\]\":,a0\n]{0,60}") {
        let kind = if calico { Foreign::Calico } else { Foreign::Whereabouts };
        let _ = read(kind, &text, Some("n"));
    }
}
