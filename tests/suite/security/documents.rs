//! Input of any size and shape, to every plugin: an answer in bounded time and memory, and nothing outside its place.

use serde_json::{Value, json};
use support::{have, install_script, program, skip_unless};

use super::{Bench, NETWORK, PLUGINS, refused};

/// Memory that a plugin may map, in bytes.
const MEMORY: &str = "--as=536870912";

#[test]
fn endless_deep_and_unreadable_input_is_refused() {
    const TEST: &str = "endless_deep_and_unreadable_input_is_refused";
    if !skip_unless(TEST, &[(have("prlimit"), "prlimit is not installed")]) {
        return;
    }
    for plugin in PLUGINS {
        let bench = Bench::new();
        let limited = bench.scratch.join("limited");
        let prlimit = program("prlimit");
        install_script(&limited, &[prlimit.as_os_str(), MEMORY.as_ref()], &support::binary(plugin));
        let good = bench.config(plugin, json!({})).to_string();
        let mut endless = good.clone().into_bytes();
        endless.resize(32 << 20, b' ');
        let deep = good.replace("\"ipam\":", &format!("\"x\":{}1,\"ipam\":", "[".repeat(500_000)));
        let mut twice = good.clone();
        twice.insert_str(twice.len() - 1, ",\"name\":\"../../evil\"");
        for (input, code, text) in [
            (endless, 6, "larger than 1048576 bytes"),
            (deep.into_bytes(), 6, "recursion limit exceeded"),
            ([b"\xff\xfe", good.as_bytes()].concat(), 6, "line 1 column 1"),
            (good.replace("net\"", "n\u{0}\"").into_bytes(), 6, "control character"),
            (good.replace("\"net\"", "\"n\\u0000\"").into_bytes(), 7, "network name"),
            (good.replace("\"net\"", "\"../../evil\"").into_bytes(), 7, "network name"),
            // As everywhere, the last of two equal keys counts; it is that one which is checked.
            (twice.into_bytes(), 7, "network name"),
        ] {
            for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
                // What a GC may send is more: a line for each attachment of the node.
                if command == "GC" && text.starts_with("larger") {
                    continue;
                }
                let call = bench.call(plugin, command, &Value::Null).through(&limited);
                let outcome = call.stdin(input.clone()).run();
                let said = refused(&outcome, code, &format!("{plugin} {command} {text}"));
                assert!(said.contains(text), "{plugin} {command}: {said}");
            }
        }
        assert!(
            !bench.run_dir().exists() && !bench.state().exists(),
            "{plugin} has made something"
        );
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for plugin in PLUGINS {
        let bench = Bench::new();
        let config = bench.config(plugin, json!({}));
        for (variable, value) in [
            ("CNI_CONTAINERID", "../c1"),
            ("CNI_CONTAINERID", "c1/../../x"),
            ("CNI_CONTAINERID", ".."),
            ("CNI_CONTAINERID", "c1\n"),
            ("CNI_IFNAME", "../eth0"),
            ("CNI_IFNAME", ".."),
            ("CNI_IFNAME", "eth0/.."),
            ("CNI_IFNAME", "eth0 x"),
            ("CNI_IFNAME", "a-name-of-17-char"),
        ] {
            for command in ["ADD", "DEL", "CHECK"] {
                let outcome = bench.call(plugin, command, &config).env(variable, value).run();
                refused(&outcome, 4, &format!("{plugin} {command} {variable}={value:?}"));
            }
        }
        assert!(
            !bench.run_dir().exists() && !bench.state().exists(),
            "{plugin} has made something"
        );
    }
}

