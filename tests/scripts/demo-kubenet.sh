#!/bin/bash
# kubenet by hand, automated: a subnet of one pool for each node, a bridge, and routes that keep themselves.
# docs/scenarios/kubenet.md says the same for two machines. See nodes.sh and agents.sh for how.

set -euo pipefail
# shellcheck source=tests/scripts/agents.sh
source "$(dirname "${BASH_SOURCE[0]}")/agents.sh"

conflist=$examples/kubenet/10-kubenet.conflist
agent_config=$examples/kubenet/agent.json
node_of=([pod-1]=1 [pod-2]=2 [pod-3]=3)

is_told() { on "$1" grep -q "$2" /run/agent.log; }

check_needs node-local plat plat-agent -- etcd:etcd-server
remove_everything_at_the_end

step "Two nodes on one segment, and etcd"
start_switch
start_etcd
say "etcd     http://$etcd_host:$etcd_port"
for node in 1 2; do join_node "$node" node-local; done

step "One configuration for all nodes: ${conflist#"$repository/"} and ${agent_config#"$repository/"}"
say "$(jq -c '.plugins[0].ipam' "$conflist")"
say "$(jq -c . "$agent_config")"

step "plat-agent registers each node with its subnets, and makes routes to the others"
for node in 1 2; do start_agent "$node"; done
await "vm-001 has a route to vm-002" has_route 1 10.1.2.0/24 192.168.16.2
await "vm-002 has a route to vm-001" has_route 2 10.1.1.0/24 192.168.16.1
show_routes 1

step "A pod on each"
for pod in pod-1 pod-2; do add_pod "$pod"; done
pods=(pod-1 pod-2)

step "Pings"
ping_all

step "A third node comes; on vm-001 a person has made a route that is in its way"
types 1 ip route add 10.1.3.0/24 via 192.168.16.77
join_node 3 node-local
start_agent 3
add_pod pod-3
pods+=(pod-3)
await "vm-001 tells of the foreign route" is_told 1 "has a route of somebody else's"
explain 1

step "The person removes it"
types 1 ip route del 10.1.3.0/24
await "vm-001 has a route to vm-003" has_route 1 10.1.3.0/24 192.168.16.3
show_routes 1

step "A link goes down, and all routes over it with it; it comes up"
types 2 ip link set eth0 down
types 2 ip link set eth0 up
# The kernel has dropped the IPv6 address; an operator's network configuration puts it back.
types 2 ip address replace fd00:16::2/64 dev eth0 nodad
await "vm-002 has its routes again" has_route 2 10.1.1.0/24 192.168.16.1

step "Pings"
ping_all

step "An agent is killed: its routes stay, until it is told to remove them"
kill_agent 1
ping_all
types 1 "$binaries/plat-agent" --cleanup | sed 's/^/  /'
[[ -z $(on 1 ip route show proto 205) ]] || fail "vm-001 still has routes of the agent"

step "Pods deleted, addresses free again"
for pod in "${pods[@]}"; do delete_pod "$pod"; done

remove_everything
step "Everything worked, and nothing is left."
