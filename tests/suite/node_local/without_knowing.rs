//! What must work on a node that does not know which one it is, or has lost its templates: everything
//! but ADD and STATUS.

use std::fs;

use serde_json::{Value, json};
use support::{Call, Workbench};

use super::{assert_refused, assert_untouched, can_name_hosts, template};

/// Ways to lose what an ADD was made with.
const LOSSES: [&str; 7] =
    ["template", "broken template", "folder", "index", "name", "ranges", "everything"];

/// A node with an attachment of `c1` and one of `c2`, that then loses something; and what the runtime
/// sends from then on.
fn lose(what: &str) -> (Workbench, Value) {
    let mut bench = Workbench::on_host("vm-004", "lost");
    bench.template("default", template("percent-0.4.0", "default"));
    let before = bench.config(json!({}));
    for id in ["c1", "c2"] {
        assert_eq!(bench.add(id, &before).len(), 2);
    }
    let mut after = before.clone();
    let templates = bench.templates();
    match what {
        "template" => fs::remove_file(templates.join("default")).expect("a file can be removed"),
        "broken template" => bench.template("default", "{"),
        "folder" => fs::remove_dir_all(templates).expect("a folder can be removed"),
        "index" => bench.template("index", "none"),
        "name" => bench.move_to_host("ip-10-0-1-5"),
        "ranges" => after["ipam"]["ranges"] = json!([[{"subnet": "10.1.{j}.0/33"}]]),
        _ => {
            bench.move_to_host("localhost");
            fs::remove_dir_all(templates).expect("a folder can be removed");
            after["ipam"] = json!({"type": "node-local", "dataDir": bench.data()});
        }
    }
    (bench, after)
}

#[test]
fn del_needs_nothing() {
    if !can_name_hosts("del_needs_nothing") {
        return;
    }
    for what in LOSSES {
        let (bench, after) = lose(what);
        for _ in 0..2 {
            let del =
                bench.call("DEL", &after).without("CNI_NETNS").env("CNI_ARGS", "not=read").run();
            del.ok();
            assert_eq!(bench.network().held_by("c1", "eth0").len(), 0, "{what}");
            assert_eq!(bench.network().held_by("c2", "eth0").len(), 2, "{what}");
        }
        bench.call("DEL", &after).id("c2").env("CNI_NETNS", "").run().ok();
        assert_eq!(bench.network().reservations().len(), 0, "{what}");
    }
}

#[test]
fn check_needs_the_reservation_only() {
    if !can_name_hosts("check_needs_the_reservation_only") {
        return;
    }
    for what in LOSSES {
        let (bench, mut after) = lose(what);
        let result = json!({"cniVersion": "1.1.0", "ips": [
            {"address": "11.0.4.2/24", "gateway": "11.0.4.1"},
            {"address": "1100::b00:402/120", "gateway": "1100::b00:401"},
        ]});
        for previous in [Value::Null, result] {
            after["prevResult"] = previous;
            bench.call("CHECK", &after).id("c1").run().ok();
        }
        assert_refused(&bench.call("CHECK", &after).id("c3").run(), 3, &["c3"]);
    }
}

#[test]
fn gc_needs_the_list_only() {
    if !can_name_hosts("gc_needs_the_list_only") {
        return;
    }
    for what in LOSSES {
        let (bench, after) = lose(what);
        bench.call("GC", &after).run().ok();
        assert_eq!(bench.network().reservations().len(), 4, "{what}: no list frees nothing");
        bench.call("GC", &bench.gc_config(&after, &["c2"])).run().ok();
        assert_eq!(bench.network().held_by("c1", "eth0").len(), 0, "{what}");
        assert_eq!(bench.network().held_by("c2", "eth0").len(), 2, "{what}");
        bench.call("GC", &bench.gc_config(&after, &[])).run().ok();
        assert_eq!(bench.network().reservations().len(), 0, "{what}");
    }
}

#[test]
fn status_says_what_an_add_would_lack() {
    if !can_name_hosts("status_says_what_an_add_would_lack") {
        return;
    }
    for what in LOSSES {
        let (bench, after) = lose(what);
        let before = bench.snapshot();
        let status = bench.call("STATUS", &after).run();
        let add = bench.call("ADD", &after).id("c3").run();
        let (code, message) = status.error();
        assert_eq!(message, add.error().1, "{what}");
        // Ranges that are wrong are the configuration's fault, not the node's.
        assert_eq!(code, if what == "ranges" { 7 } else { 50 }, "{what}: {message}");
        assert_eq!(before.changes(&bench.snapshot()), [] as [String; 0], "{what}");
    }
}

#[test]
fn version_reads_nothing() {
    if !can_name_hosts("version_reads_nothing") {
        return;
    }
    let bench = Workbench::on_host("ip-10-0-1-5", "version");
    let config = bench.config(json!({"cfg": "../../../evil", "ranges": 5, "index": []}));
    let version = |stdin: &str| -> Value {
        let call = bench.call("VERSION", &config);
        let call = ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_PATH"]
            .iter()
            .fold(call, |call: Call, key| call.without(key));
        call.stdin(stdin).run().ok()
    };
    for (stdin, asked) in [
        (config.to_string(), "1.1.0"),
        ("{".to_owned(), "1.1.0"),
        (String::new(), "1.1.0"),
        (json!({"cniVersion": "0.4.0"}).to_string(), "0.4.0"),
    ] {
        let answer = version(&stdin);
        assert_eq!(answer["cniVersion"], asked);
        let supported = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
        assert_eq!(answer["supportedVersions"], json!(supported));
    }
    assert_untouched(&bench);
}

/// On a fresh node nothing is made by calls that hand nothing out.
#[test]
fn nothing_is_made_for_nothing() {
    let bench = Workbench::on_node(4, "nothing");
    bench.template("default", template("percent-0.4.0", "default"));
    let config = bench.config(json!({}));
    bench.del("c1", &config);
    bench.call("STATUS", &config).run().ok();
    bench.call("GC", &bench.gc_config(&config, &[])).run().ok();
    assert_refused(&bench.call("CHECK", &config).run(), 3, &["c1"]);
    assert_untouched(&bench);
}
