//! A node keeps its index while it holds addresses: a change is an error, not another node's addresses.

use serde_json::{Value, json};
use support::Workbench;

use super::{assert_refused, can_name_hosts, dual_stack};

fn with_index(bench: &Workbench, index: u32) -> Value {
    let mut config = dual_stack(bench);
    config["ipam"]["index"] = json!(index);
    config
}

fn addresses(index: u32, host: u32) -> [String; 2] {
    [format!("10.1.{index}.{host}"), format!("fd00:10:1:{index:x}::{host:x}")]
}

fn assert_pinned(bench: &Workbench, config: &Value, pinned: u32, now: u32) {
    let names = [&format!("index is {now}")[..], &format!("index {pinned}")];
    let before = bench.snapshot();
    assert_refused(&bench.call("ADD", config).id("c9").run(), 7, &names);
    assert_refused(&bench.call("STATUS", config).run(), 50, &names);
    assert_eq!(before.changes(&bench.snapshot()), [] as [String; 0]);
}

#[test]
fn another_index_waits_until_nothing_is_held() {
    let bench = Workbench::new(support::Plugin::NodeLocal, "pin");
    let [four, five] = [4, 5].map(|index| with_index(&bench, index));
    assert_eq!(bench.add("c1", &four), addresses(4, 2));
    assert_eq!(bench.add("c2", &four), addresses(4, 3));
    assert_pinned(&bench, &five, 4, 5);

    // What is held is looked after all the same.
    bench.call("CHECK", &five).run().ok();
    bench.del("c1", &five);
    assert_pinned(&bench, &five, 4, 5);
    assert_eq!(bench.add("c1", &four), addresses(4, 4));
    bench.call("GC", &bench.gc_config(&five, &["c2"])).run().ok();
    assert_eq!(bench.network().held_by("c2", "eth0").len(), 2);
    assert_eq!(bench.network().reservations().len(), 2);
    assert_pinned(&bench, &five, 4, 5);

    bench.del("c2", &five);
    bench.call("STATUS", &five).run().ok();
    assert_eq!(bench.add("c1", &five), addresses(5, 2));
    assert_pinned(&bench, &four, 5, 4);
}

#[test]
fn a_host_that_was_renamed() {
    if !can_name_hosts("a_host_that_was_renamed") {
        return;
    }
    let mut bench = Workbench::on_host("vm-004", "pin");
    let config = dual_stack(&bench);
    assert_eq!(bench.add("c1", &config), addresses(4, 2));
    bench.move_to_host("vm-005");
    assert_pinned(&bench, &config, 4, 5);
    bench.call("CHECK", &config).run().ok();
    bench.del("c1", &config);
    assert_eq!(bench.add("c1", &config), addresses(5, 2));
    // And back, while something is held.
    bench.move_to_host("vm-004");
    assert_pinned(&bench, &config, 5, 4);
}

/// The same index from another source is the same node.
#[test]
fn the_source_is_not_pinned() {
    let mut bench = Workbench::on_node(4, "pin");
    let config = dual_stack(&bench);
    assert_eq!(bench.add("c1", &config), addresses(4, 2));
    bench.set("NODE_INDEX", "");
    bench.template("index", "0004");
    assert_eq!(bench.add("c2", &config), addresses(4, 3));
    assert_eq!(bench.add("c3", &with_index(&bench, 4)), addresses(4, 4));
}

/// Each network has its own store, and its own pin.
#[test]
fn networks_are_pinned_one_by_one() {
    let bench = Workbench::new(support::Plugin::NodeLocal, "pin");
    assert_eq!(bench.add("c1", &with_index(&bench, 4)), addresses(4, 2));
    let mut other = with_index(&bench, 5);
    other["name"] = json!("other");
    assert_eq!(bench.add("c1", &other), addresses(5, 2));
    assert_pinned(&bench, &with_index(&bench, 5), 4, 5);
}

/// A refused ADD pins nothing.
#[test]
fn only_an_address_pins() {
    let bench = Workbench::new(support::Plugin::NodeLocal, "pin");
    let refused = bench.call("ADD", &with_index(&bench, 4)).env("CNI_ARGS", "IP=10.1.4.1").run();
    assert_refused(&refused, 7, &["gateway"]);
    assert_eq!(bench.add("c1", &with_index(&bench, 5)), addresses(5, 2));
}
