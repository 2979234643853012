//! A second ADD of an attachment: a runtime repeats one whose answer it has not seen.

use serde_json::json;
use support::Workbench;

use super::{assert_refused, dual_stack};

#[test]
fn a_repeated_add_gives_the_same_answer() {
    for requests in ["", "IP=10.1.4.50", "IP=10.1.4.50,fd00:10:1:4::50"] {
        let bench = Workbench::on_node(4, "again");
        let config = dual_stack(&bench);
        let add = || bench.call("ADD", &config).env("CNI_ARGS", requests).run();
        let first = add();
        first.ok();
        bench.add("c2", &config);
        let before = bench.snapshot();
        for _ in 0..3 {
            assert_eq!(add().stdout, first.stdout, "{requests}");
        }
        // An ADD without the request asks for whatever there is.
        assert_eq!(bench.call("ADD", &config).run().stdout, first.stdout, "{requests}");
        assert_eq!(before.changes(&bench.snapshot()), [] as [String; 0]);
    }
}

#[test]
fn an_add_that_asks_for_something_else_is_refused() {
    let bench = Workbench::on_node(4, "again");
    let config = dual_stack(&bench);
    let held = bench.add("c1", &config);
    let before = bench.snapshot();
    let one_family =
        |pool: &str, prefix: u8| bench.config(json!({"carve": {"pool": pool, "prefix": prefix}}));
    for (what, config, request) in [
        ("another IPv4 address", config.clone(), "IP=10.1.4.50"),
        ("another IPv6 address", config.clone(), "IP=fd00:10:1:4::50"),
        ("one of two", config.clone(), "IP=10.1.4.2,fd00:10:1:4::50"),
        ("an address outside", config.clone(), "IP=10.9.9.9"),
        ("IPv4 only", one_family("10.1.0.0/16", 24), ""),
        ("IPv6 only", one_family("fd00:10:1::/48", 64), ""),
        ("another pool", one_family("10.2.0.0/16", 24), ""),
    ] {
        let outcome = bench.call("ADD", &config).env("CNI_ARGS", request).run();
        let names: &[&str] = if what == "an address outside" { &["10.9.9.9"] } else { &[&held[0]] };
        assert_refused(&outcome, 7, names);
        assert_eq!(before.changes(&bench.snapshot()), [] as [String; 0], "{what}");
    }
    for key in ["runtimeConfig", "args"] {
        let mut config = config.clone();
        let ips = json!({"ips": ["10.1.4.50"]});
        config[key] = if key == "args" { json!({"cni": ips}) } else { ips };
        assert_refused(&bench.call("ADD", &config).run(), 7, &[&held[0], "10.1.4.50"]);
    }
    assert_eq!(bench.add("c1", &config), held);
}

/// One family first, both later: the second ADD asks for an address that the first did not give.
#[test]
fn another_family_later_is_refused() {
    for (pool, prefix, held) in
        [("10.1.0.0/16", 24, "10.1.4.2"), ("fd00:10:1::/48", 64, "fd00:10:1:4::2")]
    {
        let bench = Workbench::on_node(4, "again");
        let one = bench.config(json!({"carve": {"pool": pool, "prefix": prefix}}));
        assert_eq!(bench.add("c1", &one), [held]);
        let before = bench.snapshot();
        assert_refused(&bench.call("ADD", &dual_stack(&bench)).run(), 7, &[held]);
        assert_eq!(before.changes(&bench.snapshot()), [] as [String; 0]);
        bench.del("c1", &one);
        assert_eq!(bench.add("c1", &dual_stack(&bench)).len(), 2);
    }
}

/// Another interface of the same container is another attachment.
#[test]
fn another_interface_is_another_attachment() {
    let bench = Workbench::on_node(4, "again");
    let config = dual_stack(&bench);
    let by = |ifname: &str| bench.call("ADD", &config).env("CNI_IFNAME", ifname).run().addresses();
    let (first, second) = (by("net1"), by("net2"));
    assert_ne!(first, second);
    assert_eq!(by("net1"), first);
    assert_eq!(by("net2"), second);
}
