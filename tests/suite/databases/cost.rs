//! What a call costs does not depend on what is held: counted in reads, which are the same on every machine.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde_json::json;
use support::{Call, Killer, Plugin, Scratch, Site, install_script, program, skip_unless};

use super::{PLUGINS, newest, site};

/// How many addresses are held: some hundred pages of each table and index.
const MANY: u32 = 8_000;

/// How many more pages a call may read then: B-trees are a level or two deeper.
const DEEPER: usize = 16;

/// How many pages a call reads.
fn reads(site: &Site, scratch: &Scratch, call: impl FnOnce(&Site) -> Call) -> usize {
    let trace = scratch.path().join("trace");
    let strace = program("strace");
    let words = ["-f", "-qq", "-e", "trace=pread64,read", "-o"].map(OsStr::new);
    let command = [&[strace.as_os_str()], &words[..], &[trace.as_os_str(), OsStr::new("--")]];
    let script = install_script(&scratch.join("bin/tracing"), &command.concat(), site.binary());
    call(&site.clone().with_binary(script)).run().ok();
    let text = fs::read_to_string(&trace).expect("a trace");
    text.lines().filter(|line| line.contains("pread64(")).count()
}

/// Reads of each kind of call.
fn all(plugin: Plugin, held: u32) -> Vec<(&'static str, usize)> {
    let scratch = Scratch::on_tmpfs("db-cost");
    let site = site(plugin, &scratch);
    site.directory().fill(site.first_addresses()[0], held);
    // The first call takes the directory over.
    let result = site.call("ADD", "warm").run().ok();
    let mut check = newest(&site);
    check["prevResult"] = result;
    let mut policy = newest(&site);
    policy["ipam"]["cooldown"] = json!("1h");
    vec![
        ("ADD", reads(&site, &scratch, |site| site.call("ADD", "c1"))),
        ("CHECK", reads(&site, &scratch, |site| site.call_with("CHECK", "warm", &check))),
        ("STATUS", reads(&site, &scratch, |site| site.call_with("STATUS", "", &newest(site)))),
        ("DEL", reads(&site, &scratch, |site| site.call("DEL", "c1"))),
        ("DEL of nothing", reads(&site, &scratch, |site| site.call("DEL", "unknown"))),
        ("ADD with cooldown", reads(&site, &scratch, |site| site.call_with("ADD", "c2", &policy))),
        ("DEL with cooldown", reads(&site, &scratch, |site| site.call("DEL", "c2"))),
        ("the next ADD", reads(&site, &scratch, |site| site.call_with("ADD", "c3", &policy))),
    ]
}

#[test]
fn calls_read_as_little_whatever_is_held() {
    let test = "calls_read_as_little_whatever_is_held";
    if !skip_unless(test, &[(Killer::works(), "strace, and the right to trace")]) {
        return;
    }
    let mut wrong = Vec::new();
    for plugin in PLUGINS {
        for ((what, few), (_, many)) in all(plugin, 0).into_iter().zip(all(plugin, MANY)) {
            println!("{plugin:?}, {what}: {few} reads with none held, {many} with {MANY}");
            if many > few + DEEPER {
                wrong.push(format!("{plugin:?}, {what}: {many} reads instead of {few}"));
            }
        }
    }
    assert!(wrong.is_empty(), "with {MANY} held:\n{}", wrong.join("\n"));
}

/// An ADD that finds nothing free looks at little, too.
#[test]
fn an_exhausted_set_is_found_out_quickly() {
    let test = "an_exhausted_set_is_found_out_quickly";
    if !skip_unless(test, &[(Killer::works(), "strace, and the right to trace")]) {
        return;
    }
    for plugin in PLUGINS {
        let scratch = Scratch::on_tmpfs("db-full");
        // A /20 without network, broadcast and gateway.
        let site = site(plugin, &scratch).with_prefix(20);
        site.directory().fill(site.first_addresses()[0], (1 << 12) - 3);
        assert_eq!(site.call("ADD", "c1").run().error().0, 11);
        let trace = scratch.path().join("trace");
        let strace = program("strace");
        let words = ["-f", "-qq", "-e", "trace=pread64", "-o"].map(OsStr::new);
        let command = [&[strace.as_os_str()], &words[..], &[trace.as_os_str(), OsStr::new("--")]];
        let script = scratch.join("bin/tracing");
        let script = install_script(&script, &command.concat(), site.binary());
        let refused = site.clone().with_binary(script).call("ADD", "c1").run();
        assert_eq!(refused.error().0, 11);
        let reads = lines(&trace);
        assert!(reads < 60, "{plugin:?}: {reads} reads");
    }
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).expect("a trace").lines().count()
}
