/*!
`plat status`, `ls`, `who`, `history` and `map`, pointed at a system of the test's own by `--root`.

The state is in directories of the reference's format, written by hand or by host-local; the ranges
come from a network configuration, as on a node that the reference has served so far.
*/

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use support::{Answer, Call, NetworkDir, Scratch, binary};

/// A root directory with one network, `pods`, of which so many addresses are held.
struct System {
    scratch: Scratch,
}

impl System {
    fn new(held: u32) -> Self {
        let system = Self { scratch: Scratch::new("show") };
        let conf = json!({
            "cniVersion": "1.0.0", "name": "pods", "plugins": [{
                "type": "bridge", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.2.0/24"}]]},
            }],
        });
        system.scratch.write("etc/cni/net.d/10-pods.conflist", conf.to_string());
        let first: IpAddr = "10.1.2.2".parse().expect("an address");
        if held > 0 {
            NetworkDir::new(&system.data_dir(), "pods").fill(first, held);
        }
        system
    }

    fn data_dir(&self) -> PathBuf {
        self.scratch.path().join("var/lib/cni/networks")
    }

    fn plat(&self, arguments: &[&str]) -> Answer {
        Answer::of(
            Command::new(binary("plat"))
                .arg("--root")
                .arg(self.scratch.path())
                .args(arguments)
                .env_remove("PLAT_STATE_DIR")
                .env_remove("PLAT_RUN_DIR"),
        )
    }
}

