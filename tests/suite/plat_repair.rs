//! `plat check`, `gc` and `release` on a node whose state is broken by hand: what is broken is found and
//! repaired, and what lives stays.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use support::{
    Call, Killer, NetworkDir, Node, Outcome, Scratch, binary, finish, install_script, is_root,
    program, reservation, skip_unless,
};

const NETWORK: &str = "pods";

/// A node with a network of host-local in the default places, and pods that are network namespaces.
struct Site {
    node: Node,
    config: Value,
}

impl Site {
    fn new() -> Self {
        let node = Node::start("vm-003");
        for name in ["host-local", "plat"] {
            node.install(&binary(name));
        }
        node.ok(&["mkdir", "-p", "/run/netns"]);
        let range_sets = json!([[{"subnet": "10.8.0.0/16"}], [{"subnet": "fd00:8::/64"}]]);
        let config = json!({
            "cniVersion": "1.0.0", "name": NETWORK, "type": "bridge",
            "ipam": {"type": "host-local", "ranges": range_sets},
        });
        Self { node, config }
    }

    fn needed(test: &str) -> bool {
        skip_unless(test, &[(is_root(), "root")])
    }

    fn call(&self, command: &str, id: &str) -> Vec<IpAddr> {
        let plugin = self.node.plugins().join("host-local");
        let mut call = self.node.command(&[plugin.to_str().expect("a path")]);
        call.env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", id)
            .env("CNI_NETNS", format!("/run/netns/{id}"))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/run/plugins");
        let outcome = finish(&mut call, self.config.to_string().as_bytes());
        let addresses = outcome.addresses();
        addresses.iter().map(|text| text.parse().expect("an address")).collect()
    }

    /// A pod: a namespace with its addresses, and what the runtime writes down of it.
    fn pod(&self, id: &str) -> Vec<IpAddr> {
        self.node.add_namespace(id);
        let addresses = self.call("ADD", id);
        self.node.ok(&["ip", "-n", id, "link", "set", "lo", "up"]);
        for address in &addresses {
            let address = address.to_string();
            self.node.ok(&["ip", "-n", id, "addr", "add", &address, "dev", "lo"]);
        }
        self.write_result(id, &addresses);
        addresses
    }

    /// Ends a pod as a crash does: without a DEL.
    fn lose(&self, id: &str) {
        self.node.ok(&["ip", "netns", "delete", id]);
    }

    /// The result as libcni keeps it.
    fn write_result(&self, id: &str, addresses: &[IpAddr]) {
        let ips: Vec<Value> = addresses
            .iter()
            .map(|address| {
                let prefix = if address.is_ipv4() { 16 } else { 64 };
                json!({"address": format!("{address}/{prefix}")})
            })
            .collect();
        let entry = json!({
            "kind": "cniCacheV1", "containerId": id, "ifName": "eth0", "networkName": NETWORK,
            "netns": format!("/run/netns/{id}"), "config": base64(&self.config.to_string()),
            "cniArgs": [["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", format!("web-{id}")]],
            "result": {"cniVersion": "1.0.0", "ips": ips},
        });
        self.node.write(format!("/var/lib/cni/results/{NETWORK}-{id}-eth0"), entry.to_string());
    }

    fn network(&self) -> NetworkDir {
        self.node.network(NETWORK).directory().clone()
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.network().path().join(name), content).expect("a file can be written");
    }

    fn held(&self) -> BTreeMap<IpAddr, String> {
        self.network().reservations()
    }

    fn plat(&self, arguments: &[&str]) -> Outcome {
        let plat = self.node.plugins().join("plat");
        self.node.run(&[&[plat.to_str().expect("a path")], arguments].concat())
    }

    /// The problems that `plat check` finds, and its exit status.
    fn check(&self, arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
        let outcome = self.plat(&[&["check", "--json"], arguments].concat());
        let problems = outcome.json()["problems"].as_array().expect("a list").clone();
        (problems, outcome.exit)
    }

    fn kinds(&self, arguments: &[&str]) -> Vec<String> {
        let kind = |problem: &Value| problem["kind"].as_str().expect("a kind").to_owned();
        self.check(arguments).0.iter().map(kind).collect()
    }

    /// Asserts that just these problems are there, that nothing is done to them without a yes, and that
    /// all of them are repaired with one.
    fn is_repaired(&self, kinds: &[&str], severity: i32) {
        let (problems, exit) = self.check(&["--grace", "0s"]);
        let found: Vec<&str> = problems.iter().filter_map(|one| one["kind"].as_str()).collect();
        assert_eq!(found, kinds, "{problems:#?}");
        assert_eq!(exit, Some(severity));
        let before = support::Snapshot::of(self.network().path());
        let refused = self.plat(&["check", "--fix", "--grace", "0s"]);
        assert_eq!(refused.exit, Some(3), "{}{}", refused.stdout, refused.stderr);
        assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
        assert_eq!(support::Snapshot::of(self.network().path()), before);
        let (problems, exit) = self.check(&["--fix", "--yes", "--grace", "0s"]);
        for problem in &problems {
            assert_eq!(problem["outcome"], "fixed", "{problem:#}");
        }
        assert_eq!((problems.len(), exit), (kinds.len(), Some(0)));
        let (problems, exit) = self.check(&["--grace", "0s"]);
        assert_eq!((problems.as_slice(), exit), (&[][..], Some(0)));
    }
}

