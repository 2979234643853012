#!/bin/bash
# Two nodes, one configuration: shows node-local at work under a real bridge plugin.
#
# Each node is a network namespace with a host name of its own and private mounts of /run, /var/lib
# and /etc/cni. Nothing is made in the namespaces of the host: the kernel removes everything with
# the two processes that hold the nodes, and these die with this script, however it ends.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
conflist=$repository/conf-examples/demo/10-demo.conflist
binaries=${PLAT_BIN_DIR:-$repository/target/release}

nodes=(1 2)
pods=(pod-1 pod-2 pod-3 pod-4)
declare -A node_of=([pod-1]=1 [pod-2]=1 [pod-3]=2 [pod-4]=2)
declare -A holder=()  # node -> process that keeps its namespaces
declare -A address=() # pod, family -> address
declare -A result=()  # pod -> what ADD answered
network=

bold='' plain=''
[[ ! -t 1 ]] || bold=$'\e[1m' plain=$'\e[0m'

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }
fail() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

# Says all that is missing, not only the first thing.
check_needs() {
    local missing=() command directory
    [[ $EUID -eq 0 ]] || missing+=("root (network namespaces): sudo $here/demo.sh")
    for command in ip ping jq nsenter unshare setpriv; do
        [[ -n $(type -P "$command") ]] ||
            missing+=("$command: apt-get install iproute2 iputils-ping jq util-linux")
    done
    for command in node-local plat; do
        [[ -x $binaries/$command ]] || missing+=("$binaries/$command: make build")
    done
    for directory in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
        [[ -x $directory/bridge ]] && plugins=$directory && break
    done
    [[ -n ${plugins:-} ]] ||
        missing+=("the bridge plugin: apt-get install containernetworking-plugins")

    ((${#missing[@]} == 0)) || {
        printf 'The demo needs:\n' >&2
        printf '  %s\n' "${missing[@]}" >&2
        exit 1
    }
}

# Runs a command on a node.
on() {
    local node=$1
    shift
    nsenter --target "${holder[$node]}" --net --uts --mount -- "$@"
}

# Runs a command in a pod.
in_pod() {
    local pod=$1
    shift
    on "${node_of[$pod]}" ip netns exec "$pod" "$@"
}

start_node() {
    local node=$1 ready
    # setpriv: the kernel ends the holder when this script is gone, even by SIGKILL.
    # shellcheck disable=SC2016 # expanded in the node
    exec {ready}< <(exec setpriv --pdeathsig KILL \
        unshare --net --uts --mount --propagation private \
        bash -euc '
            hostname "$1"
            mount -t tmpfs tmpfs /run
            mount -t tmpfs tmpfs /var/lib
            if [[ ! -d /etc/cni ]]; then # no place to mount on: a copy of /etc has one
                cp -a /etc /run/etc
                mkdir /run/etc/cni
                mount --bind /run/etc /etc
            fi
            mount -t tmpfs tmpfs /etc/cni
            ip link set lo up
            echo 1 >/proc/sys/net/ipv4/ip_forward
            echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
            echo ready
            exec sleep infinity' node "vm-00$node")
    holder[$node]=$!
    read -r -t 30 <&"$ready" || fail "node vm-00$node did not start"
    exec {ready}<&-
    # From outside: the node's mounts may hide the repository.
    install -D -m 644 "$conflist" "/proc/${holder[$node]}/root/etc/cni/net.d/10-demo.conflist"
    install -D -m 755 "$binaries/node-local" "/proc/${holder[$node]}/root/run/cni/bin/node-local"
}

connect_nodes() {
    local node
    on 1 ip link add eth0 type veth peer name eth0 netns "${holder[2]}"
    for node in "${nodes[@]}"; do
        on "$node" ip address add "192.168.16.$node/24" dev eth0
        # No duplicate address detection: it would only delay the first ping.
        on "$node" ip address add "fd00:16::$node/64" dev eth0 nodad
        on "$node" ip link set eth0 up
        say "vm-00$node   192.168.16.$node/24   fd00:16::$node/64"
    done
}

# The runtime's part: calls the plugin of the conflist for a pod, and tells its answer.
cni() {
    local command=$1 pod=$2 config type
    config=$(jq -c --argjson prev "${result[$pod]:-null}" \
        '.plugins[0] + {name, cniVersion} + if $prev then {prevResult: $prev} else {} end' \
        "$conflist")
    type=$(jq -r .type <<<"$config")
    on "${node_of[$pod]}" env \
        CNI_COMMAND="$command" \
        CNI_CONTAINERID="demo-$pod" \
        CNI_NETNS="/run/netns/$pod" \
        CNI_IFNAME=eth0 \
        CNI_PATH="/run/cni/bin:$plugins" \
        CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=$pod" \
        "$plugins/$type" <<<"$config"
}

add_pod() {
    local pod=$1 answer
    on "${node_of[$pod]}" ip netns add "$pod"
    answer=$(cni ADD "$pod") || fail "ADD of $pod failed: $answer"
    result[$pod]=$answer
    address[$pod,4]=$(jq -r '[.ips[].address | select(contains(":") | not)][0]' <<<"$answer")
    address[$pod,6]=$(jq -r '[.ips[].address | select(contains(":"))][0]' <<<"$answer")
    say "ADD $pod on vm-00${node_of[$pod]}"
}

delete_pod() {
    local pod=$1 answer
    answer=$(cni DEL "$pod") || fail "DEL of $pod failed: $answer"
    say "DEL $pod on vm-00${node_of[$pod]}"
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

# Every pod to every other one, over both families.
ping_all() {
    local from to family target where answers lost=0
    for from in "${pods[@]}"; do
        for to in "${pods[@]}"; do
            [[ $from != "$to" ]] || continue
            where="same node"
            [[ ${node_of[$from]} == "${node_of[$to]}" ]] || where="across nodes"
            answers=
            for family in 4 6; do
                target=${address[$to,$family]%/*}
                # One answer is enough: a pod's new IPv6 address is silent for a moment.
                if in_pod "$from" ping "-$family" -n -q -i 0.2 -c 1 -w 10 "$target" >/dev/null; then
                    answers+="   IPv$family ok"
                else
                    answers+="   IPv$family LOST"
                    lost=$((lost + 1))
                fi
            done
            say "$from -> $to   $(printf '%-12s' "$where")$answers"
        done
    done
    ((lost == 0)) || fail "$lost pings were not answered"
}

print_table() {
    local row='  %-8s%-8s%-15s%s\n' pod
    # shellcheck disable=SC2059 # one format for all rows
    printf "$row" NODE POD IPv4 IPv6
    for pod in "${pods[@]}"; do
        # shellcheck disable=SC2059
        printf "$row" "vm-00${node_of[$pod]}" "$pod" "${address[$pod,4]}" "${address[$pod,6]}"
    done
}

# The operator's command line on a node. The network's configuration lies nowhere on it: the store knows.
plat() {
    local node=$1
    shift
    on "$node" "$binaries/plat" "$@"
}

# How many addresses a node holds.
held() {
    plat "$1" ls "$network" --json | jq '.allocations | length'
}

remove_everything() {
    local node
    trap - EXIT
    for node in "${!holder[@]}"; do
        kill -KILL "${holder[$node]}" 2>/dev/null || true
        wait "${holder[$node]}" 2>/dev/null || true
    done
}

plugins=
check_needs
trap remove_everything EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
network=$(jq -r .name "$conflist")

step "Two nodes"
for node in "${nodes[@]}"; do
    start_node "$node"
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
