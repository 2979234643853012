//! What an operator does before VPP runs: `preflight`, `nics`, `startup-conf`.

use std::fs;
use std::path::Path;
use std::process::Command;

use support::vpp::Setup;
use support::{binary, is_root};

use super::{System, check};

#[test]
fn nics_tell_which_one_can_be_taken() {
    let system = System::two_cards();
    system.write("usr/share/misc/pci.ids", "8086  Intel\n\t100e  82540EM Gigabit\n");
    let answer = system.plat(&["nics"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.stderr);
    assert_eq!(
        answer.stdout,
        "\
PCI           NAME  DRIVER  STATE  MAC                   SPEED  DEFAULT ROUTE
0000:00:03.0  eth0  e1000   up     52:54:00:00:00:04  1 Gbit/s  IPv4           82540EM Gigabit
0000:00:04.0  eth1  e1000   down   52:54:00:00:00:04  1 Gbit/s  -              82540EM Gigabit
"
    );
    let document = system.plat(&["nics", "--json"]).document();
    let nics = document["nics"].as_array().expect("a list");
    assert_eq!((&nics[0]["default_route"]["ipv4"], &nics[1]["up"]), (&true.into(), &false.into()));
    assert_eq!((&nics[1]["pci"], &nics[1]["id"]), (&"0000:00:04.0".into(), &"8086:100e".into()));
    let empty = System::new().plat(&["nics"]);
    assert_eq!(empty.exit, Some(0));
    assert!(empty.stdout.contains("--all"), "{}", empty.stdout);
}

#[test]
fn a_node_that_lacks_nothing_is_ready() {
    let system = System::two_cards();
    let vpp = system.vpp(Setup::default());
    let answer = system.plat(&["preflight", "--pci", "00:04.0", "--json"]);
    let document = answer.document();
    if is_root() {
        assert_eq!((answer.exit, &document["warnings"]), (Some(0), &0.into()), "{document:#}");
    }
    assert_eq!((&document["failures"], &document["skipped"]), (&0.into(), &0.into()));
    let found = check(&document, "nic-in-vpp")["found"].as_str().expect("a text");
    assert!(found.contains("GigabitEthernet0/4/0"), "{found}");
    assert_eq!(vpp.complaints(), [""; 0]);
    // By name it is the same device.
    let by_name = system.plat(&["preflight", "--interface", "eth1", "--json"]).document();
    assert_eq!(by_name["checks"], document["checks"]);
    let text = system.plat(&["preflight", "--interface", "eth1"]).stdout;
    assert!(text.contains("OK    nic-down"), "{text}");
}

/// Every release in the table of the miniature has all that is used, and each of its plugins is missed.
#[test]
fn what_vpp_lacks_is_told() {
    let system = System::two_cards();
    for release in ["22.10", "24.06", "26.06"] {
        let _vpp = system.vpp(Setup::release(release));
        let document = system.plat(&["preflight", "--json"]).document();
        for name in ["socket", "version", "messages", "af-packet", "tap", "memif"] {
            assert_eq!(check(&document, name)["verdict"], "ok", "{release} {document:#}");
        }
    }
    for (without, verdicts, exit) in [
        (vec!["tapv2"], ["ok", "warn", "ok"], 1),
        (vec!["af_packet", "tapv2", "memif"], ["fail", "fail", "fail"], 2),
    ] {
        let _vpp = system.vpp(Setup { without, ..Setup::default() });
        let answer = system.plat(&["preflight", "--json"]);
        let document = answer.document();
        let found = ["af-packet", "tap", "memif"].map(|name| &check(&document, name)["verdict"]);
        assert_eq!(found, verdicts, "{document:#}");
        assert_eq!(answer.exit, Some(exit));
        let advice = check(&document, "tap")["advice"].as_str().expect("a text");
        assert!(advice.contains("plugin tap_plugin.so { enable }"), "{advice}");
    }
    let _vpp = system.vpp(Setup { strange: vec!["ip_route_add_del_v2"], ..Setup::default() });
    let strange = system.plat(&["preflight", "--json"]).document();
    let messages = check(&strange, "messages");
    assert_eq!(messages["verdict"], "fail");
    let found = messages["found"].as_str().expect("a text");
    assert!(found.contains("ip_route_add_del_v2 has another layout"), "{found}");
}

/// Releases that many pods by veth stop, where the node's configurations attach pods so.
#[test]
fn pods_by_veth_are_warned_of() {
    let system = System::two_cards();
    let of = |release: &str, verdict: &str, part: &str| {
        let _vpp = system.vpp(Setup::release(release));
        let document = system.plat(&["preflight", "--json"]).document();
        let finding = check(&document, "veth-burst");
        assert_eq!(finding["verdict"], verdict, "{release}: {finding}");
        assert!(finding["found"].as_str().expect("a text").contains(part), "{finding}");
    };
    of("26.06", "ok", "attaches no pod by veth");
    let vpp = r#"{"type": "vpp", "kind": "veth", "ipam": {"type": "host-local"}}"#;
    system.write(
        "etc/cni/net.d/10-pods.conflist",
        &format!(r#"{{"cniVersion": "1.0.0", "name": "pods", "plugins": [{vpp}]}}"#),
    );
    of("26.06", "warn", "network pods attaches by veth");
    of("24.06", "ok", "any number of pods");
    // A chain has it as its main plugin.
    system.write(
        "etc/cni/net.d/20-more.conf",
        &format!(r#"{{"cniVersion": "1.0.0", "name": "more", "type": "chain", "main": {vpp}}}"#),
    );
    of("26.06", "warn", "networks pods, more attach by veth");
    let _vpp = system.vpp(Setup::release("26.06"));
    let answer = system.plat(&["preflight"]);
    assert_eq!(answer.exit, Some(1), "{}", answer.stderr);
    assert!(answer.stdout.contains("WARN  veth-burst"), "{}", answer.stdout);
}

#[test]
fn a_vpp_that_does_not_answer_is_told_apart_from_none() {
    let system = System::two_cards();
    let verdict = |expected: &str, part: &str, arguments: &[&str]| {
        let answer = system.plat(&[&["preflight", "--json"], arguments].concat());
        let document = answer.document();
        let socket = check(&document, "socket");
        assert_eq!(socket["verdict"], expected, "{socket}");
        assert!(socket["found"].as_str().expect("a text").contains(part), "{socket}");
        assert_eq!(check(&document, "version")["verdict"], "skipped");
        assert_eq!(answer.exit, Some(if expected == "fail" { 2 } else { 1 }));
    };
    verdict("warn", "does not run", &[]);
    verdict("fail", "there is no", &["--socket", "/run/vpp/api.sock"]);
    let mut vpp = system.vpp(Setup::default());
    vpp.kill();
    verdict("fail", "nobody", &[]);
    drop(vpp);
    system.write("run/vpp/api.sock", "");
    verdict("fail", "no socket", &[]);
}

#[test]
fn a_device_that_must_not_be_taken_is_told() {
    let system = System::two_cards();
    let answer = system.plat(&["preflight", "--interface", "eth0"]);
    assert_eq!(answer.exit, Some(2));
    assert!(answer.stdout.contains("FAIL  nic-default-route"), "{}", answer.stdout);
    let answer = system.plat(&["preflight", "--pci", "0000:00:09.0"]);
    assert!(answer.stdout.contains("no network device at 0000:00:09.0"), "{}", answer.stdout);
    for wrong in [&["--pci", "eth0"][..], &["--pci", "00:03.0", "--interface", "eth0"]] {
        let answer = system.plat(&[&["preflight"], wrong].concat());
        assert_eq!((answer.exit, answer.stdout.as_str()), (Some(3), ""), "{}", answer.stderr);
    }
}

#[test]
fn a_startup_configuration_is_written_once_and_kept() {
    let system = System::two_cards();
    let conf = system.at("etc/vpp/startup.conf");
    let write = |more: &[&str]| {
        let fixed = ["startup-conf", "--pci", "0000:00:04.0", "--write", "/etc/vpp/startup.conf"];
        system.plat(&[&fixed, more].concat())
    };
    let answer = write(&[]);
    assert_eq!(answer.exit, Some(0), "{} {}", answer.stdout, answer.stderr);
    let first = fs::read_to_string(&conf).expect("it is written");
    assert!(first.contains("\n  dev 0000:00:04.0\n") && first.contains("gid vpp"), "{first}");
    assert!(write(&[]).stdout.contains("was so already"));
    let answer = write(&["--workers", "2"]);
    assert_eq!(answer.exit, Some(3));
    assert!(answer.stderr.contains("--force"), "{}", answer.stderr);
    assert_eq!(fs::read_to_string(&conf).expect("it is there"), first, "it is as it was");
    let answer = write(&["--workers", "2", "--force", "--json"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.stderr);
    let document = answer.document();
    let backup = document["backup"].as_str().expect("a path");
    assert_eq!(fs::read_to_string(backup).expect("a copy"), first);
    assert!(fs::read_to_string(&conf).expect("it is there").contains("workers 2"));
    assert_eq!(write(&["--workers", "4"]).exit, Some(3), "four processors are too few");
}

#[test]
fn a_device_with_the_default_route_is_not_given_away() {
    let system = System::two_cards();
    let arguments = ["startup-conf", "--pci", "0000:00:03.0", "--write", "/etc/vpp/startup.conf"];
    system.at("etc/vpp/x");
    let answer = system.plat(&arguments);
    assert_eq!(answer.exit, Some(3), "{}", answer.stdout);
    assert!(answer.stderr.contains("default route"), "{}", answer.stderr);
    assert!(!system.at("etc/vpp/startup.conf").exists());
    let answer = system.plat(&[&arguments[..], &["--force"]].concat());
    assert_eq!(answer.exit, Some(1), "it was warned of: {}", answer.stderr);
    // To look at it, it is printed, and warned of.
    let answer = system.plat(&arguments[..3]);
    assert_eq!(answer.exit, Some(1));
    assert!(answer.stdout.contains("dev 0000:00:03.0"), "{}", answer.stdout);
    assert!(answer.stderr.contains("FAIL: eth0 (0000:00:03.0) carries"), "{}", answer.stderr);
}

#[test]
fn without_a_device_none_is_taken() {
    let system = System::two_cards();
    let text = system.plat(&["startup-conf"]).stdout;
    assert!(text.contains("\n  no-pci\n"), "{text}");
    assert!(text.contains("page-size default-hugepage"), "there are huge pages: {text}");
    let text = system.plat(&["startup-conf", "--hugepages", "no"]).stdout;
    assert!(text.contains("no-hugetlb") && text.contains("page-size 4k"), "{text}");
    for wrong in [
        &["--socket", "api.sock"][..],
        &["--socket", "/run/a b"],
        &["--pci", "00:04.0", "--pci", "0000:00:04.0"],
        &["--force"],
    ] {
        let answer = system.plat(&[&["startup-conf"], wrong].concat());
        assert_eq!((answer.exit, answer.stdout.as_str()), (Some(3), ""), "{wrong:?}");
    }
}

/// On this machine, whatever it is, nothing fails to be looked at; nothing is changed.
#[test]
fn the_machine_itself_can_be_looked_at() {
    for arguments in [&["nics", "--all"][..], &["preflight"], &["startup-conf"]] {
        let output = Command::new(binary("plat")).arg("vpp").args(arguments).output();
        let output = output.expect("plat can be started");
        assert!(output.status.code() <= Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    let Some(socket) = std::env::var_os("VPP_API_SOCK") else { return };
    let output = Command::new(binary("plat"))
        .args(["vpp", "preflight", "--json", "--socket"])
        .arg(Path::new(&socket))
        .output()
        .expect("plat can be started");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for name in ["socket", "version", "messages", "af-packet"] {
        assert_eq!(check(&document, name)["verdict"], "ok", "{document:#}");
    }
}
