#!/bin/bash
# Three nodes, one pool in etcd: shows etcd-pool at work under a real bridge plugin, with etcd and without
# it. See nodes.sh for how; etcd runs on a node of its own, and so do the cables' other ends.

set -euo pipefail
# shellcheck source=tests/scripts/etcd.sh
source "$(dirname "${BASH_SOURCE[0]}")/etcd.sh"

conflist=$repository/conf-examples/demo-pool/10-demo-pool.conflist
nodes=(1 2 3)
node_of=([pod-1]=1 [pod-2]=1 [pod-3]=2 [pod-4]=3 [pod-5]=1 [pod-6]=2 [pod-7]=3)
before=(pod-1 pod-2 pod-3 pod-4) # started before etcd is killed
away=(pod-5 pod-6 pod-7)         # started while it is away, one on each node
ended=(pod-2 pod-3 pod-4)        # deleted while it is away, one on each node

# plat writes into a pipe here.
colour=never
[[ -z $bold ]] || colour=always

# All nodes on one segment, as on one switch. Each node's bridge for pods has the way there as a port, so
# that the pods are on that segment, too.
connect_nodes() {
    local node
    # The addresses of interfaces are fixed: a bridge would change its own with its ports.
    on switch ip link add lan address 02:00:00:10:00:fe type bridge
    on switch ip address add "$etcd_host/24" dev lan
    on switch ip address add fd00:16::fe/64 dev lan nodad
    on switch ip link set lan up
    for node in "${nodes[@]}"; do
        cable "$node" eth0 switch "vm-00$node"
        on switch ip link set "vm-00$node" master lan up
        on "$node" ip link add cni0 address "02:00:00:10:00:0$node" type bridge
        on "$node" ip link set eth0 master cni0 up
        on "$node" ip address add "192.168.16.$node/24" dev cni0
        # No duplicate address detection: it would only delay the first contact.
        on "$node" ip address add "fd00:16::$node/64" dev cni0 nodad
        on "$node" ip link set cni0 up
        say "vm-00$node   192.168.16.$node/24   fd00:16::$node/64   pods on cni0, behind it eth0 to the switch"
    done
}

# What a node needs: the configuration, where etcd is, and the plugin.
equip_node() {
    local node=$1
    put "$node" 644 "$conflist" /etc/cni/net.d/10-demo-pool.conflist
    put "$node" 644 /dev/stdin /etc/plat/etcd.json <<<"{\"endpoints\": [\"http://$etcd_host:$etcd_port\"]}"
    put "$node" 755 "$binaries/etcd-pool" /run/cni/etcd-pool
    # In front of it something that takes the time.
    # shellcheck disable=SC2016 # expanded on the node
    put "$node" 755 /dev/stdin /run/cni/bin/etcd-pool <<<'#!/bin/bash
        begin=${EPOCHREALTIME/[.,]/} status=0
        /run/cni/etcd-pool || status=$?
        echo $((${EPOCHREALTIME/[.,]/} - begin)) >/run/cni/took
        exit $status'
}

# What an ADD or DEL of a pod was told, and how long etcd-pool took for it.
addresses_and_time() {
    local pod=$1 took
    took=$(<"/proc/${holder[${node_of[$pod]}]}/root/run/cni/took")
    printf '   %-16s%-31setcd-pool took %d.%d ms' \
        "${address[$pod,4]%/*}" "${address[$pod,6]%/*}" $((took / 1000)) $((took / 100 % 10))
}

# All keys in etcd, without their prefix.
keys() {
    ask_etcd '{"key": "AA==", "range_end": "AA==", "keys_only": true}' |
        jq -r '.kvs[]?.key | @base64d | ltrimstr("/plat/v1/")'
}

# The addresses that etcd has a record of, in the order of their numbers.
recorded() { keys | sed -n 's|^s/default/a/||p'; }

