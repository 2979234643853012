#!/bin/bash
# Blocks of one pool that come and go with the pods, and routes that follow them: etcd-pool, a bridge, plat-agent.
# docs/scenarios/blocks.md says the same for two machines. See nodes.sh and agents.sh for how.

set -euo pipefail
# shellcheck source=tests/scripts/agents.sh
source "$(dirname "${BASH_SOURCE[0]}")/agents.sh"

conflist=$examples/blocks/10-blocks.conflist
agent_config=$examples/blocks/agent.json
node_of=([pod-1]=1 [pod-2]=2)

# The block that a node has a route to by another one.
block_via() { on "$1" ip route show proto 205 via "192.168.16.$2" | cut -d' ' -f1; }

has_block_via() { [[ -n $(block_via "$@") ]]; }

check_needs etcd-pool plat plat-agent -- etcd:etcd-server
remove_everything_at_the_end

step "Two nodes on one segment, etcd, and plat-agent on each"
start_switch
start_etcd
say "etcd     http://$etcd_host:$etcd_port"
for node in 1 2; do
    join_node "$node" etcd-pool
    start_agent "$node"
done

step "One configuration for both: ${conflist#"$repository/"} and ${agent_config#"$repository/"}"
say "$(jq -c '.plugins[0].ipam' "$conflist")"
say "$(jq -c . "$agent_config")"

step "Nobody has an address, so nobody has a block, and there is no route"
show_routes 1

step "The first pod on each node brings a block, and the other node a route to it"
for pod in pod-1 pod-2; do add_pod "$pod"; done
pods=(pod-1 pod-2)
await "vm-001 has a route to vm-002's block" has_block_via 1 2
await "vm-002 has a route to vm-001's block" has_block_via 2 1
explain 1

step "Pings"
ping_all
plat 1 block ls

step "etcd is killed: the routes stay"
kill_etcd
show_routes 2
ping_all
start_etcd

step "Pods deleted, addresses free again; a node keeps its last block"
for pod in "${pods[@]}"; do delete_pod "$pod"; done

kill_etcd
remove_everything
step "Everything worked, and nothing is left."
