//! `status`, `who`, `explain`, `block ls`, `map`, `check` and `watch` of a cluster.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use ipam_pool::key::Keys;
use serde_json::{Value, json};
use support::documented;
use support::{etcd, wait_until};

use super::{Cluster, addr, block, used};

#[test]
fn pools_nodes_and_members_are_shown() {
    if !etcd::available("pools_nodes_and_members_are_shown") {
        return;
    }
    let mut cluster = Cluster::new();
    // Who leads is asked of each member, which has two seconds for its answer.
    let mut status = cluster.plat(&["status", "--cluster"]);
    wait_until("the member says that it leads", || {
        status.stdout.contains("leader") || {
            status = cluster.plat(&["status", "--cluster"]);
            false
        }
    });
    let status = status.ends(0);
    status.says("leader");
    status.says("3 nodes: 1 alive, 2 without an agent that tells");
    status.says("10.64.0.0/20 local");
    let mut document = cluster.plat(&["status", "--cluster", "--json"]).ends(0).document();
    wait_until("the member leads in the document, too", || {
        document["members"][0]["leader"] == true || {
            document = cluster.plat(&["status", "--cluster", "--json"]).ends(0).document();
            false
        }
    });
    let pool = &document["pools"][0];
    assert_eq!((&pool["pool"], &pool["blocks"]["claimed"]), (&json!("pods"), &json!(2)));
    // Of 4096 the network's two, the gateway and eight excluded ones are never given out.
    assert_eq!(pool["addresses"]["free"], 4096 - 11 - 2);
    cluster.plat(&["status", "--cluster", "nosuch"]).ends(3);

    // A full pool is critical, and so is one that nobody can read.
    let blocks: Vec<_> = (0..4)
        .map(|n| block(&format!("10.99.0.{}", n * 64), 3, "svc", "sync"))
        .chain((0..256).map(|n| used(&format!("10.99.0.{n}"), 3, &format!("a/{n}"))))
        .collect();
    cluster.put(blocks);
    let full = cluster.plat(&["status", "--cluster", "--json"]).ends(2).document();
    assert_eq!(full["pools"][1]["level"], 2);
}

#[test]
fn an_etcd_that_is_away_is_a_failure_that_names_it() {
    if !etcd::available("an_etcd_that_is_away_is_a_failure_that_names_it") {
        return;
    }
    let mut cluster = Cluster::new();
    cluster.etcd.kill(0);
    let away = cluster.plat(&["status", "--cluster"]).ends(3);
    assert!(away.stderr.contains(&cluster.etcd.endpoint(0)), "{}", away.stderr);
    // Without --cluster nothing needs etcd.
    cluster.plat(&["status"]).ends(0);
}

#[test]
fn an_address_is_found_and_explained() {
    if !etcd::available("an_address_is_found_and_explained") {
        return;
    }
    let cluster = Cluster::new();
    let who = cluster.plat(&["who", "--cluster", "10.64.3.69"]).ends(0);
    who.says("10.64.3.69 is used");
    who.says("node vm-2, index 2");
    let pods = cluster.plat(&["who", "--cluster", "--json", "web-0", "prod/api-0"]).ends(0);
    assert_eq!(pods.document()["answers"][1]["held"][0]["address"], "10.99.0.5");
    cluster.plat(&["who", "--cluster", "10.64.3.70"]).ends(1);

    let explained = cluster.plat(&["explain", "10.64.3.70"]).ends(0);
    explained.says("10.64.3.70 is free, as far as etcd knows");
    explained.says("next a pod on vm-2");
    cluster.plat(&["explain", "10.64.0.1"]).ends(0).says("is the gateway");
    cluster.plat(&["explain", "10.64.0.9"]).ends(0).says("is excluded");
    let nobody = cluster.plat(&["explain", "--json", "10.64.9.1"]).ends(0).document();
    assert_eq!((&nobody["next"]["kind"], &nobody["block"]), (&json!("claimer"), &Value::Null));
    assert_eq!(nobody["next"]["nodes"].as_array().map(Vec::len), Some(3));
    cluster.plat(&["explain", "192.0.2.1"]).ends(1);

    let blocks = cluster.plat(&["block", "ls", "--node", "vm-2"]).ends(0);
    blocks.says("10.64.3.64/26 pods vm-2");
    assert!(!blocks.stdout.contains("10.64.0.0/26"));
}

