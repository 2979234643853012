//! Policy `first`: the next IPAM only when one is full or away.

use serde_json::{Value, json};

use super::bench::Bench;

fn overflow() -> Value {
    // One address, and many.
    let small = json!({"type": "node-local", "ranges": [[{"subnet": "10.1.{i}.0/24", "rangeStart": "10.1.{i}.9", "rangeEnd": "10.1.{i}.9"}]]});
    Bench::config("first", &[small, Bench::node_local("10.2.{i}.0/24")])
}

#[test]
fn the_next_serves_when_the_first_is_full() {
    let bench = Bench::new();
    let config = overflow();
    assert_eq!(bench.add("c1", &config), ["10.1.4.9"]);
    assert_eq!(bench.add("c2", &config), ["10.2.4.2"]);
    assert_eq!(bench.add("c3", &config), ["10.2.4.3"]);
    for (id, address) in [("c1", "10.1.4.9/24"), ("c2", "10.2.4.2/24")] {
        let result = json!({"cniVersion": "1.1.0", "ips": [{"address": address}]});
        bench.check(id, &config, &result).run().ok();
        let other = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.2.4.99/24"}]});
        assert_eq!(bench.check(id, &config, &other).run().error().0, 100);
    }
    bench.call("STATUS", &config).run().ok();
    bench.del("c1", &config);
    // An attachment keeps what it has, whoever is free meanwhile.
    assert_eq!(bench.add("c2", &config), ["10.2.4.2"]);
    assert_eq!(bench.held("c2"), 1);
    assert_eq!(bench.add("c4", &config), ["10.1.4.9"]);
    bench.gc(&config, &["c3", "c4"]).run().ok();
    assert_eq!((bench.held("c2"), bench.held("c3"), bench.held("c4")), (0, 1, 1));
    bench.del("c3", &Bench::stripped("bridge"));
    bench.del("c4", &Bench::stripped("bridge"));
    bench.assert_empty();
}

#[test]
fn only_what_may_pass_is_a_reason_to_go_on() {
    let bench = Bench::new();
    for name in ["one", "two"] {
        bench.puppet(name);
        bench.prints(name, "ADD", &json!({"ips": [{"address": "10.0.0.1/8"}]}));
    }
    let config = Bench::config("first", &["one", "two"].map(|kind| json!({"type": kind})));
    for code in [11, 50] {
        bench.fails("one", "ADD", code, "no");
        assert_eq!(bench.add("c1", &config), ["10.0.0.1"]);
        assert_eq!(bench.asked(), ["one ADD", "one DEL", "two ADD"]);
        bench.del("c1", &config);
        assert_eq!(bench.asked().len(), 2);
    }
    for code in [2, 4, 5, 6, 7, 51, 100, 999] {
        bench.fails("one", "ADD", code, "no");
        let (answered, message) = bench.call("ADD", &config).run().error();
        assert_eq!((answered, message.as_str()), (u64::from(code), "ipam.ipams[0] (one): no"));
        assert_eq!(bench.asked(), ["one ADD", "one DEL"]);
    }
    bench.fails("one", "ADD", 11, "full");
    bench.fails("two", "ADD", 50, "away");
    let (code, message) = bench.call("ADD", &config).run().error();
    let both = "ipam.ipams[0] (one): full; ipam.ipams[1] (two): away";
    assert_eq!((code, message.as_str()), (11, both));
    assert_eq!(bench.asked(), ["one ADD", "one DEL", "two ADD", "two DEL"]);
    assert_eq!(bench.records(), [] as [String; 0]);
}

#[test]
fn one_that_is_ready_is_enough() {
    let bench = Bench::new();
    bench.puppet("one");
    bench.puppet("two");
    let config = Bench::config("first", &["one", "two"].map(|kind| json!({"type": kind})));
    bench.fails("one", "STATUS", 50, "full");
    bench.call("STATUS", &config).run().ok();
    bench.fails("two", "STATUS", 50, "away");
    let (code, message) = bench.call("STATUS", &config).run().error();
    assert_eq!(code, 50);
    assert_eq!(message, "ipam.ipams[0] (one): full; ipam.ipams[1] (two): away");
}

#[test]
fn an_address_that_is_asked_for_decides_who_serves() {
    let bench = Bench::new();
    let mut config = overflow();
    config["runtimeConfig"] = json!({"ips": ["10.2.4.50"]});
    assert_eq!(bench.add("c1", &config), ["10.2.4.50"]);
    bench.del("c1", &config);
    config["runtimeConfig"] = json!({"ips": ["10.3.4.50"]});
    assert_eq!(bench.call("ADD", &config).run().error().0, 7);
    bench.assert_empty();
}