# An IPv4 address with its prefix length, as it is in a key.
as_key() {
    local octet number=0
    for octet in ${1//[.\/]/ }; do number=$((number * 256 + octet)); done
    printf '4/%08x' $((number / 256))
}

has_record() { recorded | grep -qx "$(as_key "${address[$1,4]}")"; }

# etcd has what the nodes hold: a record for each pod's address of each family, and no other.
is_caught_up() {
    local pod
    (($(recorded | wc -l) == 2 * ${#pods[@]})) || return 1
    for pod in "${pods[@]}"; do
        has_record "$pod" || return 1
    done
}

# Nobody tries to write to etcd on any node any more.
has_given_up() {
    local node
    for node in "${nodes[@]}"; do
        # shellcheck disable=SC2016 # expanded on the node
        on "$node" bash -c 'cat /proc/[0-9]*/cmdline' 2>/dev/null |
            tr '\0' ' ' | grep -q 'etcd-pool flush ' && return 1
    done
    true
}

# As a runtime does now and then: asks the plugin whether an ADD could be served.
cni_status() {
    local node=$1
    jq -c '.plugins[0] + {name, cniVersion: "1.1.0"}' "$conflist" |
        on "$node" env CNI_COMMAND=STATUS CNI_PATH=/run/cni/bin /run/cni/bin/etcd-pool
}

# How many addresses etcd has a record of, and who has two of them: one that was freed while it was away,
# and one that was given then.
show_records() {
    local pod
    say "etcd has records of $(recorded | wc -l) addresses"
    for pod in pod-2 pod-5; do
        # It may be nobody's.
        plat 3 who "${address[$pod,4]%/*}" --cluster || true
    done
}

check_needs etcd-pool plat -- etcd:etcd-server
remove_everything_at_the_end

step "Three nodes on one segment, and etcd"
start_node switch switch
for node in "${nodes[@]}"; do
    start_node "$node"
    equip_node "$node"
done
connect_nodes
start_etcd
say "etcd     http://$etcd_host:$etcd_port   $(keys | grep -c . || true) keys"

step "One configuration for all of them: ${conflist#"$repository/"}"
say "$(jq -c '.plugins[0].ipam' "$conflist")"
say "/etc/plat/etcd.json: $(on 1 cat /etc/plat/etcd.json)"

step "Four pods"
after_call=addresses_and_time
for pod in "${before[@]}"; do
    add_pod "$pod"
done
pods=("${before[@]}")

step "Pings"
ping_all

step "The cluster: its pool, its nodes and the blocks that they have claimed"
await "etcd has a record of each pod's addresses" is_caught_up
plat 1 pool ls
plat 1 node ls
plat 1 block ls

step "Who has ${address[pod-4,4]%/*} of vm-003? vm-001 asks etcd"
plat 1 who "${address[pod-4,4]%/*}" --cluster

step "The pool as a map, without the rows in which nobody has a block"
plat 1 map demo --cluster --color "$colour" | grep -vE $'^[0-9a-f.:]+ +(\e\\[[0-9;]*m)*(·)+(\e\\[[0-9;]*m)*$'

step "etcd is killed"
at_the_end=$(recorded)
kill_etcd
say "etcd is gone; nobody answers at $etcd_host:$etcd_port"

step "Pods are started and deleted all the same"
for pod in "${away[@]}"; do
    add_pod "$pod"
done
for pod in "${ended[@]}"; do
    delete_pod "$pod"
done
pods=(pod-1 "${away[@]}")

step "Pings"
ping_all

step "What vm-001 says of it"
await "its last attempt to write to etcd has failed" test -e "/proc/${holder[1]}/root/run/plat/pool-flush.log"
plat 1 status || (($? == 1)) || fail "plat status on vm-001 failed" # 1: it needs attention

step "etcd comes back, with the data that it had"
await "the plugins have given up writing to it" has_given_up
start_etcd
[[ $(recorded) == "$at_the_end" ]] || fail "etcd has other records than it had when it was killed"
has_record pod-2 || fail "pod-2's record is gone before anybody could delete it"
! has_record pod-5 || fail "pod-5's record is there before anybody could write it"
show_records

step "The next call on each node writes what was left behind"
began=$SECONDS
for node in "${nodes[@]}"; do
    answer=$(cni_status "$node") || fail "STATUS on vm-00$node failed: $answer"
    say "STATUS on vm-00$node: an ADD could be served"
done
await "etcd has caught up" is_caught_up
say "caught up within $((SECONDS - began + 1)) s"
! has_record pod-2 || fail "pod-2's record is still there"
has_record pod-5 || fail "pod-5's record is not there"
show_records

step "Who has which address"
print_table

step "Pods deleted, addresses free again"
for pod in "${pods[@]}"; do
    delete_pod "$pod"
done
pods=()
await "etcd has no record left" is_caught_up
left=$(keys)
say "left in etcd: the pool, $(grep -c '^n/' <<<"$left") nodes, $(grep -c '^s/default/b/' <<<"$left") blocks"
if grep -vxE 'meta|s/default/pools|(n|o|nn|ni)/.*|s/default/b/.*' <<<"$left" >&2; then
    fail "these should not be left in etcd"
fi
for node in "${nodes[@]}"; do
    [[ $(on "$node" ip -brief link show master cni0 | cut -d' ' -f1) == eth0@* ]] ||
        fail "vm-00$node still has pods' interfaces on its bridge"
done

kill_etcd
remove_everything
step "Everything worked, and nothing is left."
