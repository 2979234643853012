//! `plat import --to-pool`.

use ipam_pool::key::Keys;
use serde_json::json;
use support::etcd;

use super::{Cluster, addr};

fn whereabouts(allocations: &serde_json::Value) -> String {
    json!({"kind": "List", "items": [
        {"kind": "IPPool", "metadata": {"name": "lan-10.64.8.0-24"},
         "spec": {"range": "10.64.8.0/24", "allocations": allocations}},
        {"kind": "OverlappingRangeIPReservation", "metadata": {"name": "lan-10.64.8.9"},
         "spec": {"containerid": "c9", "podref": "default/nine", "ifname": "net1"}},
    ]})
    .to_string()
}

#[test]
fn whereabouts_becomes_reservations_that_end_with_their_pods() {
    if !etcd::available("whereabouts_becomes_reservations_that_end_with_their_pods") {
        return;
    }
    let mut cluster = Cluster::new();
    let two = json!({
        "7": {"id": "c7", "podref": "default/seven", "ifname": "net1"},
        "8": {"id": "c8", "podref": "default/eight", "ifname": "net1"},
    });
    let path = cluster.scratch.write("wb.json", whereabouts(&two));
    let path = path.to_str().expect("UTF-8");
    let import = ["import", "--from", "whereabouts", "--path", path, "--to-pool", "pods"];
    let dry = cluster.plat(&[&import[..], &["--dry-run"]].concat()).ends(0);
    dry.says("0 addresses in use and 3 reservations would be written to pool pods");
    assert_eq!(cluster.address("10.64.8.7"), None);
    cluster.plat(&import).ends(0).says("3 addresses written");
    let record = cluster.address("10.64.8.9").expect("a record");
    assert_eq!((&record["st"], &record["p"]), (&json!("resv"), &json!("default/nine")));
    // Again: nothing is written twice.
    cluster.plat(&import).ends(0).says("3 were there already");
    cluster.plat(&["check", "--cluster"]).ends(0);

    // A pod is gone.
    let one = json!({"7": {"id": "c7", "podref": "default/seven", "ifname": "net1"}});
    cluster.scratch.write("wb.json", whereabouts(&one));
    cluster.plat(&[&import[..], &["--prune"]].concat()).ends(0).says("1 reservations ended");
    assert_eq!(cluster.address("10.64.8.8"), None);
    assert!(cluster.address("10.64.8.7").is_some());
}

#[test]
fn yaml_as_kubectl_prints_it_is_read() {
    if !etcd::available("yaml_as_kubectl_prints_it_is_read") {
        return;
    }
    let cluster = Cluster::new();
    let text = "apiVersion: v1\nitems:\n- apiVersion: whereabouts.cni.cncf.io/v1alpha1\n  kind: IPPool\n  \
                metadata:\n    name: 10.64.8.0-24\n  spec:\n    allocations:\n      \"7\":\n        id: c7\n        \
                podref: default/seven\n    range: 10.64.8.0/24\nkind: List\n";
    let path = cluster.scratch.write("wb.yaml", text);
    let path = path.to_str().expect("UTF-8");
    let import = ["import", "--from", "whereabouts", "--path", path, "--to-pool", "pods"];
    cluster.plat(&import).ends(0).says("1 addresses written");
}

#[test]
fn calicos_addresses_stay_on_their_nodes() {
    if !etcd::available("calicos_addresses_stay_on_their_nodes") {
        return;
    }
    let mut cluster = Cluster::new();
    let block = |cidr: &str, host: &str, pods: &[(u32, &str, &str)]| {
        let mut allocations = vec![serde_json::Value::Null; 64];
        let mut attributes = Vec::new();
        for (position, (ordinal, pod, node)) in pods.iter().enumerate() {
            allocations[*ordinal as usize] = json!(position);
            attributes.push(json!({
                "handle_id": format!("k8s-pod-network.{}", pod.replace('/', "-")),
                "secondary": {"node": node, "namespace": pod.split('/').next(), "pod": pod.split('/').nth(1)},
            }));
        }
        json!({"kind": "IPAMBlock", "metadata": {"name": cidr}, "spec": {
            "cidr": cidr, "affinity": format!("host:{host}"), "allocations": allocations,
            "attributes": attributes,
        }})
    };
    let document = json!({"items": [
        block("10.64.8.0/26", "vm-1", &[(1, "a/one", "vm-1"), (2, "a/two", "vm-1"), (3, "a/lent", "vm-2")]),
        block("10.64.9.0/26", "vm-9", &[(1, "a/away", "vm-9")]),
        block("10.64.0.0/26", "vm-1", &[(2, "a/clash", "vm-1")]),
    ]});
    let path = cluster.scratch.write("calico.json", document.to_string());
    let path = path.to_str().expect("UTF-8");
    let import = ["import", "--from", "calico", "--path", path, "--to-pool", "pods"];
    let done = cluster.plat(&import).ends(1);
    done.says("refused 10.64.0.2 is in use already by default/web-0 on vm-1");
    done.says("note 10.64.9.1 is on vm-9, which is no node here; it is reserved");
    done.says("4 addresses written, 1 blocks claimed");
    let one = cluster.address("10.64.8.1").expect("a record");
    assert_eq!((&one["u"], &one["b"], &one["x"]), (&json!("u-1"), &json!("boot-1"), &json!("imp")));
    assert_eq!(cluster.address("10.64.8.3").expect("a record")["st"], "resv");
    assert_eq!(cluster.address("10.64.9.1").expect("a record")["st"], "resv");
    let block = cluster.get(Keys::default().block("default", addr("10.64.8.0"))).expect("a block");
    assert_eq!(
        (&block["u"], &block["len"], &block["m"]),
        (&json!("u-1"), &json!(26), &json!("local"))
    );
    assert_eq!(cluster.get(Keys::default().block("default", addr("10.64.9.0"))), None);
    cluster.plat(&["check", "--cluster"]).ends(0);
    cluster.plat(&import).ends(1).says("4 were there already");
}

#[test]
fn many_addresses_are_written_in_batches() {
    if !etcd::available("many_addresses_are_written_in_batches") {
        return;
    }
    let mut cluster = Cluster::new();
    let allocations: serde_json::Map<String, serde_json::Value> = (0..1500)
        .map(|n| (n.to_string(), json!({"id": format!("c{n}"), "podref": format!("default/p{n}")})))
        .collect();
    let document = json!({"kind": "IPPool", "metadata": {"name": "x"},
        "spec": {"range": "10.64.8.0/21", "allocations": allocations}});
    let path = cluster.scratch.write("wb.json", document.to_string());
    let path = path.to_str().expect("UTF-8");
    let import = ["import", "--from", "whereabouts", "--path", path, "--to-pool", "pods", "--json"];
    let done = cluster.plat(&import).ends(0).document();
    assert_eq!((&done["written"]["addresses"], &done["left"]), (&json!(1500), &json!(0)));
    assert!(cluster.address("10.64.13.219").is_some());
}
