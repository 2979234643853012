#!/bin/bash
# Two nodes with one subnet and one directory of reservations: no address twice, and neither frees what is the other's.
# docs/scenarios/shared.md says the same for two machines. See nodes.sh and agents.sh for how.

set -euo pipefail
# shellcheck source=tests/scripts/agents.sh
source "$(dirname "${BASH_SOURCE[0]}")/agents.sh"

conflist=$examples/shared/10-shared.conflist
directory=/srv/cni-ipam/shared
node_of=([pod-1]=1 [pod-2]=2 [pod-3]=1 [pod-4]=2)

check_needs host-local plat
[[ $repository/ != /srv/* && $binaries/ != /srv/* ]] || fail "it needs /srv for itself"
[[ -d /srv ]] || fail "it needs a directory /srv to mount something on"
# The file system that both have is on /srv of the nodes, and not of this machine: the script goes on with mounts of
# its own, which nodes have, too.
[[ ${1:-} == --with-own-mounts ]] || exec unshare --mount --propagation private "$0" --with-own-mounts
mount -t tmpfs tmpfs /srv
remove_everything_at_the_end

show_reservations() { on 1 ls "$directory" | grep -E '^[0-9a-f]+[.:_]' | sed 's/^/  /'; }

count() { on 1 ls "$directory" | grep -cE '^10[.]' || true; }

# As a runtime does now and then: tells a node's plugin which pods live there. collect NODE POD...
collect() {
    local node=$1 answer
    shift
    say "GC on vm-00$node, where ${*:-nobody} lives"
    answer=$(jq -c '.plugins[0] + {name, cniVersion: "1.1.0"} +
        {"cni.dev/valid-attachments": [$ARGS.positional[] | {containerID: ("demo-" + .), ifname: "eth0"}]}' \
        "$conflist" --args "$@" |
        on "$node" env CNI_COMMAND=GC CNI_PATH=/run/cni/bin /run/cni/bin/host-local) ||
        fail "GC failed: $answer"
}

step "Two nodes with one network for their pods, and one file system"
start_switch
on switch ip link add stretched type bridge
on switch ip link set stretched up
for node in 1 2; do
    join_node "$node" host-local
    cable "$node" lan switch "lan$node"
    on switch ip link set "lan$node" master stretched up
    on "$node" ip link add br-shared type bridge
    on "$node" ip link set lan master br-shared up
    on "$node" ip link set br-shared up
done

step "One configuration for both: ${conflist#"$repository/"}"
say "$(jq -c '.plugins[0].ipam' "$conflist")"

step "Two pods on each: addresses out of one range"
pods=(pod-1 pod-2 pod-3 pod-4)
for pod in "${pods[@]}"; do add_pod "$pod"; done
print_table
show_reservations

step "Pings"
ping_all

step "GC on one node frees nothing of the other"
collect 1 pod-1 pod-3
collect 2 pod-2 pod-4
collect 1
(($(count) == 4)) || fail "there are $(count) reservations, not four"
say "still $(count) IPv4 addresses are reserved"

step "Pods deleted, addresses free again"
for pod in pod-1 pod-3; do delete_pod "$pod"; done
(($(count) == 2)) || fail "there are $(count) reservations, not two"
say "vm-002's are reserved: $(count) IPv4 addresses"
for pod in pod-2 pod-4; do delete_pod "$pod"; done
(($(count) == 0)) || fail "there are still $(count) reservations"

remove_everything
step "Everything worked, and nothing is left."
