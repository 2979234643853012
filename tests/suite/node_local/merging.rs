//! The configuration is the base; a template supplies what it does not say.

use std::fs;

use serde_json::{Value, json};
use support::{Holdings, Outcome, Workbench};

use super::{GENERATIONS, assert_refused, assert_untouched, ips, template};

fn bench() -> Workbench {
    let bench = Workbench::on_node(4, "merge");
    bench.template("default", template("percent-0.4.0", "default"));
    bench
}

fn in_version(bench: &Workbench, version: &str) -> Value {
    let mut config = bench.config(json!({"cfg": "default"}));
    config["cniVersion"] = json!(version);
    config
}

/// The template's version does not matter: the runtime gets the version that it asked for.
#[test]
fn the_version_is_the_callers() {
    for generation in GENERATIONS {
        for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            let bench = bench();
            bench.template("default", template(generation, "default"));
            let result = bench.call("ADD", &in_version(&bench, version)).run().ok();
            assert_eq!(result["cniVersion"], version);
            let old = ["0.1.0", "0.2.0"].contains(&version);
            let address = if old { &result["ip4"]["ip"] } else { &result["ips"][0]["address"] };
            assert_eq!(*address, "11.0.4.2/24", "{result}");
            // Since 1.0.0 neither empty DNS settings nor the address's version are there.
            let new = ["1.0.0", "1.1.0"].contains(&version);
            assert_eq!(result["dns"].is_null(), new, "{result}");
            assert_eq!(result["ips"][0]["version"] == "4", !new && !old, "{result}");
        }
    }
}

/// STATUS and GC came with 1.1.0, CHECK with 0.4.0; it is the caller's version that counts.
#[test]
fn commands_are_the_callers_versions() {
    let bench = bench();
    let config = in_version(&bench, "1.1.0");
    bench.add("c1", &config);
    bench.call("STATUS", &config).run().ok();
    bench.call("CHECK", &config).run().ok();
    bench.call("GC", &bench.gc_config(&config, &[])).run().ok();
    assert_eq!(bench.network().reservations().len(), 0);
    let old = in_version(&bench, "0.3.1");
    for command in ["STATUS", "CHECK", "GC"] {
        let refused = bench.call(command, &bench.gc_config(&old, &[])).run();
        assert_refused(&refused, 1, &[command]);
    }
}

#[test]
fn requests_are_the_callers() {
    let bench = bench();
    let mut config = bench.config(json!({}));
    let asked = |outcome: &Outcome| outcome.addresses();
    config["runtimeConfig"] = json!({"ips": ["11.0.4.77/24", "1100::11.0.4.78"]});
    assert_eq!(asked(&bench.call("ADD", &config).id("c1").run()), ["11.0.4.77", "1100::b00:44e"]);
    let mut config = bench.config(json!({}));
    config["args"] = json!({"cni": {"ips": ["11.0.4.80"]}});
    assert_eq!(asked(&bench.call("ADD", &config).id("c2").run())[0], "11.0.4.80");
    let config = bench.config(json!({}));
    let by_args = bench
        .call("ADD", &config)
        .id("c3")
        .env("CNI_ARGS", "IgnoreUnknown=1;X=y;IP=11.0.4.90")
        .run();
    assert_eq!(asked(&by_args)[0], "11.0.4.90");
    let mut config = bench.config(json!({}));
    config["runtimeConfig"] = json!({"ipRanges": [[{"subnet": "10.9.4.0/24"}]]});
    assert_eq!(asked(&bench.call("ADD", &config).id("c4").run()), ["10.9.4.2"]);
    // A runtime knows its node: nothing is filled in there.
    config["runtimeConfig"] = json!({"ipRanges": [[{"subnet": "10.9.{i}.0/24"}]]});
    let names = ["runtimeConfig.ipRanges[0][0].subnet", "10.9.{i}.0/24"];
    assert_refused(&bench.call("ADD", &config).id("c5").run(), 7, &names);
}

/// State lies where the caller's configuration says, by the network's name, not the template's.
#[test]
fn the_place_is_the_callers() {
    let bench = bench();
    let elsewhere = bench.scratch().path().join("elsewhere");
    let mut template: Value = serde_json::from_str(&template("percent-0.4.0", "default")).unwrap();
    template["ipam"]["dataDir"] = json!(bench.scratch().path().join("templates-place"));
    template["name"] = json!("templates-name");
    bench.template("default", template.to_string());
    let config = bench.config(json!({"store": "dir", "dataDir": elsewhere}));
    bench.add("c1", &config);
    assert!(elsewhere.join("net/11.0.4.2").exists());
    assert!(!bench.scratch().path().join("templates-place").exists());
    assert!(!elsewhere.join("templates-name").exists());
    bench.del("c1", &config);
    assert!(!elsewhere.join("net/11.0.4.2").exists());
}

/// Two networks with one template have stores of their own.
#[test]
fn networks_share_a_template_and_no_store() {
    let bench = bench();
    let config = bench.config(json!({}));
    let mut other = config.clone();
    other["name"] = json!("other");
    assert_eq!(bench.add("c1", &config)[0], "11.0.4.2");
    assert_eq!(bench.add("c1", &other)[0], "11.0.4.2");
    bench.del("c1", &other);
    assert_eq!(bench.network().held_by("c1", "eth0").len(), 2);
}