fn base64(text: &str) -> String {
    let mut child = std::process::Command::new(program("base64"))
        .arg("--wrap=0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("base64 can be started");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(text.as_bytes()).expect("base64 reads");
    drop(stdin);
    let output = child.wait_with_output().expect("base64 ends");
    String::from_utf8(output.stdout).expect("base64 is text")
}

#[test]
fn a_sound_state_has_nothing_wrong() {
    if !Site::needed("plat_repair::a_sound_state") {
        return;
    }
    let site = Site::new();
    let outcome = site.plat(&["check"]);
    assert_eq!(outcome.exit, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    for id in ["a", "b"] {
        site.pod(id);
    }
    assert_eq!(site.check(&["--verbose", "--grace", "0s"]), (Vec::new(), Some(0)));
    let outcome = site.plat(&["check", "none"]);
    assert_eq!(outcome.exit, Some(3));
    assert!(outcome.stderr.contains(NETWORK), "{}", outcome.stderr);
}

#[test]
fn an_empty_reservation_is_put_away() {
    if !Site::needed("plat_repair::an_empty_reservation") {
        return;
    }
    let site = Site::new();
    site.pod("a");
    let before = site.held();
    site.put("10.8.0.77", "");
    site.put("fd00:8::77", "");
    site.is_repaired(&["empty", "empty"], 1);
    assert_eq!(site.held(), before);
}

#[test]
fn marks_and_rests_of_a_crash_are_put_away() {
    if !Site::needed("plat_repair::marks_and_rests") {
        return;
    }
    let site = Site::new();
    site.pod("a");
    let before = site.held();
    site.put("last_reserved_ip.0", "10.8.0.");
    site.put("last_reserved_ip.1", "10.9.0.5");
    site.put(".plat.tmp.0", &reservation("x", "eth0"));
    site.is_repaired(&["mark", "foreign", "mark-outside"], 1);
    assert_eq!(site.held(), before);
    assert_eq!(site.network().strangers(), [] as [String; 0]);
}

#[test]
fn a_leak_is_freed_and_the_living_stay() {
    if !Site::needed("plat_repair::a_leak") {
        return;
    }
    let site = Site::new();
    for id in ["a", "b", "c"] {
        site.pod(id);
    }
    // Of one nobody knows anything: it stays.
    let unknown = site.call("ADD", "nobody");
    site.lose("b");
    assert_eq!(site.kinds(&["--verbose"]), ["leaked", "leaked", "unknown", "unknown"]);
    // Too young to be sure.
    let (_, exit) = site.check(&["--fix", "--yes"]);
    assert_eq!((site.held().len(), exit), (8, Some(1)));
    site.is_repaired(&["leaked", "leaked"], 1);
    let network = site.network();
    assert_eq!(network.held_by("b", "eth0"), [] as [IpAddr; 0]);
    assert_eq!(network.held_by("nobody", "eth0"), unknown);
    assert_eq!(site.held().len(), 6);
}

#[test]
fn an_address_that_somebody_has_is_never_freed() {
    if !Site::needed("plat_repair::an_address_that_somebody_has") {
        return;
    }
    let site = Site::new();
    let addresses = site.pod("a");
    site.lose("a");
    // Its namespace lives on under another name, as when a container outlives its runtime.
    site.node.add_namespace("other");
    site.node.ok(&["ip", "-n", "other", "link", "set", "lo", "up"]);
    let address = addresses[0].to_string();
    site.node.ok(&["ip", "-n", "other", "addr", "add", &address, "dev", "lo"]);
    assert_eq!(site.kinds(&["--grace", "0s"]), ["doubtful", "leaked"]);
    let outcome = site.plat(&["gc", "--netns", "--grace", "0s"]);
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    let (_, exit) = site.check(&["--fix", "--yes", "--grace", "0s"]);
    assert_eq!(exit, Some(1));
    assert_eq!(site.network().held_by("a", "eth0"), addresses[..1]);
}

#[test]
fn a_removed_reservation_is_written_again() {
    if !Site::needed("plat_repair::a_removed_reservation") {
        return;
    }
    let site = Site::new();
    let addresses = site.pod("a");
    site.pod("b");
    let before = site.held();
    let file = site.network().path().join(addresses[0].to_string());
    fs::remove_file(file).expect("a reservation can be removed");
    site.is_repaired(&["unrecorded"], 2);
    assert_eq!(site.held(), before);
    assert_eq!(site.call("DEL", "a"), [] as [IpAddr; 0]);
    assert_eq!(site.held().len(), 2);
}

#[test]
fn a_directory_removed_under_living_pods_is_made_again() {
    if !Site::needed("plat_repair::a_directory_removed") {
        return;
    }
    let site = Site::new();
    for id in ["a", "b"] {
        site.pod(id);
    }
    let before = site.held();
    site.node.ok(&["rm", "-r", "/var/lib/cni/networks"]);
    let (problems, exit) = site.check(&[]);
    assert_eq!((problems.len(), exit), (4, Some(2)), "{problems:#?}");
    let (problems, exit) = site.check(&["--fix", "--yes"]);
    assert_eq!((problems.len(), exit), (4, Some(0)), "{problems:#?}");
    assert_eq!(site.held(), before);
    // The next one does not get what is in use.
    let new = site.call("ADD", "c");
    assert!(new.iter().all(|address| !before.contains_key(address)), "{new:?}");
}

#[test]
fn an_index_that_lies_is_removed() {
    if !Site::needed("plat_repair::an_index_that_lies") {
        return;
    }
    let site = Site::new();
    let network = site.network();
    network.fill("10.8.1.2".parse().expect("an address"), 100);
    // Two: the first makes the index, the second finds it.
    site.pod("a");
    site.pod("b");
    assert_eq!(site.kinds(&[]), [] as [String; 0]);
    // A content that is changed in place changes no name, and no store looks for that.
    site.put("10.8.1.9", &reservation("moved", "eth0"));
    site.is_repaired(&["index"], 2);
    site.call("DEL", "moved");
    assert_eq!(network.held_by("moved", "eth0"), [] as [IpAddr; 0]);
    assert_eq!(site.held().len(), 103);
}

#[test]
fn what_nobody_can_judge_is_told_and_left() {
    if !Site::needed("plat_repair::what_nobody_can_judge") {
        return;
    }
    let site = Site::new();
    let addresses = site.pod("a");
    site.put("10.8.0.77", "what is this");
    site.put("FD00:8::2", &reservation("a", "eth0"));
    site.put("10.200.0.1", &reservation("a", "eth1"));
    site.put("README", "text");
    site.put("\u{1b}[31mred", "");
    let before = support::Snapshot::of(site.network().path());
    let expected = ["twice", "unreadable", "outside", "foreign", "foreign"];
    assert_eq!(site.kinds(&[]), expected);
    assert_eq!(addresses[1].to_string(), "fd00:8::2");
    let outcome = site.plat(&["check", "--fix", "--yes"]);
    assert_eq!(outcome.exit, Some(2));
    assert!(!outcome.stdout.contains('\u{1b}'), "{}", outcome.stdout);
    assert_eq!(support::Snapshot::of(site.network().path()), before);
}

#[test]
fn gc_frees_by_namespaces_and_by_a_list() {
    if !Site::needed("plat_repair::gc") {
        return;
    }
    let site = Site::new();
    for id in ["a", "b"] {
        site.pod(id);
    }
    for id in ["c", "d"] {
        site.call("ADD", id);
    }
    site.lose("b");
    let outcome = site.plat(&["gc"]);
    assert_eq!(outcome.exit, Some(3));
    assert!(outcome.stderr.contains("--netns"), "{}", outcome.stderr);
    let before = site.held();
    for arguments in [&["gc", "--netns"][..], &["gc", "--netns", "--grace", "0s", "--dry-run"]] {
        let outcome = site.plat(arguments);
        assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
        assert_eq!(site.held(), before, "{arguments:?}");
    }
    let document = site.plat(&["gc", "--netns", "--grace", "0s", "--json"]).json();
    assert_eq!(document["freed"].as_array().map(Vec::len), Some(2), "{document:#}");
    assert_eq!(document["freed"][0]["pod"], "default/web-b");
    assert_eq!(site.held().len(), 6);

    // A list that knows none of its attachments says nothing about a network.
    site.node.write("/run/list", "x eth0\n");
    let outcome = site.plat(&["gc", "--valid", "/run/list", "--grace", "0s"]);
    assert!(outcome.stderr.contains("left alone"), "{}", outcome.stderr);
    assert_eq!(site.held().len(), 6);
    // `a` is not in the list, but lives.
    let list = json!([{"containerID": "c", "ifname": "eth0"}]);
    site.node.write("/run/list", list.to_string());
    let outcome = site.plat(&["gc", "--valid", "/run/list", "--grace", "0s"]);
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    let network = site.network();
    for (id, held) in [("a", 2), ("c", 2), ("d", 0)] {
        assert_eq!(network.held_by(id, "eth0").len(), held, "{id}");
    }
    site.node.write("/run/list", "[]");
    let outcome = site.plat(&["gc", NETWORK, "--valid", "/run/list", "--grace", "0s"]);
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    assert_eq!(site.held().len(), 2);
}

#[test]
fn nothing_is_freed_where_other_nodes_may_hold_it() {
    if !Site::needed("plat_repair::nothing_is_freed_where_other_nodes") {
        return;
    }
    let mut site = Site::new();
    site.config["ipam"]["shared"] = json!(true);
    site.pod("a");
    site.pod("b");
    site.lose("a");
    site.put("10.8.0.77", "");
    assert_eq!(site.kinds(&["--grace", "0s"]), ["empty", "leaked", "leaked"]);
    let before = support::Snapshot::of(site.network().path());
    let (_, exit) = site.check(&["--fix", "--yes", "--grace", "0s"]);
    assert_eq!(exit, Some(1));
    let outcome = site.plat(&["gc", "--netns", "--grace", "0s", "--verbose"]);
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("other nodes use this directory"), "{}", outcome.stdout);
    let refused = site.plat(&["release", "--container", "a"]);
    assert_eq!(refused.exit, Some(3));
    assert_eq!(support::Snapshot::of(site.network().path()), before);
    let outcome = site.plat(&["release", "--container", "a", "--force"]);
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    assert_eq!(site.held().len(), 3, "the empty one, too");
}

#[test]
fn release_says_whose_it_is() {
    if !Site::needed("plat_repair::release") {
        return;
    }
    let site = Site::new();
    let addresses = site.pod("a");
    let address = addresses[0].to_string();
    for arguments in [&[address.as_str()][..], &["--container", "a"], &["--pod", "default/web-a"]] {
        let outcome = site.plat(&[&["release"], arguments].concat());
        assert_eq!(outcome.exit, Some(3), "{arguments:?}");
        for part in ["container a", "pod default/web-a", "/run/netns/a", "--force"] {
            assert!(outcome.stderr.contains(part), "{arguments:?}: {}", outcome.stderr);
        }
    }
    assert_eq!(site.held().len(), 2);
    let outcome = site.plat(&["release", &address, "--force"]);
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    assert_eq!(site.network().held_by("a", "eth0"), addresses[1..]);
    site.lose("a");
    let outcome = site.plat(&["release", "--pod", "default/web-a"]);
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    assert!(site.held().is_empty());
    let outcome = site.plat(&["release", &address]);
    assert_eq!(outcome.exit, Some(3));
    site.call("ADD", "abc1");
    site.call("ADD", "abc2");
    assert_eq!(site.plat(&["release", "--container", "abc"]).exit, Some(3), "ambiguous");
    assert_eq!(site.plat(&["release", "--container", "abc2"]).exit, Some(0));
    assert_eq!(site.held().len(), 2);
}

#[test]
fn an_export_is_read_again() {
    if !Site::needed("plat_repair::an_export") {
        return;
    }
    let site = Site::new();
    for id in ["a", "b"] {
        site.pod(id);
    }
    let before = site.held();
    let outcome = site.plat(&["export", NETWORK, "--to", "json", "/run/pods.json"]);
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    let import = ["import", NETWORK, "--from", "json", "--path", "/run/pods.json", "--into", "dir"];
    let outcome = site.plat(&[&import[..], &["--data-dir", "/run/copy"]].concat());
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    let copy = NetworkDir::new(&site.node.path("/run/copy"), NETWORK);
    assert_eq!(copy.reservations(), before);
    // Held by others: nothing is changed.
    let file = copy.path().join(before.keys().next().expect("one").to_string());
    fs::write(file, reservation("other", "eth0")).expect("a file can be written");
    let changed = copy.reservations();
    let outcome = site.plat(&[&import[..], &["--data-dir", "/run/copy"]].concat());
    assert_eq!(outcome.exit, Some(3));
    assert!(outcome.stderr.contains("is held by other eth0"), "{}", outcome.stderr);
    assert_eq!(copy.reservations(), changed);
}

#[test]
fn an_ordinary_user_is_told_which_file_is_closed() {
    if !Site::needed("plat_repair::an_ordinary_user") {
        return;
    }
    let site = Site::new();
    site.pod("a");
    let plat: PathBuf = site.node.plugins().join("plat");
    let plat = plat.to_str().expect("a path");
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", plat];
    let outcome = site.node.run(&[&as_nobody[..], &["check"]].concat());
    assert_eq!(outcome.exit, Some(2), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("/var/lib/cni/networks/pods/"), "{}", outcome.stdout);
    let outcome = site.node.run(&[&as_nobody[..], &["release", "10.8.0.2"]].concat());
    assert_eq!(outcome.exit, Some(3), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stderr.contains("permission denied"), "{}", outcome.stderr);
}

/// Killed at any system call, an import is done or not begun, once the next call has been there.
#[test]
fn an_import_killed_at_every_system_call() {
    if !skip_unless("plat_repair::an_import_killed", &[(Killer::works(), "strace")]) {
        return;
    }
    let scratch = Scratch::on_tmpfs("import");
    let plugin = binary("host-local");
    let data_dir = scratch.path().join("networks");
    let network = NetworkDir::new(&data_dir, NETWORK);
    let allocations: Vec<Value> = (1..=5)
        .map(|n| json!({"address": format!("10.8.0.{n}"), "container": format!("c{n}"), "ifname": "eth0", "since": 5}))
        .collect();
    let document = json!({
        "version": 1, "network": NETWORK, "allocations": allocations, "marks": {"0": "10.8.0.5"},
    });
    let file = scratch.write("pods.json", document.to_string());
    let script = format!(
        "exec \"$0\" import {NETWORK} --from json --into dir --path {} --data-dir {}",
        file.display(),
        data_dir.display()
    );
    let shell = program("sh");
    let words = [shell.as_os_str(), OsStr::new("-c"), OsStr::new(&script)];
    let import = install_script(&scratch.join("import"), &words, &binary("plat"));
    let killer = Killer::new(&import, &scratch.path().join("killer"));
    let prepare = || {
        for place in ["networks", "state", "run"] {
            let _ = fs::remove_dir_all(scratch.path().join(place));
        }
        network.fill("10.8.1.0".parse().expect("an address"), 2);
        network.reservations()
    };
    let call = |path: &Path| Call::new(path, "ADD").state_in(scratch.path());
    let before = prepare();
    let calls = killer.system_calls(call);
    let after = network.reservations();
    assert_eq!((before.len(), after.len()), (2, 7));
    let (mut begun, mut done) = (0, 0);
    for (name, count) in calls {
        for nth in 1..=count {
            prepare();
            if killer.kill_at(&name, nth, call).exit.is_some() {
                continue;
            }
            // Any call takes back what was left half done.
            let config = json!({
                "cniVersion": "1.0.0", "name": NETWORK, "type": "bridge",
                "ipam": {"type": "host-local", "dataDir": data_dir, "subnet": "10.8.0.0/16"},
            });
            let del =
                Call::new(&plugin, "DEL").id("nobody").config(&config).state_in(scratch.path());
            del.run().ok();
            let left = network.reservations();
            assert!(left == before || left == after, "{name} {nth}: {left:?}");
            *(if left == before { &mut begun } else { &mut done }) += 1;
            // Once more, and it is done.
            let again = call(&import).run();
            assert_eq!(again.exit, Some(0), "{name} {nth}: {}", again.stderr);
            assert_eq!(network.reservations(), after, "{name} {nth}");
        }
    }
    assert!(begun > 5 && done > 0, "{begun} and {done}");
}