#[test]
fn status_tells_how_full_a_network_is_and_exits_so() {
    let system = System::new(50);
    let fine = system.plat(&["status", "--json"]);
    assert_eq!(fine.exit, Some(0), "{} {}", fine.stdout, fine.stderr);
    let document = fine.document();
    let network = &document["networks"][0];
    assert_eq!(network["network"], "pods");
    assert_eq!(network["store"], "dir");
    assert_eq!(network["held"], 50);
    let set = &network["sets"][0];
    assert_eq!((&set["size"], &set["used"], &set["free"]), (&253.into(), &50.into(), &203.into()));
    // 50 of 253 are 19.7 per cent.
    for (limits, exit) in [
        (["--warn", "19", "--critical", "95"], 1),
        (["--warn", "10", "--critical", "19"], 2),
        (["--warn", "20", "--critical", "20"], 0),
        (["--warn", "90", "--critical", "80"], 3),
    ] {
        let answer = system.plat(&[&["status", "pods"][..], &limits].concat());
        assert_eq!(answer.exit, Some(exit), "{limits:?} {} {}", answer.stdout, answer.stderr);
    }
    let table = system.plat(&["status"]);
    assert!(table.stdout.contains("  10.1.2.0/24 "), "{}", table.stdout);
    assert!(!table.stdout.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn a_full_network_is_critical() {
    let system = System::new(253);
    let answer = system.plat(&["status", "--warn", "100", "--critical", "100"]);
    assert_eq!(answer.exit, Some(2), "{}", answer.stdout);
    assert!(answer.stdout.contains("100 %") && answer.stdout.contains("none"), "{}", answer.stdout);
}

#[test]
fn an_unknown_network_is_answered_with_those_that_are_there() {
    let system = System::new(3);
    for command in [&["status", "nope"][..], &["ls", "nope"], &["map", "nope"]] {
        let answer = system.plat(command);
        assert_eq!(answer.exit, Some(3), "{command:?}");
        assert_eq!(
            answer.stderr, "plat: there is no network nope here\n      these are here: pods\n",
            "{command:?}"
        );
    }
    let empty = System::new(0);
    let answer = empty.plat(&["status"]);
    assert_eq!(answer.exit, Some(0), "{} {}", answer.stdout, answer.stderr);
    let answer = empty.plat(&["map", "pods"]);
    assert_eq!(answer.exit, Some(3));
    assert!(answer.stderr.contains("--data-dir"), "{}", answer.stderr);
}

#[test]
fn ls_lists_by_number() {
    let system = System::new(120);
    let answer = system.plat(&["ls"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.stderr);
    let addresses: Vec<&str> =
        answer.stdout.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    let expected: Vec<String> = (2..122).map(|n| format!("10.1.2.{n}")).collect();
    assert_eq!(addresses, expected);
    let document = system.plat(&["ls", "pods", "--json"]).document();
    assert_eq!(document["complete"], true);
    let first = &document["allocations"][0];
    assert_eq!((&first["address"], &first["network"]), (&"10.1.2.2".into(), &"pods".into()));
    let container = first["container"].as_str().expect("a container ID").to_owned();
    let one = system.plat(&["ls", "--json", "--container", &container]).document();
    assert_eq!(one["allocations"].as_array().map(Vec::len), Some(1), "{one}");
}

#[test]
fn who_finds_what_a_plugin_has_made() {
    let system = System::new(0);
    let config = json!({
        "cniVersion": "1.0.0", "name": "pods", "type": "bridge",
        "ipam": {"type": "host-local", "dataDir": system.data_dir(), "ranges": [[{"subnet": "10.1.2.0/24"}]]},
    });
    let added = Call::new(&binary("host-local"), "ADD")
        .id("0123456789abcdef0123")
        .config(&config)
        .state_in(system.scratch.path())
        .run();
    assert_eq!(added.exit, Some(0), "{}", added.stdout);
    for query in ["10.1.2.2", "0123", "0123456789abcdef0123"] {
        let answer = system.plat(&["who", query]);
        assert_eq!(answer.exit, Some(0), "{query}: {} {}", answer.stdout, answer.stderr);
        for part in ["10.1.2.2 is held", "0123456789abcdef0123", "eth0", "10.1.2.0/24", "10.1.2.1"]
        {
            assert!(answer.stdout.contains(part), "{part}: {}", answer.stdout);
        }
    }
    for (query, part) in [
        ("10.1.2.3", "10.1.2.3 is free in pods"),
        ("10.1.2.1", "10.1.2.1 is the gateway of pods"),
        ("10.1.2.255", "outside the range"),
        ("10.9.9.9", "in no range of any network"),
        ("nobody", "no pod and no container"),
    ] {
        let answer = system.plat(&["who", query]);
        assert_eq!(answer.exit, Some(1), "{query}: {}", answer.stdout);
        assert!(answer.stdout.contains(part), "{query}: {}", answer.stdout);
    }
    let document = system.plat(&["who", "10.1.2.2", "10.1.2.3", "--json"]).document();
    assert_eq!(document["answers"][0]["held"][0]["interface"], "eth0");
    assert_eq!(document["answers"][1]["standing"][0]["standing"], "free");
    assert_eq!(system.plat(&["who", "10.1.2.0/24"]).exit, Some(3));
}

#[test]
fn history_of_a_directory_is_what_is_held_now() {
    let system = System::new(1);
    let held = system.plat(&["history", "10.1.2.2"]);
    assert_eq!(held.exit, Some(0), "{}", held.stderr);
    assert!(held.stdout.contains("now"), "{}", held.stdout);
    let never = system.plat(&["history", "10.1.2.3"]);
    assert!(never.stdout.contains("nothing is recorded of 10.1.2.3"), "{}", never.stdout);
    let wrong = system.plat(&["history", "10.1.2"]);
    assert_eq!(wrong.exit, Some(3));
    assert!(wrong.stderr.contains("such as 10.1.2.3"), "{}", wrong.stderr);
}

#[test]
fn maps_are_printed_and_written() {
    let system = System::new(40);
    let map = system.plat(&["map", "pods"]);
    assert_eq!(map.exit, Some(0), "{}", map.stderr);
    let row = format!("10.1.2.0     ◆{}", "█".repeat(30));
    assert!(map.stdout.contains(&row), "{}", map.stdout);
    let file = system.scratch.join("map.svg");
    let path = file.to_string_lossy().into_owned();
    for arguments in
        [&["map", "pods", "--svg", &path][..], &["map", "pods", "--hilbert", "--svg", &path]]
    {
        let answer = system.plat(arguments);
        assert_eq!(answer.exit, Some(0), "{}", answer.stderr);
        let svg = fs::read_to_string(&file).expect("the picture is there");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<path class=\"u\"").count(), 40);
    }
    let standard_output = system.plat(&["status", "--svg", "-"]);
    assert!(standard_output.stdout.starts_with("<svg "), "{}", standard_output.stdout);
    let directory = system.scratch.path().to_string_lossy().into_owned();
    let refused = system.plat(&["map", "pods", "--svg", &directory]);
    assert_eq!(refused.exit, Some(3));
    assert!(refused.stderr.contains("directory"), "{}", refused.stderr);
}

#[test]
fn names_of_files_cannot_steer_a_terminal() {
    let system = System::new(1);
    let evil = system.data_dir().join("e\u{1b}[2Jvil");
    fs::create_dir_all(&evil).expect("a directory can be made");
    fs::write(evil.join("10.5.0.2"), "c\u{1b}1\r\neth0").expect("a file can be written");
    for arguments in [
        &["status"][..],
        &["ls"],
        &["who", "10.5.0.2"],
        &["map", "e\u{1b}[2Jvil"],
        &["status", "--json"],
        &["ls", "--json"],
        &["map", "e\u{1b}[2Jvil", "--svg", "-"],
        &["status", "\u{1b}[2J"],
    ] {
        let answer = system.plat(arguments);
        for text in [&answer.stdout, &answer.stderr] {
            assert!(!text.contains('\u{1b}'), "{arguments:?}: {text:?}");
        }
    }
}