#[test]
fn blocks_are_drawn_with_their_nodes() {
    if !etcd::available("blocks_are_drawn_with_their_nodes") {
        return;
    }
    let mut cluster = Cluster::new();
    let name = json!({"name": "<b>&\u{1b}[31m", "idx": 1, "boot": "boot-1"});
    cluster.put(vec![(Keys::default().node("u-1"), name.to_string())]);
    let map = cluster.plat(&["map", "--cluster", "pods"]).ends(0);
    map.says("2 of 64 blocks are claimed");
    assert!(!map.stdout.contains('\u{1b}'));
    let svg = cluster.plat(&["map", "--cluster", "pods", "--svg", "-"]).ends(0).stdout;
    assert!(svg.starts_with("<svg ") && !svg.contains("<b>") && !svg.contains('\u{1b}'));
    assert!(svg.contains("10.64.3.64/26 of vm-2: 1 of 64 taken"), "{svg}");
}

#[test]
fn faults_are_told_and_mended() {
    if !etcd::available("faults_are_told_and_mended") {
        return;
    }
    let mut cluster = Cluster::new();
    cluster.plat(&["check", "--cluster"]).ends(0).says("nothing is wrong in etcd");
    let keys = Keys::default();
    let dangling = keys.exception("default", addr("10.99.0.77"));
    cluster.put(vec![
        (dangling.clone(), json!({"n": 1, "u": "u-1"}).to_string()),
        used("10.64.3.70", 1, "bad/\u{1b}[31mred"),
    ]);
    let found = cluster.plat(&["check", "--cluster"]).ends(2);
    found.says("10.64.3.70 (bad/\\u{1b}[31mred) is used by node vm-1 and lies in block 10.64.3.64/26 of vm-2");
    let mended =
        cluster.plat(&["check", "--cluster", "--fix", "--yes", "--json"]).ends(2).document();
    let outcomes: Vec<(&Value, &Value)> = mended["faults"]
        .as_array()
        .expect("faults")
        .iter()
        .map(|fault| (&fault["kind"], &fault["outcome"]))
        .collect();
    assert_eq!(
        outcomes,
        [
            (&json!("address-in-foreign-block"), &Value::Null),
            (&json!("exception-dangling"), &json!("fixed")),
        ]
    );
    assert_eq!(cluster.get(dangling), None);
    assert!(cluster.address("10.64.3.70").is_some(), "what a pod uses was freed");
}

#[test]
fn changes_are_told_as_they_happen() {
    if !etcd::available("changes_are_told_as_they_happen") {
        return;
    }
    let mut cluster = Cluster::new();
    let mut child = cluster
        .command(&["watch", "--json", "--only", "address", "--count", "2", "--for", "60s"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("plat can be started");
    let (key, value) = used("10.64.0.3", 1, "default/new");
    let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
    // It is not known when it has begun: the address comes and goes until both were told.
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in lines {
            let line = line.expect("a line");
            documented(["plat", "watch", "--json"], &line);
            let _ =
                sender.send(serde_json::from_str::<Value>(&line).expect("a document in a line"));
        }
    });
    let mut told = Vec::new();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while told.len() < 2 && std::time::Instant::now() < deadline {
        cluster.put(vec![(key.clone(), value.clone())]);
        cluster.txn(&ipam_pool::txn::Txn {
            then: vec![ipam_pool::txn::Op::delete(key.clone())],
            ..Default::default()
        });
        while let Ok(event) = receiver.recv_timeout(std::time::Duration::from_millis(200)) {
            told.push(event);
        }
    }
    assert!(child.wait().expect("plat ends").success());
    reader.join().expect("the reader ends");
    assert_eq!(told.len(), 2, "{told:?}");
    for event in &told {
        assert_eq!((&event["subject"], &event["object"]), (&json!("10.64.0.3"), &json!("address")));
        assert!(event["action"] == "used" || event["action"] == "freed", "{event}");
    }
}

