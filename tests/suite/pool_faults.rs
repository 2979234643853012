/*!
What may happen to a pool's etcd and to its nodes, one thing at a time, each with real etcds and real calls:
what a node says, what it still does, and how it comes back.
*/

mod autonomy;
mod identity;
mod snapshot;
mod space;
mod strangers;

use serde_json::{Value, json};
use support::{ClusterNode, Outcome};

/// A network on a pool of this mode, which is described in the configuration.
fn config(mode: &str, index: u32, connection: &Value) -> Value {
    let (name, cidr) = match mode {
        "local" => ("l", "10.80.0.0/24"),
        _ => ("s", "10.81.0.0/24"),
    };
    json!({
        "cniVersion": "1.1.0",
        "name": format!("net-{mode}"),
        "type": "bridge",
        "ipam": {
            "type": "etcd-pool",
            "index": index,
            "pool": { "name": name, "cidr": cidr, "blk": 28, "mode": mode },
            "etcd": connection,
        },
    })
}

/// The one address of an ADD that succeeds.
fn address(outcome: &Outcome) -> String {
    let mut addresses = outcome.addresses();
    assert_eq!(addresses.len(), 1, "{outcome:?}");
    addresses.remove(0)
}

/// Asserts the code of a failure, and that its texts have this in them.
fn assert_fails(outcome: &Outcome, code: u64, said: &str) {
    let (found, message) = outcome.error();
    assert_eq!(found, code, "{outcome:?}");
    let details = outcome.json()["details"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(said) || details.contains(said), "not {said:?}: {message}: {details}");
    assert!(!details.is_empty(), "nothing says what to do: {outcome:?}");
}

fn status(node: &ClusterNode, config: &Value) -> Outcome {
    node.call("STATUS", "", config)
        .without("CNI_CONTAINERID")
        .without("CNI_IFNAME")
        .without("CNI_NETNS")
        .run()
}

/// The runtime knows these attachments of a network, and no others.
fn collect(node: &ClusterNode, config: &Value, valid: &[&str]) -> Outcome {
    let of = |id: &&str| json!({"containerID": id, "ifname": "eth0"});
    let mut config = config.clone();
    config["cni.dev/valid-attachments"] = valid.iter().map(of).collect();
    node.call("GC", "", &config)
        .without("CNI_CONTAINERID")
        .without("CNI_IFNAME")
        .without("CNI_NETNS")
        .run()
}

fn check(node: &ClusterNode, id: &str, config: &Value, added: &Outcome) -> Outcome {
    let mut config = config.clone();
    config["prevResult"] = added.json();
    node.call("CHECK", id, &config).run()
}
