//! Paths of a configuration that lead nowhere.

use std::fs;

use serde_json::json;
use support::Plugin;

use super::{Expected, PLUGINS, bench, good, touched};

/// A result's file of DNS settings: code 5, since a path is no wrong value in itself.
#[test]
fn resolv_conf_that_cannot_be_read() {
    for plugin in PLUGINS {
        for place in ["missing", "dir", "file/below"] {
            let bench = bench(plugin);
            bench.scratch().write("dir/x", "");
            bench.scratch().write("file", "");
            let path = bench.scratch().path().join(place).display().to_string();
            let mut config = good(&bench);
            config["ipam"]["resolvConf"] = json!(path);
            let outcome = bench.call("ADD", &config).run();
            let expected =
                Expected { code: 5, path: "ipam.resolvConf".to_owned(), value: vec![path] };
            assert_eq!(expected.complaints(&outcome), [] as [String; 0], "{}", outcome.stdout);
            // An ADD could not be served, so STATUS says so.
            assert_eq!(bench.call("STATUS", &config).run().error().0, 50);
            bench.del("c1", &config);
            assert_eq!(touched(&bench), [] as [String; 0]);
        }
    }
}

/// The template folder is the usual one, not the working directory of whoever started the runtime.
#[test]
fn an_empty_folder_is_no_folder() {
    let bench = bench(Plugin::NodeLocal);
    let evil = json!({"ipam": {"ranges": [[{"subnet": "66.6.6.0/24"}]]}}).to_string();
    bench.scratch().write("cwd/evil", evil);
    bench.scratch().write("cwd/index", "66");
    let config = bench.config(json!({"cfgDir": "", "cfg": "evil"}));
    let outcome = bench.call("ADD", &config).directory(&bench.scratch().path().join("cwd")).run();
    let (code, message) = outcome.error();
    assert!(code == 7 && message.contains("/etc/cni/node-local/evil"), "{message}");
    assert_eq!(touched(&bench), [] as [String; 0]);
}

/// Names that no file can have: nothing is there, so nothing can be deleted, and nothing sticks.
#[test]
fn names_that_no_file_can_have() {
    for plugin in PLUGINS {
        for (name, dir) in [("n".repeat(256), ""), ("n".repeat(2000), ""), ("n".to_owned(), "d")] {
            let bench = bench(plugin);
            fs::create_dir(bench.data()).expect("a scratch directory can be made");
            let before = bench.snapshot();
            let mut config = good(&bench);
            config["name"] = json!(name);
            config["ipam"]["dataDir"] = json!(bench.data().join(dir.repeat(256)));
            config["ipam"]["store"] = json!("dir");
            let (code, message) = bench.call("ADD", &config).run().error();
            assert!(code == 5 && message.contains("file name too long"), "{code} {message}");
            bench.del("c1", &config);
            bench.call("GC", &bench.gc_config(&config, &[])).run().ok();
            assert_eq!(before.changes(&bench.snapshot()), [] as [String; 0]);
        }
        // The longest name that a directory can have.
        let bench = bench(plugin);
        let mut config = good(&bench);
        config["name"] = json!("n".repeat(255));
        config["ipam"]["store"] = json!("dir");
        assert_eq!(bench.add("c1", &config), ["10.1.2.2"]);
        let stripped =
            json!({"cniVersion": "1.1.0", "name": config["name"], "ipam": {"type": plugin.name()}});
        bench.del("c1", &stripped);
        assert!(!bench.data().join("n".repeat(255)).join("10.1.2.2").exists());
    }
}
