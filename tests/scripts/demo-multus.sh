#!/bin/bash
# Several networks per pod, as Multus attaches them, each of node-local with one configuration for all nodes, and
# routes on all of them. docs/scenarios/multus.md says the same for two machines. See nodes.sh and agents.sh for how.

set -euo pipefail
# shellcheck source=tests/scripts/agents.sh
source "$(dirname "${BASH_SOURCE[0]}")/agents.sh"

# In the order in which Multus attaches them: the cluster's own first.
networks=("$examples"/multus/{10-pods,20-signalling,30-storage}.conflist)
interfaces=(eth0 net1 net2)
agent_config=$examples/multus/agent.json
node_of=([pod-1]=1 [pod-2]=2)
declare -A results=()

# Multus' part: attaches a pod to a network after the other.
attach() {
    local pod=$1 number answer
    on "${node_of[$pod]}" ip netns add "$pod"
    for number in "${!networks[@]}"; do
        conflist=${networks[number]} ifname=${interfaces[number]}
        answer=$(cni ADD "$pod") || fail "ADD of $pod by $ifname failed: $answer"
        results[$pod,$ifname]=$answer
        say "ADD $pod on vm-00${node_of[$pod]}   $(printf '%-5s%-12s' "$ifname" "$(jq -r .name "$conflist")")" \
            "$(jq -r '[.ips[].address] | join("   ")' <<<"$answer")"
    done
}

by_interface() { printf '   by %s' "$ifname"; }

# From the last to the first.
detach() {
    local pod=$1 number
    for ((number = ${#networks[@]} - 1; number >= 0; number--)); do
        conflist=${networks[number]} ifname=${interfaces[number]}
        result[$pod]=${results[$pod,$ifname]}
        delete_pod "$pod"
    done
}

# On every network from every pod to the other, over both families.
ping_networks() {
    local from to number family target
    for from in pod-1 pod-2; do
        to=pod-$((3 - ${from#pod-}))
        for number in "${interfaces[@]}"; do
            for family in 4 6; do
                target=$(jq -r --argjson v6 "$((family == 6))" \
                    '[.ips[].address | select(contains(":") == ($v6 == 1))][0] | split("/")[0]' \
                    <<<"${results[$to,$number]}")
                in_pod "$from" ping "-$family" -n -q -i 0.2 -c 1 -w 60 "$target" >/dev/null ||
                    fail "$from does not reach $target of $to"
            done
            say "$from -> $to   by $number   IPv4 ok   IPv6 ok"
        done
    done
}

check_needs node-local plat plat-agent
remove_everything_at_the_end

step "Two nodes on one segment, and plat-agent on each"
start_switch
for node in 1 2; do
    join_node "$node" node-local
    start_agent "$node"
done
await "vm-001 has a route to vm-002's last network" has_route 1 10.3.2.0/24 192.168.16.2
await "vm-002 has a route to vm-001's last network" has_route 2 10.3.1.0/24 192.168.16.1

step "Three networks, each the same on both nodes: ${examples#"$repository/"}/multus"
for conflist in "${networks[@]}"; do
    say "$(jq -r .name "$conflist"): $(jq -c '.plugins[0].ipam.carve' "$conflist")"
done

step "A pod on each node, on all networks"
for pod in pod-1 pod-2; do attach "$pod"; done

step "Pings on every network"
ping_networks

step "What the agent has done, and why"
on 1 "$binaries/plat-agent" --dry-run | grep -E '^ *ACTION|vm-00|[.]2[.]0/24|:2::/64' | sed 's/^/  /'

step "What vm-001 has"
plat 1 ls

after_call=by_interface
step "Pods deleted, from the last network to the first"
for pod in pod-1 pod-2; do detach "$pod"; done

remove_everything
step "Everything worked, and nothing is left."