#[test]
fn a_nodes_own_store_is_compared_and_written_anew() {
    use ipam_core::identity::{Attachment, ContainerId, IfName, Network};
    use ipam_pool::ledger::{Allocation, Ledger, Tx};
    use ipam_pool::node::{Block, BlockState, NodeState, PoolId};
    use ipam_stores::{Database, PoolLedger, StateDirs};

    if !etcd::available("a_nodes_own_store_is_compared_and_written_anew") {
        return;
    }
    let mut cluster = Cluster::new();
    cluster.put(vec![used("10.64.0.4", 1, "default/left")]);
    let reply = cluster.txn(&ipam_pool::txn::Txn {
        then: vec![ipam_pool::txn::Op::get(Keys::default().block("default", addr("10.64.0.0")))],
        ..Default::default()
    });
    let fence = reply.one(0).expect("the block").created;
    let state = StateDirs {
        durable: cluster.scratch.path().join("state"),
        volatile: cluster.scratch.path().join("run"),
    };
    let id = PoolId { space: "default".to_owned(), pool: "pods".to_owned() };
    let block = Block {
        id: id.clone(),
        first: addr("10.64.0.0"),
        prefix: 26,
        fence,
        mode: ipam_pool::record::Mode::Local,
        autonomy: 0,
        state: BlockState::Held,
    };
    let held = |address: &str, container: &str| Allocation {
        id: id.clone(),
        addr: addr(address),
        network: Network::new("net").expect("a network"),
        attachment: Attachment {
            container: ContainerId::new(container).expect("a container ID"),
            ifname: IfName::new("eth0").expect("an interface"),
        },
        owner: ipam_core::config::Owner::default(),
        nonce: "1".to_owned(),
        since: 1,
        revision: 0,
        fence,
        borrowed: false,
    };
    let database = Database::new(
        state.volatile.join("plat.db"),
        state.clone(),
        std::time::Duration::from_secs(20),
    );
    let mut ledger = PoolLedger::new(database, false);
    ledger
        .transact(|tx| {
            let uuid = "u-1".to_owned();
            tx.set_node(NodeState { uuid, blocks: vec![block.clone()], ..NodeState::default() })?;
            tx.insert(&held("10.64.0.2", "default-web-0"), 0)?;
            tx.insert(&held("10.64.0.3", "new"), 0)
        })
        .expect("the ledger can be written");
    let check = |more: &[&str]| {
        let mut command = std::process::Command::new(support::binary("plat"));
        let output = command
            .args(["--etcd", &cluster.etcd.endpoint(0), "check", "--cluster"])
            .args(more)
            .env("PLAT_STATE_DIR", &state.durable)
            .env("PLAT_RUN_DIR", &state.volatile)
            .output()
            .expect("plat can be started");
        (output.status.code(), String::from_utf8(output.stdout).expect("plat writes UTF-8"))
    };
    let (exit, text) = check(&[]);
    assert_eq!(exit, Some(1), "{text}");
    assert!(text.contains("10.64.0.3 is held by new, and etcd has no record"), "{text}");
    assert!(text.contains("etcd says that this node uses 10.64.0.4 for default/left"), "{text}");
    let (_, text) = check(&["--fix", "--yes"]);
    assert!(text.contains("2 of its records are written anew with its next flush"), "{text}");
    let waits = ledger.visit(|tx| tx.outbox(u64::MAX, 10)).expect("the ledger").expect("a store");
    assert_eq!(
        waits.iter().map(|dirty| dirty.addr).collect::<Vec<_>>(),
        [addr("10.64.0.3"), addr("10.64.0.4")]
    );
    // What waits to be written is no difference.
    let (exit, text) = check(&[]);
    assert_eq!(exit, Some(0), "{text}");
}
