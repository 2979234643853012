//! The walks of the README and of `docs/etcd-pool.md`, line by line as they are printed there.

use std::fs;
use std::process::Command;

use support::{Scratch, binary, have, is_root, repository, skip_unless, wait_until};

use crate::demo::processes_with;

/// The lines of the blocks that are marked as belonging to the walk.
fn walk(readme: &str) -> String {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line {
            "```sh walk" => inside = true,
            "```" => inside = false,
            line if inside => lines.push(line),
            _ => {}
        }
    }
    lines.join("\n")
}

#[test]
fn the_walk_works_as_it_is_written() {
    let needs = [(is_root(), "root"), (have("jq"), "jq"), (have("ip"), "iproute2")];
    if !skip_unless("the_walk_works_as_it_is_written", &needs) {
        return;
    }
    let readme = fs::read_to_string(repository().join("README.md")).expect("there is a README");
    let scratch = Scratch::new("readme");
    // The binaries of `make build`, wherever this run has them; namespaces of a name that no other test has.
    let dir = binary("plat").parent().expect("a binary lies somewhere").to_path_buf();
    let script = walk(&readme)
        .replace("$PWD/target/release", &dir.to_string_lossy())
        .replace("cart-7", &format!("cart-7-{}", std::process::id()));
    assert!(script.lines().count() > 50, "the blocks of the walk were not found");
    let script = format!(
        "set -euo pipefail\ntrap 'ip netns del cart-7-{0} 2>/dev/null || true' EXIT\n{script}\n",
        std::process::id()
    );
    let output = Command::new("bash")
        .arg(scratch.write("walk.sh", script))
        .env("TMPDIR", scratch.path())
        .output()
        .expect("bash can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for said in [
        "10.1.4.4 was freed in pods",
        "fixed    web: 10.22.0.99 is empty: removed 10.22.0.99",
        "refused, and no address is given twice",
        "is not the file that was written last in this boot, but a copy",
        "was broken (it is no database)",
        "set aside and made anew",
        "60 addresses of web added to",
        "60 addresses of web written to",
        "not one address lost",
    ] {
        assert!(text.contains(said), "{said:?} is not in:\n{text}");
    }
    // The pod that lives kept its address through two lost databases.
    let listed = text.lines().filter(|line| line.starts_with("10.1.4.8 ")).count();
    assert_eq!(listed, 1, "{text}");
    let svg = fs::read_dir(scratch.path())
        .expect("the scratch directory can be read")
        .flatten()
        .map(|entry| entry.path().join("pods.svg"))
        .find(|path| path.exists())
        .expect("the map was drawn");
    assert!(fs::read_to_string(svg).expect("the map can be read").starts_with("<svg"));
}

#[test]
fn the_walk_of_etcd_pool_works_as_it_is_written() {
    let needs = [(have("jq"), "jq"), (have("etcd"), "etcd-server")];
    if !skip_unless("the_walk_of_etcd_pool_works_as_it_is_written", &needs) {
        return;
    }
    let text = fs::read_to_string(repository().join("docs/etcd-pool.md")).expect("it is there");
    let scratch = Scratch::new("etcd-pool-walk");
    let dir = binary("etcd-pool").parent().expect("a binary lies somewhere").to_path_buf();
    let mut script = walk(&text).replace("$PWD/target/release", &dir.to_string_lossy());
    assert!(script.lines().count() > 25, "the blocks of the walk were not found");
    for port in ["23790", "23800"] {
        script = script.replace(port, &support::etcd::free_port().to_string());
    }
    let script = format!("set -euo pipefail\n{script}\n");
    let mark = format!("PLAT_WALK={}", std::process::id());
    let (key, value) = mark.split_once('=').expect("a variable");
    let output = Command::new("timeout")
        .env(key, value)
        .args(["--kill-after=5", "600", "bash"])
        .arg(scratch.write("walk.sh", script))
        .env("TMPDIR", scratch.path())
        .output()
        .expect("bash can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for said in [
        "pool pods is made in space default",
        "shop/cart-1",
        "is used",
        "  fence ",
        "exit status 3: plat asks etcd",
    ] {
        assert!(text.contains(said), "{said:?} is not in:\n{text}");
    }
    // What writes behind the calls gives up after a while.
    wait_until("everything of the walk has ended", || processes_with(&mark).is_empty());
    // One answer with etcd, one without it, each with both families.
    let (v4, v6) = (text.matches("/16\"").count(), text.matches("/64\"").count());
    assert_eq!((v4, v6), (2, 2), "{text}");
}
