//! What is told on a node, by the script that is to be put there: with an agent, without one, and where it has ended.

use std::collections::BTreeSet;
use std::fs;

use support::{Node, Outcome, binary, etcd, have, is_root, skip_unless};

use super::told::{Told, table};
use super::{folder, passes, promtool};

/// A node with an etcd, a pool, a network in a database, and the files that the script leaves in `/run/out`.
const BEGIN: &str = r#"
set -euo pipefail
export PATH=/run/plugins:$PATH PLAT_ETCD_CONFIG=/run/etcd.json PLAT_AGENT_CONFIG=/run/agent.json
cd /run
echo '{"endpoints": ["http://127.0.0.1:2379"]}' >etcd.json
etcd --data-dir /run/etcd >etcd.log 2>&1 &
until plat pool ls >/dev/null 2>&1; do sleep 0.1; done
plat pool create pods --cidr 10.64.0.0/16
cat >local.conf <<END
{"cniVersion": "1.1.0", "name": "web", "type": "bridge",
 "ipam": {"type": "host-local", "store": "sqlite", "subnet": "10.23.0.0/29"}}
END
cat >pool.conf <<END
{"cniVersion": "1.1.0", "name": "pods", "type": "bridge", "ipam": {"type": "etcd-pool", "pool": "pods"}}
END
add() { # PLUGIN CONFIGURATION CONTAINER
    CNI_COMMAND=ADD CNI_CONTAINERID=$3 CNI_IFNAME=eth0 CNI_NETNS=/run/netns/$3 CNI_PATH=/run/plugins "$1" <"$2" >answer
}
for pod in a b c d e; do add host-local local.conf $pod; done
! add host-local local.conf f
"#;
/// Without an agent.
const ALONE: &str = r#"
until add etcd-pool pool.conf g; do sleep 0.1; done
mkdir -p /var/lib/cni/networks/old
: >/var/lib/cni/networks/old/10.9.9.9
for what in node check; do sh plat-textfile.sh $what /run/alone; done
# etcd is asked, and may be late.
until sh plat-textfile.sh cluster /run/alone && grep -qx 'plat_cluster_status 0' alone/plat-cluster.prom &&
    grep -qx 'plat_cluster_check [01]' alone/plat-cluster.prom; do
    sleep 0.1
done
"#;
/// With one, and after its end.
const WATCHED: &str = r#"
cat >agent.json <<END
{"node": "vm-001", "index": 1, "etcd": {"endpoints": ["http://127.0.0.1:2379"]},
 "uplink": {"addresses": ["192.168.16.{i}/24"]}, "listen": "127.0.0.1:9434",
 "gc": {"runtime": "/run/none.sock"},
 "routes": {"sources": [{"type": "pool"}], "sinks": [{"type": "kernel"}]}}
END
plat-agent --config agent.json >agent.log 2>&1 &
agent=$!
until plat agent metrics 2>/dev/null | grep -qx 'plat_agent_ready 1'; do sleep 0.1; done
# What the loop has not come to yet.
until plat agent metrics | grep -qx 'plat_source_up{source="pool",position="0"} 1'; do sleep 0.1; done
until sh plat-textfile.sh node /run/watched && grep -qx 'plat_agent_up 1' watched/plat.prom; do sleep 0.1; done
kill "$agent"
wait "$agent"
sh plat-textfile.sh node /run/left
"#;

/// Whether a sample of this metric has the labels that the table says. The name of a sample of a histogram is longer.
fn is_as_documented(told: &Told, sample: &str) -> bool {
    let end = sample.find(['{', ' ']).unwrap_or(sample.len());
    let (name, rest) = sample.split_at(end);
    let found: BTreeSet<String> = rest
        .split("=\"")
        .filter_map(|part| part.rsplit(['{', ',']).next())
        .filter(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        })
        .map(str::to_owned)
        .collect();
    match told.get(name) {
        Some(labels) => *labels == found,
        None => ["_bucket", "_count", "_sum"]
            .iter()
            .any(|end| name.strip_suffix(end).is_some_and(|name| told.contains_key(name))),
    }
}

/// The metrics of a text, each of which has to be as the tables say.
fn metrics(told: &Told, text: &str) -> BTreeSet<String> {
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(is_as_documented(told, sample), "{sample} is not as it is documented");
    }
    let names = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
    names.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect()
}