#[test]
fn a_template_supplies_what_is_missing() {
    let bench = Workbench::on_node(4, "merge");
    let supplied = json!({
        "cniVersion": "0.3.1",
        "name": "of the template",
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.1.{i}.0/24", "gateway": "10.1.{i}.254"}]],
            "routes": [{"dst": "10.0.0.0/8"}],
            "exclude": "10.1.{i}.1-10.1.{i}.9",
        },
        "dns": {"nameservers": ["10.1.{i}.53"], "domain": "of.the.template"},
    });
    bench.template("full", supplied.to_string());
    let result = bench.call("ADD", &bench.config(json!({"cfg": "full"}))).run().ok();
    assert_eq!(result["ips"], json!([{"address": "10.1.4.10/24", "gateway": "10.1.4.254"}]));
    assert_eq!(result["routes"], json!([{"dst": "10.0.0.0/8"}]));
    assert_eq!(result["dns"], json!({"nameservers": ["10.1.4.53"], "domain": "of.the.template"}));

    // What the configuration says counts.
    let own = json!({"cfg": "full", "routes": [{"dst": "0.0.0.0/0"}], "dns": {"domain": "own"}, "exclude": []});
    let result = bench.call("ADD", &bench.config(own)).id("c2").run().ok();
    assert_eq!(result["ips"][0]["address"], "10.1.4.11/24");
    assert_eq!(result["routes"], json!([{"dst": "0.0.0.0/0"}]));
    assert_eq!(result["dns"], json!({"domain": "own"}));
    // Null is as absent.
    let nothing = json!({"cfg": "full", "routes": null, "dns": null, "ranges": null});
    let result = bench.call("ADD", &bench.config(nothing)).id("c3").run().ok();
    assert_eq!(result["routes"], json!([{"dst": "10.0.0.0/8"}]));
    assert_eq!(result["dns"]["domain"], "of.the.template");
}

/// A template may be the `ipam` section alone, may `carve`, and may have the old-style range.
#[test]
fn forms_of_a_template() {
    for (content, address) in [
        (json!({"ranges": [[{"subnet": "10.1.{i}.0/24"}]]}), "10.1.4.2"),
        (json!({"ipam": {"carve": {"pool": "10.0.0.0/8", "prefix": 24}}}), "10.0.4.2"),
        (json!({"carve": [{"pool": "10.0.0.0/8", "prefix": 24}]}), "10.0.4.2"),
        (json!({"ipam": {"subnet": "10.2.0.0/16", "rangeStart": "10.2.%.5"}}), "10.2.4.5"),
        (json!({"IPAM": {"Ranges": [[{"Subnet": "10.1.{i}.0/24"}]]}}), "10.1.4.2"),
    ] {
        let bench = Workbench::on_node(4, "merge");
        bench.template("form", content.to_string());
        assert_eq!(bench.add("c1", &bench.config(json!({"cfg": "form"}))), [address], "{content}");
    }
}

#[test]
fn no_template_is_needed_for_inline_ranges() {
    let bench = Workbench::on_node(4, "merge");
    // A template that is there, and broken, is not looked at.
    bench.template("default", "{");
    for (id, ipam, address) in [
        ("c1", json!({"ranges": [[{"subnet": "10.1.{i}.0/24"}]]}), "10.1.4.2"),
        ("c2", json!({"carve": {"pool": "10.2.0.0/16", "prefix": 24}}), "10.2.4.2"),
        ("c3", json!({"subnet": "10.3.{i}.0/24"}), "10.3.4.2"),
    ] {
        assert_eq!(bench.add(id, &bench.config(ipam)), [address]);
    }
}

#[test]
fn a_missing_template_is_named() {
    let bench = Workbench::on_node(4, "merge");
    for (ipam, name) in [
        (json!({}), "default"),
        (json!({"cfg": "ipvlan"}), "ipvlan"),
        (json!({"ranges": null}), "default"),
    ] {
        let config = bench.config(ipam);
        let path = bench.templates().join(name).display().to_string();
        let ways = [path.as_str(), "does not exist", "\"ranges\"", "\"carve\"", "\"cfg\""];
        assert_refused(&bench.call("ADD", &config).run(), 7, &ways);
        assert_refused(&bench.call("STATUS", &config).run(), 50, &[&path, "does not exist"]);
        assert_untouched(&bench);
    }
}

#[test]
fn ranges_twice_are_refused() {
    let bench = bench();
    for own in [
        json!({"cfg": "default", "ranges": [[{"subnet": "10.1.{i}.0/24"}]]}),
        json!({"cfg": "default", "carve": {"pool": "10.2.0.0/16", "prefix": 24}}),
        json!({"cfg": "default", "subnet": "10.1.{i}.0/24"}),
    ] {
        assert_refused(
            &bench.call("ADD", &bench.config(own)).run(),
            7,
            &["\"default\"", "cfg", "ranges"],
        );
        assert_untouched(&bench);
    }
}

