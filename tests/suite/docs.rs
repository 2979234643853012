//! The pages of `docs`: what they say is to be run works as it is written, their links lead somewhere, and no error's code or
//! text is missing.

mod architecture;
mod errors;
mod files;
mod links;
mod page;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use page::{Step, is_as_said, steps};
use support::{
    Node, binary, etcd, have, install_copy, is_root, reference, repository, skip_unless,
};

/// The binaries that pages use.
const BINARIES: [&str; 5] = ["host-local", "node-local", "etcd-pool", "plat", "plat-agent"];
/// What stands before the number of a step in what a page's script prints.
const MARK: char = '\u{1e}';
/// What pages find on a node beside what every node has: an `/etc` of its own; the reference plugins in `/opt/cni/bin`,
/// as distributions and runtimes put them there; and room for this repository.
const FURNISH: &str = r#"
# What changes meanwhile need not be there.
[[ -d /run/etc ]] || { cp -a /etc /run/etc 2>/dev/null || true; mount --bind /run/etc /etc; }
mountpoint -q /etc
rm -rf /etc/plat
mkdir -p /etc/cni/net.d
cp -a "$1" /run/reference
mkdir /run/binaries
if [[ -n $2 ]]; then mount --bind "$2" /run/binaries; fi
mount -t tmpfs tmpfs /opt
mkdir -p /opt/cni /opt/tmp /opt/plat/target/release
cp -a /run/reference /opt/cni/bin
rm -rf /run/reference
if [[ -n $2 ]]; then mount --move /run/binaries /opt/plat/target/release; fi
rmdir /run/binaries
"#;

/// A node named vm-001 with the binaries and the examples of this repository in `/opt/plat`.
fn node() -> Node {
    let node = Node::start("vm-001");
    let plugins = reference("bridge").expect("the test has looked for it");
    let plugins = plugins.parent().expect("a file is in a directory").to_path_buf();
    let binaries = binary("plat").parent().expect("a file is in a directory").to_path_buf();
    // The node's own mounts may hide where they are.
    let visible = node.path(&binaries).join("plat").exists();
    let shown = if visible { binaries.display().to_string() } else { String::new() };
    let plugins = plugins.display().to_string();
    node.ok(&["bash", "-euc", FURNISH, "furnish", &plugins, &shown]);
    if !visible {
        for name in BINARIES {
            install_copy(&binary(name), &node.path("/opt/plat/target/release").join(name));
        }
    }
    let examples = repository().join("conf-examples");
    copy(&examples, &node.path("/opt/plat/conf-examples"));
    node
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory of the node can be made");
    for entry in fs::read_dir(from).expect("a folder can be read").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file can be copied");
        }
    }
}

/// The script of a page: each step behind its mark. It ends with the first command that fails.
fn script(steps: &[Step]) -> String {
    let mut script = String::from("set -euo pipefail\ncd /opt/plat\n");
    for (number, step) in steps.iter().enumerate() {
        script.push_str(&format!("printf '\\n\\036%d\\n' {number}\n{}\n", step.command));
    }
    script
}

/// Runs a script of the node, and tells its exit status. What it prints goes into a file: what it leaves running in the background
/// would keep a pipe open. It may take five minutes, far more than it does on a busy machine.
fn run(node: &Node, script: &str, printed: &str) -> Option<i32> {
    let words = format!("exec timeout --kill-after=5 300 bash {script} >{printed} 2>&1");
    let mut command = node.command(&["bash", "-c", &words]);
    let status = command.env("TMPDIR", "/opt/tmp").stdin(Stdio::null()).status();
    status.expect("nsenter can be started").code()
}

/// Runs a page on a node, and compares what its commands print with what it says.
fn follow(page: &str) {
    let text = fs::read_to_string(repository().join(page)).expect("the page can be read");
    let steps = steps(&text);
    assert!(!steps.is_empty(), "{page}: nothing is marked to be run");
    let node = node();
    node.write("/opt/script", script(&steps));
    let exit = run(&node, "/opt/script", "/opt/printed");
    let printed = fs::read(node.path("/opt/printed")).expect("it has printed into this file");
    let printed = String::from_utf8_lossy(&printed).into_owned();
    // Before the first mark there is nothing but what bash has to say of the script itself.
    let mark = format!("\n{MARK}");
    let mut parts = printed.split(mark.as_str());
    assert_eq!(parts.next(), Some(""), "{page}: {printed}");
    let mut reached = 0_usize;
    for (step, part) in steps.iter().zip(parts) {
        reached += 1;
        let (_, said) = part.split_once('\n').unwrap_or((part, ""));
        let lines: Vec<&str> = said.trim_end().lines().collect();
        let right = step.prints.as_ref().is_none_or(|prints| is_as_said(prints, &lines));
        let Step { line, command, prints } = step;
        assert!(
            right,
            "{page}:{line}: {command}\nprints\n{said}\nand not what the page says\n{}",
            prints.as_deref().unwrap_or_default().join("\n")
        );
    }
    let last = steps.get(reached.saturating_sub(1)).expect("there is a step");
    assert_eq!(
        (exit, reached),
        (Some(0), steps.len()),
        "{page}:{}: {} was the last one; all that was printed:\n{printed}",
        last.line,
        last.command
    );
}

