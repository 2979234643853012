//! Every key of a configuration with values of every wrong kind: ADD, STATUS and CHECK refuse them, DEL
//! does its work all the same, and no call makes so much as a directory.

use serde_json::Value;
use support::Plugin;

use super::keys::{Key, host_name_pattern, keys, samples};
use super::{Expected, Report, bench, complaints_about_form, good, path_of, set, touched};

/// All wrong values of a key.
fn wrong_values(key: &Key) -> Vec<Value> {
    let samples = samples().into_iter().filter(|value| !key.kind.takes(value));
    samples.chain(key.wrong.iter().cloned()).collect()
}

/// Whether node-local would make another text of it first.
fn is_rendered(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains(['%', '{']) || text.contains(".x"))
}

fn wrong_values_of_every_key(plugin: Plugin) {
    let mut report = Report::default();
    for key in keys().iter().filter(|key| key.plugins.contains(&plugin)) {
        for (n, value) in wrong_values(key).iter().enumerate() {
            if plugin == Plugin::NodeLocal && is_rendered(value) && !key.pointer.ends_with("cfg") {
                continue;
            }
            // All commands read a configuration in one place: a sample is enough for some of them.
            refused(&mut report, plugin, key, value, n % 4 == 0);
        }
    }
    report.done();
}

#[test]
fn wrong_values_of_host_locals_keys() {
    wrong_values_of_every_key(Plugin::HostLocal);
}

#[test]
fn wrong_values_of_node_locals_keys() {
    wrong_values_of_every_key(Plugin::NodeLocal);
}

/// One wrong value, through ADD and DEL, or through every command.
fn refused(report: &mut Report, plugin: Plugin, key: &Key, value: &Value, all: bool) {
    let bench = bench(plugin);
    let mut config = good(&bench);
    for (pointer, value) in &key.with {
        set(&mut config, pointer, value.clone());
    }
    set(&mut config, key.pointer, value.clone());
    let expected = Expected::new(&path_of(key.pointer), value);
    let what = format!("{} {} {}", plugin.name(), key.pointer, start_of(value));

    let add = bench.call("ADD", &config).run();
    report.refused(&format!("ADD {what}"), &add, &expected, &bench);

    let del = bench.call("DEL", &config).run();
    report.deleted(&format!("DEL {what}"), &del, &bench);
    if !all {
        return;
    }

    let status = bench.call("STATUS", &config).run();
    let mut expected_of_status = expected.clone();
    if status.stdout.contains("\"code\": 50,") {
        // node-local: what a template or the index is to blame for.
        expected_of_status.code = 50;
    }
    report.refused(&format!("STATUS {what}"), &status, &expected_of_status, &bench);

    let check = bench.call("CHECK", &config).run();
    let complaints = match plugin {
        Plugin::HostLocal => expected.complaints(&check),
        // What is recorded counts, and nothing is.
        Plugin::NodeLocal => complaints_about_form(&check),
    };
    report.row(&format!("CHECK {what}"), complaints.into_iter().chain(touched(&bench)), &check);
}

fn start_of(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

/// The pattern for host names is looked at when no better source tells the index.
#[test]
fn wrong_host_name_patterns() {
    let mut report = Report::default();
    let key = host_name_pattern();
    for value in wrong_values(&key) {
        let bench = support::Workbench::new(Plugin::NodeLocal, "bad");
        let mut config = good(&bench);
        set(&mut config, key.pointer, value.clone());
        let add = bench.call("ADD", &config).run();
        let expected = Expected::new("ipam.hostname", &value);
        let what = format!("ADD {}", start_of(&value));
        report.refused(&what, &add, &expected, &bench);
    }
    report.done();
}