/// Nothing can be kept under such a name; so a DEL has nothing to do, and must not keep a pod from ending.
#[test]
fn names_longer_than_a_file_name_keep_no_pod() {
    for plugin in PLUGINS {
        let bench = Bench::new();
        for (name, id) in
            [("n".repeat(5000), "c1".to_owned()), (NETWORK.to_owned(), "c".repeat(5000))]
        {
            let mut config = bench.config(plugin, json!({}));
            config["name"] = json!(name);
            // etcd and VPP are away; the others may find room for the name.
            let added = bench.call(plugin, "ADD", &config).id(&id).run();
            if added.exit != Some(0) {
                assert!(added.json()["code"].is_u64(), "{plugin}: {}", added.stdout);
                assert!(added.stdout.len() < 9000, "{plugin} says too much");
            }
            bench.call(plugin, "DEL", &config).id(&id).run().ok();
            let top = json!({"cniVersion": "1.1.0", "name": name, "type": "chain"});
            bench.call("chain", "DEL", &top).id(&id).run().ok();
        }
    }
}

/// What nobody reads is named to people without what moves their cursor.
#[test]
fn control_characters_reach_no_terminal() {
    for plugin in PLUGINS {
        let bench = Bench::new();
        let odd = "\u{1b}[2J\r\n\u{0}\u{9b}";
        let mut config = bench.config(plugin, json!({odd: 1, "dataDir": odd, "resolvConf": odd}));
        config[odd] = json!(odd);
        config["socket"] = json!(format!("/{odd}"));
        for command in ["ADD", "DEL", "CHECK", "STATUS"] {
            let outcome = bench
                .call(plugin, command, &config)
                .env("CNI_ARGS", format!("IP={odd}").replace('\0', ""))
                .run();
            let lines = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
            assert!(!lines(&outcome.stderr), "{plugin} {command}: {:?}", outcome.stderr);
            assert!(!lines(&outcome.stdout), "{plugin} {command}: {:?}", outcome.stdout);
        }
    }
}

/// A chain and VPP call other plugins: only those in a directory of CNI_PATH.
#[test]
fn plugins_outside_cni_path_are_not_run() {
    let bench = Bench::new();
    let ran = bench.at("ran");
    let touch = program("touch");
    let command = [touch.as_os_str(), ran.as_os_str()];
    let evil = install_script(&bench.scratch.join("evil"), &command, "/dev/null".as_ref());
    let dir = bench.scratch.join("bin/x");
    let dir = dir.parent().expect("it has one");
    for kind in [
        evil.display().to_string(),
        "../evil".to_owned(),
        "./../evil".to_owned(),
        "..".to_owned(),
        ".".to_owned(),
        "/bin/true".to_owned(),
        "evil\n".to_owned(),
    ] {
        let node_local = super::node_local();
        let top = |main: &str, ipam: Value| json!({"cniVersion": "1.1.0", "name": NETWORK, "type": "chain", "main": {"type": main}, "ipams": [ipam]});
        let around = |main: &str, ipam: Value| json!({"cniVersion": "1.1.0", "name": NETWORK, "type": main, "ipam": ipam});
        for (plugin, config) in [
            ("chain", around("bridge", json!({"type": "chain", "ipams": [{"type": kind}]}))),
            (
                "chain",
                around("bridge", json!({"type": "chain", "ipams": [node_local, {"type": kind}]})),
            ),
            ("chain", top(&kind, node_local.clone())),
            ("chain", top("bridge", json!({"type": kind}))),
            ("vpp", around("vpp", json!({"type": kind}))),
        ] {
            for command in ["ADD", "STATUS"] {
                let call =
                    bench.call(plugin, command, &config).env("CNI_PATH", dir.display().to_string());
                let code = if command == "ADD" { 7 } else { 50 };
                refused(&call.run(), code, &format!("{plugin} {command} {config}"));
            }
            for command in ["DEL", "GC"] {
                let mut config = config.clone();
                config["cni.dev/valid-attachments"] = json!([]);
                let call =
                    bench.call(plugin, command, &config).env("CNI_PATH", dir.display().to_string());
                call.run();
            }
            assert!(!ran.exists(), "{plugin} has run {kind:?}");
        }
    }
}