fn value(text: &str, sample: &str) -> Option<f64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_node_tells_what_rules_and_dashboard_ask_for() {
    const NAME: &str = "a_node_tells_what_rules_and_dashboard_ask_for";
    let needs = [(is_root(), "root"), (have("ip"), "iproute2"), (have("nsenter"), "util-linux")];
    if !skip_unless(NAME, &needs) || !etcd::available(NAME) {
        return;
    }
    let Some(promtool) = promtool(NAME) else { return };
    let node = Node::start("vm-001");
    for name in ["host-local", "etcd-pool", "plat", "plat-agent"] {
        node.install(&binary(name));
    }
    let script = fs::read(folder().join("plat-textfile.sh")).expect("there is a script");
    node.write("/run/plat-textfile.sh", script);
    let Outcome { exit, stdout, stderr, .. } =
        node.run(&["bash", "-c", &[BEGIN, ALONE, WATCHED].concat()]);
    assert_eq!(exit, Some(0), "{stdout}{stderr}");

    let of_agent = table("docs/plat-agent.md");
    let of_plat = table("docs/operations/monitoring.md");
    let all: Told = of_agent.clone().into_iter().chain(of_plat.clone()).collect();
    let read = |file: &str| {
        let path = node.path(file);
        passes(&promtool, &["check", "metrics"], Some(&path));
        let text = fs::read_to_string(path).expect("it is there");
        let names = metrics(&all, &text);
        (text, names)
    };

    // Without an agent: the stores, and what `plat` finds in etcd.
    let range = "{ipam=\"host-local\",network=\"web\",ranges=\"10.23.0.1-10.23.0.6\"}";
    let refused = "{ipam=\"host-local\",network=\"web\",command=\"ADD\",outcome=\"refused\"}";
    let (alone, mut told) = read("/run/alone/plat.prom");
    for (sample, expected) in [
        ("plat_status", 2.0),
        (&format!("plat_pool_addresses_allocated{range}"), 5.0),
        (&format!("plat_pool_addresses_free{range}"), 0.0),
        (&format!("plat_calls_total{refused}"), 1.0),
        ("plat_allocations{ipam=\"host-local\",network=\"web\"}", 5.0),
        ("plat_store_faults{ipam=\"\",network=\"old\"}", 1.0),
        ("plat_pool_refused{reason=\"copied\"}", 0.0),
    ] {
        assert_eq!(value(&alone, sample), Some(expected), "{sample} in\n{alone}");
    }
    assert!(!alone.contains("plat_agent_"), "{alone}");
    let (text, more) = read("/run/alone/plat-check.prom");
    told.extend(more);
    let empty = "plat_check_problems{severity=\"warning\",kind=\"empty\"}";
    assert_eq!(value(&text, empty), Some(1.0), "{text}");
    let (text, more) = read("/run/alone/plat-cluster.prom");
    told.extend(more);
    let blocks = "plat_cluster_blocks{pool=\"default/pods\",cidr=\"10.64.0.0/16\",state=";
    assert_eq!(value(&text, "plat_cluster_status"), Some(0.0), "{text}");
    assert!(value(&text, &format!("{blocks}\"claimed\"}}")) >= Some(1.0), "{text}");
    assert!(value(&text, &format!("{blocks}\"free\"}}")) > Some(1000.0), "{text}");
    assert_eq!(value(&text, "plat_etcd_member_up{endpoint=\"http://127.0.0.1:2379\"}"), Some(1.0));

    // With one: all of its metrics, and nothing twice.
    let (watched, more) = read("/run/watched/plat.prom");
    for metric in of_agent.keys() {
        assert!(more.contains(metric), "{metric} is missing in\n{watched}");
    }
    told.extend(more);
    for (sample, expected) in [
        ("plat_agent_up", 1.0),
        ("plat_status", 2.0),
        (&format!("plat_pool_addresses_allocated{range}"), 5.0),
        ("plat_gc_freed_total", 0.0),
    ] {
        assert_eq!(value(&watched, sample), Some(expected), "{sample} in\n{watched}");
    }
    let samples: Vec<&str> = watched.lines().filter(|line| !line.starts_with('#')).collect();
    let distinct: BTreeSet<&str> =
        samples.iter().filter_map(|line| line.rsplit_once(' ')).map(|(sample, _)| sample).collect();
    assert_eq!(distinct.len(), samples.len(), "{watched}");
    // It has ended: the stores are told of all the same.
    let (left, _) = read("/run/left/plat.prom");
    assert_eq!(value(&left, "plat_agent_up"), Some(0.0), "{left}");
    assert_eq!(value(&left, &format!("plat_pool_addresses_free{range}")), Some(0.0), "{left}");
    // What only troubles tell.
    let quiet = ["plat_cluster_problems", "plat_etcd_member_alarm"].map(str::to_owned);
    told.extend(quiet);
    let documented: BTreeSet<String> = all.keys().cloned().collect();
    assert_eq!(told, documented, "left: told, right: documented");
}
