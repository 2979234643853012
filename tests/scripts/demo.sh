#!/bin/bash
# Two nodes, one configuration: shows node-local at work under a real bridge plugin. See nodes.sh for how.

set -euo pipefail
# shellcheck source=tests/scripts/nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/nodes.sh"

conflist=$repository/conf-examples/demo/10-demo.conflist
nodes=(1 2)
pods=(pod-1 pod-2 pod-3 pod-4)
node_of=([pod-1]=1 [pod-2]=1 [pod-3]=2 [pod-4]=2)

connect_nodes() {
    local node
    cable 1 eth0 2 eth0
    for node in "${nodes[@]}"; do
        on "$node" ip address add "192.168.16.$node/24" dev eth0
        # No duplicate address detection: it would only delay the first ping.
        on "$node" ip address add "fd00:16::$node/64" dev eth0 nodad
        on "$node" ip link set eth0 up
        say "vm-00$node   192.168.16.$node/24   fd00:16::$node/64"
    done
}

add_routes() {
    local node other
    for node in "${nodes[@]}"; do
        other=$((3 - node))
        on "$node" ip route add "10.1.$other.0/24" via "192.168.16.$other"
        on "$node" ip route add "fd00:10:1:$other::/64" via "fd00:16::$other"
        say "vm-00$node   10.1.$other.0/24 via 192.168.16.$other" \
            "  fd00:10:1:$other::/64 via fd00:16::$other"
    done
}

# How many addresses a node holds.
held() {
    plat "$1" ls "$network" --json | jq '.allocations | length'
}

check_needs node-local plat
remove_everything_at_the_end
network=$(jq -r .name "$conflist")

step "Two nodes"
for node in "${nodes[@]}"; do
    start_node "$node"
    put "$node" 644 "$conflist" /etc/cni/net.d/10-demo.conflist
    put "$node" 755 "$binaries/node-local" /run/cni/bin/node-local
done
connect_nodes

step "One configuration for both: ${conflist#"$repository/"}"
say "$(jq -c '.plugins[0].ipam' "$conflist")"

step "Four pods"
for pod in "${pods[@]}"; do
    add_pod "$pod"
done

step "Routes to the other node's pods"
add_routes

step "Pings"
ping_all

step "Who has which address"
print_table

step "The same, as plat sees it on vm-001"
plat 1 status
plat 1 map "$network" | sed -n '3,6p'

step "Pods deleted, addresses free again"
for node in "${nodes[@]}"; do
    count=$(held "$node")
    say "vm-00$node holds $count addresses"
    ((count == 4)) || fail "vm-00$node holds $count addresses, not two for each of its two pods"
done
for pod in "${pods[@]}"; do
    delete_pod "$pod"
done
for node in "${nodes[@]}"; do
    count=$(held "$node")
    say "vm-00$node holds $count addresses"
    ((count == 0)) || fail "vm-00$node still holds $count addresses"
    [[ -z $(on "$node" ip -brief link show master cni0) ]] ||
        fail "vm-00$node still has interfaces on its bridge"
done

remove_everything
step "Everything worked, and nothing is left."
