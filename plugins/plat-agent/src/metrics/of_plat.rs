/*!
What `plat agent metrics`, `plat status --prometheus`, `plat check --prometheus` and the same with `--cluster` tell beside what the agent
tells, too. docs/operations/monitoring.md has a table of them.
*/

use super::{Metric, metric};

macro_rules! metrics {
    ($($constant:ident = $name:literal, $labels:expr, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Metric = metric($name, &$labels, $help);)*
        /// Every one.
        pub(crate) const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    AGENT_UP = "plat_agent_up", [], "Whether plat-agent answers.";
    STATUS = "plat_status", [],
        "What plat status ends with: 0 fine, 1 look at it, 2 act, 3 it could not be looked at.";
    CHECK = "plat_check", [], "What plat check ends with.";
    PROBLEMS = "plat_check_problems", ["severity", "kind"], "What plat check has found.";
    CLUSTER_STATUS = "plat_cluster_status", [], "What plat status --cluster ends with.";
    CLUSTER_ADDRESSES = "plat_cluster_addresses", ["pool", "cidr", "state"],
        "Addresses of a cluster-wide pool.";
    CLUSTER_BLOCKS = "plat_cluster_blocks", ["pool", "cidr", "state"],
        "Blocks of a cluster-wide pool.";
    CLUSTER_NODES = "plat_cluster_nodes", ["life"], "Nodes, by what etcd knows of them.";
    MEMBER_UP = "plat_etcd_member_up", ["endpoint"], "Whether a member of etcd answers.";
    MEMBER_ALARM = "plat_etcd_member_alarm", ["endpoint", "alarm"],
        "Alarms that a member of etcd has raised.";
    MEMBER_SIZE = "plat_etcd_member_size_bytes", ["endpoint"],
        "How large the database of a member of etcd is.";
    CLUSTER_CHECK = "plat_cluster_check", [], "What plat check --cluster ends with.";
    CLUSTER_PROBLEMS = "plat_cluster_problems", ["severity", "kind"],
        "What plat check --cluster has found in etcd.";
}
