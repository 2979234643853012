# shellcheck shell=bash
# Nodes in namespaces, for the demonstrations: sourced by the scripts beside it.
#
# Each node is a network namespace with a host name of its own and private mounts of /run, /var/lib,
# /etc/cni and /etc/plat. Nothing is made in the namespaces of the host: the kernel removes everything
# with the processes that hold the nodes, what runs on a node included, and these die with the script,
# however it ends.
#
# The script gives values to `conflist`, `nodes`, `pods` and `node_of`.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
binaries=${PLAT_BIN_DIR:-$repository/target/release}
script=$(basename "$0")
plugins= # the directory of the bridge plugin

conflist= # the network's configuration
ifname=eth0 # the interface that a pod has on it
# shellcheck disable=SC2034 # the scripts go through them
nodes=() # the numbers of the nodes
pods=()   # the names of those that run
declare -A node_of=()
declare -A starter=() # node -> process that dies with the script, and the holder with it
declare -A holder=()  # node -> process that keeps its namespaces
declare -A address=() # pod, family -> address
declare -A result=()  # pod -> what ADD answered

# What says otherwise where state lies or who a node is was not said to these nodes.
unset PLAT_STATE_DIR PLAT_RUN_DIR PLAT_ETCD_CONFIG NODE_INDEX

bold='' plain=''
[[ ! -t 1 ]] || bold=$'\e[1m' plain=$'\e[0m'

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }
fail() {
    printf '%s: %s\n' "${script%.sh}" "$*" >&2
    exit 1
}

# Says all that is missing, not only the first thing: check_needs BINARY... -- [COMMAND:PACKAGE]...
check_needs() {
    local missing=() command directory binary
    [[ $EUID -eq 0 ]] || missing+=("root (network namespaces): sudo $here/$script")
    for command in ip ping jq nsenter unshare setpriv; do
        [[ -n $(type -P "$command") ]] ||
            missing+=("$command: apt-get install iproute2 iputils-ping jq util-linux")
    done
    while (($# > 0)) && [[ $1 != -- ]]; do
        binary=$binaries/$1
        [[ -x $binary ]] || missing+=("$binary: make build")
        shift
    done
    for command in "${@:2}"; do
        [[ -n $(type -P "${command%%:*}") ]] ||
            missing+=("${command%%:*}: apt-get install ${command#*:}")
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
    nsenter --target "${holder[$node]}" --net --uts --mount --pid -- "$@"
}

# Runs a command in a pod.
in_pod() {
    local pod=$1
    shift
    on "${node_of[$pod]}" ip netns exec "$pod" "$@"
}

# Makes the namespaces of a node: start_node NODE [NAME].
start_node() {
    local node=$1 name=${2:-vm-00$1} ready
    # setpriv: the kernel ends it when this script is gone, even by SIGKILL, and with it process 1 of
    # the node, and with that whatever runs there.
    # shellcheck disable=SC2016 # expanded in the node
    exec {ready}< <(exec setpriv --pdeathsig KILL \
        unshare --net --uts --mount --propagation private --pid --fork --kill-child=KILL \
        bash -euc '
            read -r outside _ </proc/self/stat
            mount -t proc proc /proc
            hostname "$1"
            mount -t tmpfs tmpfs /run
            mount -t tmpfs tmpfs /var/lib
            if [[ ! -d /etc/cni || ! -d /etc/plat ]]; then # no place to mount on: a copy of /etc has one
                cp -a /etc /run/etc
                mkdir -p /run/etc/cni /run/etc/plat
                mount --bind /run/etc /etc
            fi
            mount -t tmpfs tmpfs /etc/cni
            mount -t tmpfs tmpfs /etc/plat
            ip link set lo up
            echo 1 >/proc/sys/net/ipv4/ip_forward
            echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
            echo "$outside"
            exec sleep infinity' node "$name")
    starter[$node]=$!
    read -r -t 30 "holder[$node]" <&"$ready" || fail "node $name did not start"
    exec {ready}<&-
}

# Puts a file on a node, from outside: the node's mounts may hide where it is. put NODE MODE FROM TO
put() {
    install -D -m "$2" "$3" "/proc/${holder[$1]}/root$4"
}

# A cable between two nodes: cable NODE INTERFACE NODE INTERFACE
cable() {
    # From outside: a process is given by its number there.
    nsenter --target "${holder[$1]}" --net -- \
        ip link add "$2" type veth peer name "$4" netns "${holder[$3]}"
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
        CNI_IFNAME="$ifname" \
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
    say "ADD $pod on vm-00${node_of[$pod]}${after_call:+$($after_call "$pod")}"
}

delete_pod() {
    local pod=$1 answer
    answer=$(cni DEL "$pod") || fail "DEL of $pod failed: $answer"
    say "DEL $pod on vm-00${node_of[$pod]}${after_call:+$($after_call "$pod")}"
}

# A command that tells more of a call, given the pod; empty: there is no more to tell.
after_call=

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
                if in_pod "$from" ping "-$family" -n -q -i 0.2 -c 1 -w 60 "$target" >/dev/null; then
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
    local row='  %-8s%-8s%-*s%s\n' pod width=15
    for pod in "${pods[@]}"; do
        ((${#address[$pod,4]} < width)) || width=$((${#address[$pod,4]} + 1))
    done
    # shellcheck disable=SC2059 # one format for all rows
    printf "$row" NODE POD "$width" IPv4 IPv6
    for pod in "${pods[@]}"; do
        # shellcheck disable=SC2059
        printf "$row" "vm-00${node_of[$pod]}" "$pod" "$width" "${address[$pod,4]}" "${address[$pod,6]}"
    done
}

# The operator's command line on a node.
plat() {
    local node=$1
    shift
    on "$node" "$binaries/plat" "$@"
}

remove_everything() {
    local node tries=6000
    trap - EXIT
    for node in "${!starter[@]}"; do
        kill -KILL "${starter[$node]}" 2>/dev/null || true
        wait "${starter[$node]}" 2>/dev/null || true
    done
    # Their ends follow from that of the starters, in a moment.
    for node in "${!holder[@]}"; do
        while [[ -d /proc/${holder[$node]} ]] && ((tries-- > 0)); do sleep 0.01; done
    done
}

# However it ends.
remove_everything_at_the_end() {
    trap remove_everything EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}