/// Whoever may define a network does not choose which file of the node is read.
#[test]
fn cfg_is_a_plain_name() {
    let bench = bench();
    let evil = json!({"ipam": {"ranges": [[{"subnet": "66.6.6.0/24"}]]}}).to_string();
    bench.scratch().write("evil", &evil);
    for name in [".evil", "sub/evil", "index"] {
        bench.template(name, &evil);
    }
    let absolute = bench.scratch().path().join("evil").display().to_string();
    for name in [
        "../evil",
        "../../../../../../etc/passwd",
        "./default",
        "sub/evil",
        "/etc/passwd",
        &absolute,
        ".",
        "..",
        ".evil",
        "index",
        "a b",
        "default\n",
        "%2e%2e",
        "défaut",
        "{i}",
        "~",
        &"d".repeat(256),
    ] {
        let outcome = bench.call("ADD", &bench.config(json!({"cfg": name}))).run();
        assert_refused(&outcome, 7, &["ipam.cfg", "plain file name"]);
        assert!(!outcome.stdout.contains("66.6.6") && !outcome.stdout.contains("root:"));
        assert_untouched(&bench);
    }
}

#[test]
fn a_template_that_is_wrong_is_named() {
    for (content, code, found) in [
        ("", 6, "line 1 column 0"),
        ("{\n  \"ipam\": [,]\n}", 6, "line 2 column 12"),
        ("\u{feff}{}", 6, "line 1"),
        ("[]", 7, "object"),
        ("5", 7, "object"),
        ("null", 7, "object"),
        ("{}", 7, "no ranges"),
        (r#"{"ipam": {}}"#, 7, "no ranges"),
        (r#"{"ipam": []}"#, 7, "object"),
        (r#"{"ipam": {"ranges": null}}"#, 7, "no ranges"),
        (r#"{"ipam": {"ranges": []}}"#, 7, "no IP ranges"),
        (r#"{"ipam": {"ranges": [[{"subnet": 5}]]}}"#, 7, "ranges[0][0].subnet"),
        (r#"{"ipam": {"ranges": [[{"subnet": "10.1.{j}.0/24"}]]}}"#, 7, "{j}"),
        (r#"{"ipam": {"ranges": [[{"subnet": "10.1.{i}.5/24"}]]}}"#, 7, "host bits"),
        (r#"{"ipam": {"carve": {"pool": "10.1.0.0/30", "prefix": 31}}}"#, 7, "does not fit"),
    ] {
        let bench = Workbench::on_node(4, "merge");
        bench.template("bad", content);
        let path = bench.templates().join("bad").display().to_string();
        let outcome = bench.call("ADD", &bench.config(json!({"cfg": "bad"}))).run();
        assert_refused(&outcome, code, &[&path, found]);
        assert_eq!(outcome.json()["cniVersion"], "1.1.0");
        assert_untouched(&bench);
    }
    let bench = Workbench::on_node(4, "merge");
    fs::create_dir_all(bench.templates().join("dir")).expect("a scratch directory can be made");
    let path = bench.templates().join("dir").display().to_string();
    assert_refused(&bench.call("ADD", &bench.config(json!({"cfg": "dir"}))).run(), 5, &[&path]);
    assert_untouched(&bench);
    // Too large to be a template: cut off, so not read as anything.
    bench.template(
        "large",
        format!("{}{}", " ".repeat(2 << 20), template("percent-0.4.0", "default")),
    );
    let path = bench.templates().join("large").display().to_string();
    assert_refused(&bench.call("ADD", &bench.config(json!({"cfg": "large"}))).run(), 6, &[&path]);
    assert_untouched(&bench);
}

/// Nothing but the plugin is needed: no shell, no jq, no sed, no library.
#[test]
fn the_plugin_needs_nothing_else() {
    if !super::can_name_hosts("the_plugin_needs_nothing_else") {
        return;
    }
    let mut bench = Workbench::on_node(4, "merge");
    let root = bench.scratch().join("root/node-local");
    support::install_copy(&support::binary("node-local"), &root);
    let (chroot, empty) =
        (support::program("chroot"), root.parent().expect("a directory").to_owned());
    let command = [chroot.as_os_str(), empty.as_os_str()];
    let script = bench.scratch().join("bin/in-root");
    bench.use_binary(support::install_script(&script, &command, "/node-local".as_ref()));
    fs::create_dir(empty.join("templates")).expect("a scratch directory can be made");
    fs::write(empty.join("templates/default"), template("percent-0.4.0", "default"))
        .expect("a file");
    let config = bench.config(json!({"dataDir": "/data", "cfgDir": "/templates"}));
    let outcome = bench
        .call("ADD", &config)
        .env("PLAT_STATE_DIR", "/state")
        .env("PLAT_RUN_DIR", "/run")
        .run();
    assert_eq!(ips(&outcome)[0].0, "11.0.4.2/24");
    let network = Holdings::new(Workbench::NETWORK, &empty.join("data"), &empty.join("run"));
    assert_eq!(network.held_by("c1", "eth0").len(), 2);
}
