//! What the agent tells about itself: metrics, health, and what `plat agent status` makes of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use support::documented;
use support::{Call, Outcome, binary, wait_until};

use super::cluster::{Cluster, Node, available};

const PORT: u16 = 9434;

/// A registered node that answers on a port, too.
fn watched(cluster: &Cluster, index: u8) -> Node {
    let mut node = cluster.node(index);
    let mut config = node.registered(cluster);
    config["listen"] = json!(format!("127.0.0.1:{PORT}"));
    config["routes"]["resync"] = json!("1s");
    node.configure(&config);
    node.start();
    node
}

/// What the agent answers on its socket to what is written there.
fn spoken(node: &Node, request: &[u8]) -> String {
    let path = node.scratch.path().join("run/agent/agent.sock");
    let Ok(mut stream) = UnixStream::connect(path) else { return String::new() };
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
    let mut answer = Vec::new();
    // One that has said enough already may have let go.
    let _ = stream.write_all(request);
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(node: &Node, path: &str) -> String {
    spoken(node, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
}

/// The value of a metric with its labels.
fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

fn waits_for_metric(node: &Node, name: &str, right: impl Fn(f64) -> bool) {
    wait_until(&format!("{name} is right"), || {
        metric(&get(node, "/metrics"), name).is_some_and(&right)
    });
}

/// `plat` in the node's namespace, with the node's state.
fn plat(node: &Node, words: &[&str]) -> (Option<i32>, String, String) {
    let plat = binary("plat");
    let mut command: Command = node.space.command(plat.to_str().expect("a path"), words);
    for (variable, place) in [("PLAT_STATE_DIR", "state"), ("PLAT_RUN_DIR", "run")] {
        command.env(variable, node.scratch.path().join(place));
    }
    let Output { status, stdout, stderr } = command.output().expect("plat can be run");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// Waits until `plat agent status` ends so, and gives what it says.
fn waits_for_status(node: &Node, words: &[&str], exit: i32) -> String {
    let mut said = String::new();
    wait_until(&format!("plat agent status {words:?} ends with {exit}"), || {
        let told = plat(node, &[&["agent", "status"], words].concat());
        said = told.1;
        told.0 == Some(exit)
    });
    said
}

#[test]
fn a_node_tells_how_it_is_while_etcd_goes_and_comes_back() {
    if !available("a_node_tells_how_it_is_while_etcd_goes_and_comes_back") {
        return;
    }
    let cluster = Cluster::new();
    let nowhere = cluster.node(3);
    let one = watched(&cluster, 1);
    let _two = watched(&cluster, 2);
    one.waits_for_route("10.1.2.0/24 via 192.168.16.2 dev eth0 proto 205");
    wait_until("it is ready", || get(&one, "/readyz").ends_with("\r\n\r\nok\n"));
    let present = |family: &str| {
        format!("plat_routes_present{{sink=\"kernel, table main\",family=\"{family}\"}}")
    };
    for family in ["ipv4", "ipv6"] {
        waits_for_metric(&one, &present(family), |value| value == 1.0);
    }
    let text = get(&one, "/metrics");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{text}");
    let asked = "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n\r\n";
    let open = spoken(&one, asked.as_bytes());
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(open.contains(kind) && open.ends_with("# EOF\n"), "{open}");
    let added = "plat_route_changes_total{sink=\"kernel, table main\",family=\"ipv4\",action=\"add\",outcome=\"done\"}";
    for (name, right) in [
        ("plat_source_up{source=\"pool\",position=\"0\"}", 1.0),
        ("plat_sink_up{sink=\"kernel, table main\"}", 1.0),
        ("plat_agent_ready", 1.0),
        ("plat_sources_complete", 1.0),
    ] {
        assert_eq!(metric(&text, name), Some(right), "{name} in\n{text}");
    }
    for (name, least) in [
        (added, 1.0),
        ("plat_agent_resyncs_total", 1.0),
        ("plat_agent_resync_duration_seconds_count", 1.0),
        ("plat_agent_resident_memory_bytes", 100_000.0),
        ("plat_agent_start_time_seconds", 1_700_000_000.0),
    ] {
        assert!(metric(&text, name) >= Some(least), "{name} in\n{text}");
    }
    // People are told the same.
    let said = waits_for_status(&one, &[], 0);
    assert!(said.contains("on vm-001, running for ") && said.contains(", ready\n"), "{said}");
    assert!(said.contains("  kernel, table main  up "), "{said}");
    let said = waits_for_status(&one, &["--json"], 0);
    documented(["plat", "agent", "status", "--json"], &said);
    let document: Value = serde_json::from_str(&said).expect("a document");
    assert_eq!(document["ready"], true, "{said}");
    assert_eq!(document["totals"][0]["present"], 2, "{said}");
    assert_eq!(document["sinks"][0]["routes"][0]["destination"], "10.1.2.0/24", "{said}");
    waits_for_status(&one, &["--address", &format!("127.0.0.1:{PORT}")], 0);

    cluster.cut();
    wait_until("it is not ready", || get(&one, "/readyz").starts_with("HTTP/1.1 503 "));
    let said = get(&one, "/readyz");
    assert!(said.ends_with("a source in etcd cannot be read; routes stay as they are\n"), "{said}");
    assert!(get(&one, "/healthz").ends_with("\r\n\r\nok\n"), "the loop turns");
    waits_for_metric(&one, "plat_source_up{source=\"pool\",position=\"0\"}", |value| value == 0.0);
    waits_for_metric(&one, "plat_agent_troubles{cause=\"etcd\"}", |value| value >= 1.0);
    waits_for_metric(&one, "plat_agent_errors_total{cause=\"etcd\"}", |value| value >= 1.0);
    assert_eq!(metric(&get(&one, "/metrics"), &present("ipv4")), Some(1.0), "it stays");
    let said = waits_for_status(&one, &[], 1);
    assert!(said.contains("not ready: a source in etcd cannot be read"), "{said}");
    assert!(
        said.contains("  etcd  ") && said.contains("pool (routes.sources[0])  away "),
        "{said}"
    );
    assert!(one.log().contains(" WARN ") && one.log().contains("cause=\"etcd\""), "{}", one.log());

    cluster.mend();
    wait_until("it is ready again", || get(&one, "/readyz").ends_with("\r\n\r\nok\n"));
    waits_for_metric(&one, "plat_source_up{source=\"pool\",position=\"0\"}", |value| value == 1.0);
    waits_for_metric(&one, "plat_agent_troubles{cause=\"etcd\"}", |value| value == 0.0);
    assert!(metric(&get(&one, "/metrics"), "plat_agent_errors_total{cause=\"etcd\"}") >= Some(1.0));
    waits_for_status(&one, &[], 0);

    // Where none runs, that is said, and what to do.
    let (exit, said, why) = plat(&nowhere, &["agent", "status"]);
    assert_eq!((exit, said.as_str()), (Some(3), ""), "{why}");
    assert!(why.contains("no plat-agent answers at") && why.contains("is it running"), "{why}");
    // The log as documents.
    let (exit, said) = nowhere_logged(nowhere);
    assert_eq!(exit, Some(3), "{said}");
}

/// An agent that cannot begin says so whatever the format.
fn nowhere_logged(node: Node) -> (Option<i32>, String) {
    node.configure(&json!({"log": "loud"}));
    node.agent(&["--once", "--log-format", "json"])
}

#[test]
fn calls_of_plugins_pools_and_the_outbox_are_counted() {
    if !available("calls_of_plugins_pools_and_the_outbox_are_counted") {
        return;
    }
    let cluster = Cluster::new();
    let node = watched(&cluster, 1);
    let call = |command: &str, id: &str, ipam: Value| -> Outcome {
        let plugin = binary(ipam["type"].as_str().expect("a type"));
        let config = json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "ipam": ipam});
        Call::new(&plugin, command).state_in(node.scratch.path()).id(id).config(&config).run()
    };
    let local = json!({
        "type": "node-local", "index": 1,
        "ranges": [[{"subnet": "10.9.0.0/29", "rangeStart": "10.9.0.2", "rangeEnd": "10.9.0.3"}]],
    });
    let pool = json!({
        "type": "etcd-pool", "etcd": cluster.etcd.connection(),
        "pool": {"name": "pods", "cidr": "10.64.0.0/16", "block": 28},
    });
    for id in ["c1", "c2"] {
        call("ADD", id, local.clone()).ok();
    }
    assert_eq!(call("ADD", "c3", local.clone()).json()["code"], 11);
    call("DEL", "c1", local.clone()).ok();
    // What changes nothing is not counted.
    call("DEL", "c1", local.clone()).ok();
    call("ADD", "c2", local.clone()).ok();
    wait_until("the pool serves", || call("ADD", "c4", pool.clone()).exit == Some(0));
    call("DEL", "c4", pool.clone()).ok();
    let of = |ipam: &str, command: &str, outcome: &str| {
        format!("{{ipam=\"{ipam}\",network=\"net\",command=\"{command}\",outcome=\"{outcome}\"}}")
    };
    let calls = |ipam: &str, command: &str, outcome: &str| {
        format!("plat_calls_total{}", of(ipam, command, outcome))
    };
    for (name, expected) in [
        (calls("node-local", "ADD", "done"), 2.0),
        (calls("node-local", "ADD", "refused"), 1.0),
        (calls("node-local", "DEL", "done"), 1.0),
        (calls("etcd-pool", "ADD", "done"), 1.0),
        (calls("etcd-pool", "DEL", "done"), 1.0),
        ("plat_allocations{ipam=\"node-local\",network=\"net\"}".to_owned(), 1.0),
    ] {
        waits_for_metric(&node, &name, |value| value == expected);
    }
    let range = "{ipam=\"node-local\",network=\"net\",ranges=\"10.9.0.2-10.9.0.3\"}";
    waits_for_metric(&node, &format!("plat_pool_addresses_allocated{range}"), |value| value == 1.0);
    let text = get(&node, "/metrics");
    for (name, expected) in [("plat_pool_addresses", 2.0), ("plat_pool_addresses_free", 1.0)] {
        assert_eq!(metric(&text, &format!("{name}{range}")), Some(expected), "{name} in\n{text}");
    }
    let seconds = format!("plat_call_seconds_total{}", of("node-local", "ADD", "done"));
    assert!(metric(&text, &seconds) > Some(0.0), "{text}");
    let block = "plat_blocks{pool=\"default/pods\",family=\"ipv4\",state=\"";
    let sum: f64 = ["used", "empty"]
        .iter()
        .filter_map(|state| metric(&text, &format!("{block}{state}\"}}")))
        .sum();
    assert!(sum >= 1.0, "{text}");
    // Everything is written sooner or later.
    waits_for_metric(&node, "plat_outbox_records", |value| value == 0.0);
    assert!(metric(&get(&node, "/metrics"), "plat_pool_contact_age_seconds").is_some());
}

#[test]
fn slow_broken_and_far_clients_hurt_nobody() {
    if !available("slow_broken_and_far_clients_hurt_nobody") {
        return;
    }
    let cluster = Cluster::new();
    let mut node = watched(&cluster, 1);
    wait_until("it answers", || get(&node, "/healthz").ends_with("\r\n\r\nok\n"));
    let socket = node.scratch.path().join("run/agent/agent.sock");
    let mode = |path: &std::path::Path| {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    };
    assert_eq!((mode(&socket), mode(socket.parent().expect("a directory"))), (0o600, 0o700));
    // Clients that say nothing, as many as there are places, and more.
    let silent: Vec<UnixStream> =
        (0..40).map(|_| UnixStream::connect(&socket).expect("it listens")).collect();
    let mut begun = UnixStream::connect(&socket).expect("it listens");
    begun.write_all(b"GET /healthz HT").expect("it can be written");
    assert!(
        get(&node, "/healthz").ends_with("\r\n\r\nok\n"),
        "others are answered meanwhile or then"
    );
    for mut stream in silent.into_iter().chain([begun]) {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
        // Let go, whether with words or without.
        if let Err(error) = stream.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it is let go");
        }
    }
    // What is no request, or too much of one.
    let long =
        |length: usize| format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(length));
    let many = format!(
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        (0..200).map(|n| format!("x{n}: y\r\n")).collect::<String>()
    );
    let statuses = |request: &str| {
        let answer = spoken(&node, request.as_bytes());
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", &["404"][..]),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", &["405"]),
        ("\0\u{1}\u{2}\r\n\r\n", &["400", ""]),
        ("GET\r\n\r\n", &["400", ""]),
        (&long(100_000), &["400", "414", "431", ""]),
        (&many, &["400", "431", ""]),
        ("HEAD /status HTTP/1.1\r\n\r\n", &["200"]),
    ] {
        let status = statuses(request);
        let shown: String = request.chars().take(40).collect();
        assert!(expected.contains(&status.as_str()), "{shown:?}: {status}");
    }
    // One that says all of it and does not wait.
    let mut hasty = UnixStream::connect(&socket).expect("it listens");
    hasty.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("it can be written");
    hasty.shutdown(Shutdown::Both).expect("it can go");
    assert!(get(&node, "/healthz").ends_with("\r\n\r\nok\n"));
    // On the port a name counts: a browser that was led here has another one.
    let asked = |host: &str| node.get(PORT, &format!("/healthz HTTP/1.1\r\nHost: {host}\r\nX:"));
    let answers: BTreeSet<String> = ["localhost", "127.0.0.1:9434", "[::1]"]
        .iter()
        .map(|host| asked(host).lines().next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(answers, BTreeSet::from(["HTTP/1.1 200 OK".to_owned()]));
    assert!(asked("evil.example").starts_with("HTTP/1.1 421 "), "{}", asked("evil.example"));
    node.end();
    assert!(!socket.exists(), "nothing is left");
}
