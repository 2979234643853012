#!/bin/bash
# Calico's route agent: Calico's keys in etcd, routes that follow them. Calico itself is not needed: its keys are
# written as it writes them. docs/scenarios/calico.md says the same for two machines.

set -euo pipefail
# shellcheck source=tests/scripts/agents.sh
source "$(dirname "${BASH_SOURCE[0]}")/agents.sh"

agent_config=$examples/calico/agent.json

# What Calico on one of the nodes does.
calico() {
    say "etcdctl $*"
    on switch env ETCDCTL_API=3 etcdctl --endpoints "http://$etcd_host:$etcd_port" "$@" >/dev/null
}

claims() { calico put "/calico/ipam/v2/host/$1/ipv4/block/${2/\//-}" '{"state":"confirmed"}'; }

gives_up() { calico del "/calico/ipam/v2/host/$1/ipv4/block/${2/\//-}"; }

check_needs plat-agent -- etcd:etcd-server etcdctl:etcd-client
remove_everything_at_the_end

step "A node on one segment with others, and etcd"
start_switch
start_etcd
say "etcd     http://$etcd_host:$etcd_port"
join_node 1

step "Calico says where its nodes are, and which has which block"
for node in 2 3; do
    calico put "/calico/resources/v3/projectcalico.org/nodes/vm-00$node" \
        "{\"spec\":{\"bgp\":{\"ipv4Address\":\"192.168.16.$node/24\"}}}"
done
claims vm-002 10.244.2.0/26
claims vm-003 10.244.3.0/26

step "What the agent would do, and why: ${agent_config#"$repository/"}"
explain 1

step "It does so"
start_agent 1
await "vm-001 has a route to vm-002's block" has_route 1 10.244.2.0/26 192.168.16.2
await "vm-001 has a route to vm-003's block" has_route 1 10.244.3.0/26 192.168.16.3
show_routes 1

step "A block moves to another node"
gives_up vm-002 10.244.2.0/26
claims vm-003 10.244.2.0/26
await "the route follows" has_route 1 10.244.2.0/26 192.168.16.3
show_routes 1

step "An address of a block is used on another node"
calico put /calico/ipam/v2/assignment/ipv4/block/10.244.3.0-26 \
    '{"cidr":"10.244.3.0/26","affinity":"host:vm-003","allocations":[null,0],"attributes":[{"secondary":{"node":"vm-002"}}]}'
await "it has a route of its own" has_route 1 10.244.3.1 192.168.16.2
explain 1

step "etcd is killed, and the agent, too: the routes stay; both come back"
kill_etcd
kill_agent 1
show_routes 1
start_etcd
start_agent 1

step "A block is given up"
gives_up vm-003 10.244.2.0/26
await "its route is gone" has_no_route 1 10.244.2.0/26
show_routes 1
has_route 1 10.244.3.0/26 192.168.16.3 || fail "the other block's route is gone, too"

kill_etcd
remove_everything
step "Everything worked, and nothing is left."
