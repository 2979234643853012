//! `docs/reference/files.md` against what calls of the plugins leave.

use std::fs;

use support::{Node, binary, etcd, is_root, repository, skip_unless};

use super::run;

const PAGE: &str = "docs/reference/files.md";

/// Calls that write as much as possible: both stores, two families, another dataDir, a large directory, sticky addresses, a
/// chain, a pool.
const CALLS: &str = r#"
add() { # PLUGIN CONTAINER IPAM
    CNI_COMMAND=ADD CNI_CONTAINERID=$2 CNI_IFNAME=eth0 CNI_NETNS=/run/netns/$2 CNI_PATH=/run/plugins \
        CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=$2" "/run/plugins/$1" \
        <<<"{\"cniVersion\": \"1.1.0\", \"name\": \"$4\", \"type\": \"bridge\", \"ipam\": {\"type\": \"$1\", $3}}" >/run/answer
}
add host-local a '"ranges": [[{"subnet": "10.22.0.0/24"}], [{"subnet": "fd00:22::/64"}]]' web
add host-local a '"dataDir": "/var/lib/elsewhere", "subnet": "10.23.0.0/24"' other
for n in {1..70}; do add host-local "a$n" '"subnet": "10.24.0.0/24"' large; done
add node-local a '"strategy": "sticky", "carve": {"pool": "10.25.0.0/16", "prefix": 24}' sticky
add node-local a '"store": "dir", "carve": {"pool": "10.26.0.0/16", "prefix": 24}' pinned
add chain a '"ipams": [{"type": "node-local", "carve": {"pool": "10.27.0.0/16", "prefix": 24}}]' chained
etcd --data-dir /run/etcd >/run/etcd.log 2>&1 &
etcd=$!
mkdir -p /run/connection
echo '{"endpoints": ["http://127.0.0.1:2379"]}' >/run/connection/etcd.json
export PLAT_ETCD_CONFIG=/run/connection/etcd.json
for ((tries = 0; tries < 100; tries++)); do
    if add etcd-pool a '"pool": {"name": "pods", "cidr": "10.28.0.0/16"}' pool; then break; fi
    sleep 0.2
done
# What writes to etcd behind the call ends when nothing is left to write.
for ((tries = 0; tries < 300; tries++)); do
    grep -qsx etcd-pool /proc/[0-9]*/comm || break
    sleep 0.1
done
kill "$etcd"
wait
"#;

/// A row's path and mode. A word in capitals stands for a name.
struct Row {
    path: String,
    mode: String,
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(repository().join(PAGE)).expect("the page can be read");
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| `/")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let (Some(paths), Some(mode)) = (cells.first(), cells.get(1)) else { continue };
        for path in paths.split('`').skip(1).step_by(2) {
            let mode = mode.split_whitespace().next().unwrap_or_default();
            rows.push(Row { path: path.to_owned(), mode: mode.to_owned() });
        }
    }
    rows
}

/// Whether a path is of a row: literal pieces in their order, anything but a slash for the words in capitals.
fn is_of(pattern: &str, path: &str) -> bool {
    let (patterns, parts): (Vec<&str>, Vec<&str>) =
        (pattern.split('/').collect(), path.split('/').collect());
    patterns.len() == parts.len()
        && patterns.iter().zip(&parts).all(|(pattern, part)| {
            let mut rest = *part;
            let mut open = false;
            for piece in pattern.split_inclusive(|c: char| !c.is_ascii_uppercase()) {
                let capitals = piece.trim_end_matches(|c: char| !c.is_ascii_uppercase());
                let literal = piece.get(capitals.len()..).unwrap_or_default();
                open |= !capitals.is_empty();
                if literal.is_empty() {
                    continue;
                }
                let Some(at) = rest.find(literal) else { return false };
                if at > 0 && !open {
                    return false;
                }
                rest = rest.get(at + literal.len()..).unwrap_or_default();
                open = false;
            }
            rest.is_empty() || open
        })
}

#[test]
fn capitals_stand_for_names() {
    for (pattern, path, right) in [
        ("/a/b", "/a/b", true),
        ("/a/b", "/a/c", false),
        ("/a/b", "/a/bc", false),
        ("/a/NETWORK", "/a/x.y", true),
        ("/a/NETWORK", "/a/x/y", false),
        ("/a/NETWORK@HASH", "/a/web@12", true),
        ("/a/NETWORK@HASH", "/a/web", false),
        ("/a/last_reserved_ip.SET", "/a/last_reserved_ip.0", true),
        ("/a/last_reserved_ip.SET", "/a/10.0.0.1", false),
        ("/a/.NETWORK@imported-TIME", "/a/.web@imported-1", true),
    ] {
        assert_eq!(is_of(pattern, path), right, "{pattern} {path}");
    }
}

#[test]
fn every_file_that_calls_leave_is_in_the_tables() {
    const NAME: &str = "every_file_that_calls_leave_is_in_the_tables";
    if !skip_unless(NAME, &[(is_root(), "root")]) || !etcd::available(NAME) {
        return;
    }
    let node = Node::start("vm-001");
    for plugin in ["host-local", "node-local", "etcd-pool", "chain"] {
        node.install(&binary(plugin));
    }
    node.write("/run/calls", format!("set -euo pipefail\n{CALLS}"));
    let exit = run(&node, "/run/calls", "/run/printed");
    let printed = fs::read_to_string(node.path("/run/printed")).expect("it has printed into it");
    assert_eq!(exit, Some(0), "{printed}");
    let places = ["/run/plat", "/var/lib/plat", "/var/lib/cni/networks"];
    let found = node.ok(&[&["find"], &places[..], &["-printf", "%m %u %p\\n"]].concat());
    let rows = rows();
    assert!(rows.len() > 25, "the tables were not found");
    for line in found.lines() {
        let mut words = line.splitn(3, ' ');
        let (mode, owner, path) = (words.next(), words.next(), words.next().unwrap_or_default());
        // Names of their own come first: `lock` is no address.
        let named = rows.iter().find(|row| row.path == path);
        let of = named.or_else(|| {
            let mut fitting: Vec<&Row> = rows.iter().filter(|row| is_of(&row.path, path)).collect();
            // The one with the fewest capitals says the most.
            fitting.sort_by_key(|row| row.path.chars().filter(char::is_ascii_uppercase).count());
            fitting.first().copied()
        });
        let row = of.unwrap_or_else(|| panic!("{path} is not in {PAGE}; found:\n{found}"));
        assert_eq!((mode, owner), (Some(row.mode.as_str()), Some("root")), "{path}");
    }
    for known in
        ["/run/plat/plat.db", "/run/plat/index", "/run/plat/chain", "/var/lib/plat/pool.json"]
    {
        assert!(found.lines().any(|line| line.ends_with(known)), "no {known} was made:\n{found}");
    }
}