/// Whether a page can be run here.
fn can_follow(test: &str) -> bool {
    let needs = [
        (is_root(), "root"),
        (have("ip"), "iproute2"),
        (have("ping"), "iputils-ping"),
        (have("jq"), "jq"),
        (have("timeout"), "coreutils"),
        (have("nsenter"), "util-linux"),
        (reference("bridge").is_some(), "containernetworking-plugins"),
        (reference("host-local").is_some(), "containernetworking-plugins"),
    ];
    skip_unless(test, &needs)
}

#[test]
fn the_tutorial_works_as_it_is_written() {
    if can_follow("the_tutorial_works_as_it_is_written") {
        follow("docs/tutorial.md");
    }
}

#[test]
fn host_local_takes_the_references_place_as_it_is_written() {
    if can_follow("host_local_takes_the_references_place_as_it_is_written") {
        follow("docs/how-to/host-local.md");
    }
}

#[test]
fn the_way_to_the_database_and_back_works_as_it_is_written() {
    if can_follow("the_way_to_the_database_and_back_works_as_it_is_written") {
        follow("docs/how-to/sqlite.md");
    }
}

#[test]
fn the_way_to_multus_works_as_it_is_written() {
    if can_follow("the_way_to_multus_works_as_it_is_written") {
        follow("docs/how-to/multus.md");
    }
}

#[test]
fn what_is_applied_to_kubernetes_is_looked_at_as_it_is_written() {
    if can_follow("what_is_applied_to_kubernetes_is_looked_at_as_it_is_written") {
        follow("docs/how-to/kubernetes.md");
    }
}

#[test]
fn the_network_of_nomad_is_looked_at_as_it_is_written() {
    if can_follow("the_network_of_nomad_is_looked_at_as_it_is_written") {
        follow("docs/how-to/nomad.md");
    }
}

#[test]
fn the_network_of_podman_is_looked_at_as_it_is_written() {
    if can_follow("the_network_of_podman_is_looked_at_as_it_is_written") {
        follow("docs/how-to/podman.md");
    }
}

#[test]
fn the_way_to_a_pool_works_as_it_is_written() {
    const NAME: &str = "the_way_to_a_pool_works_as_it_is_written";
    if can_follow(NAME) && etcd::available(NAME) {
        follow("docs/how-to/cluster-pool.md");
    }
}

#[test]
fn the_way_from_whereabouts_works_as_it_is_written() {
    const NAME: &str = "the_way_from_whereabouts_works_as_it_is_written";
    if can_follow(NAME) && etcd::available(NAME) {
        follow("docs/how-to/whereabouts.md");
    }
}

#[test]
fn the_way_from_calico_works_as_it_is_written() {
    const NAME: &str = "the_way_from_calico_works_as_it_is_written";
    if can_follow(NAME) && etcd::available(NAME) {
        follow("docs/how-to/calico.md");
    }
}

#[test]
fn a_backup_works_as_it_is_written() {
    if can_follow("a_backup_works_as_it_is_written") {
        follow("docs/operations/backup.md");
    }
}

#[test]
fn monitors_are_told_what_is_written() {
    if can_follow("monitors_are_told_what_is_written") {
        follow("docs/operations/monitoring.md");
    }
}

#[test]
fn a_full_pool_is_mended_as_it_is_written() {
    if can_follow("a_full_pool_is_mended_as_it_is_written") {
        follow("docs/operations/incidents/pool-full.md");
    }
}

#[test]
fn a_full_node_is_mended_as_it_is_written() {
    const NAME: &str = "a_full_node_is_mended_as_it_is_written";
    if can_follow(NAME) && etcd::available(NAME) {
        follow("docs/operations/incidents/node-full.md");
    }
}

#[test]
fn a_leak_is_mended_as_it_is_written() {
    if can_follow("a_leak_is_mended_as_it_is_written") {
        follow("docs/operations/incidents/leak.md");
    }
}

#[test]
fn a_lost_database_is_mended_as_it_is_written() {
    if can_follow("a_lost_database_is_mended_as_it_is_written") {
        follow("docs/operations/incidents/database-lost.md");
    }
}

#[test]
fn etcd_goes_and_comes_back_as_it_is_written() {
    const NAME: &str = "etcd_goes_and_comes_back_as_it_is_written";
    if can_follow(NAME) && etcd::available(NAME) {
        follow("docs/operations/incidents/etcd-away.md");
    }
}

#[test]
fn etcd_is_restored_as_it_is_written() {
    const NAME: &str = "etcd_is_restored_as_it_is_written";
    if can_follow(NAME)
        && etcd::available(NAME)
        && skip_unless(NAME, &[(have("etcdctl"), "etcd-client")])
    {
        follow("docs/operations/incidents/etcd-restored.md");
    }
}

/// Every page below a folder.
fn pages_below(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            pages.extend(pages_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

#[test]
fn every_page_that_is_to_be_run_is_run() {
    let source = include_str!("docs.rs");
    for page in pages_below(&repository().join("docs")) {
        let text = fs::read_to_string(&page).expect("a page can be read");
        let name = page.strip_prefix(repository()).expect("it is below").display().to_string();
        let followed = source.contains(&format!("follow(\"{name}\")"));
        assert_eq!(followed, !steps(&text).is_empty(), "{name}: marked to be run, and run");
    }
}
