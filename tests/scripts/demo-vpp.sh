#!/bin/bash
# Two nodes with a VPP each, and one configuration for both: addresses, VPP's uplink, routes and pods.
# docs/scenarios/contiv-vpp.md says the same for two machines. See nodes.sh and agents.sh for how.
#
# It needs a VPP: the program `vpp`, or VPP_BIN, with its plugins in VPP_PLUGIN_PATH unless it finds them itself.

set -euo pipefail
# shellcheck source=tests/scripts/agents.sh
source "$(dirname "${BASH_SOURCE[0]}")/agents.sh"

conflist=$examples/contiv-vpp/10-contiv-vpp.conflist
node_of=([pod-1]=1 [pod-2]=2 [pod-3]=1)
vpp=${VPP_BIN:-$(type -P vpp || true)}

check_vpp() {
    [[ -n $vpp && -x $vpp ]] || {
        printf 'The demo needs:\n  a VPP: packages are at https://fd.io; or name one by VPP_BIN and VPP_PLUGIN_PATH\n' >&2
        exit 1
    }
}

# The answer of VPP's debug command line on a node.
vppctl() {
    local node=$1
    shift
    on "$node" "${vpp%/*}/vppctl" -s /run/vpp/cli.sock "$@" | tr -d '\r' | sed 's/^/  /'
}

vpp_answers() {
    on "$1" "${vpp%/*}/vppctl" -s /run/vpp/cli.sock show interface 2>/dev/null | grep -q '^host-eth0 '
}

# eth0 is VPP's: the kernel has no address on it.
start_vpp() {
    local node=$1
    on "$node" mkdir -p /run/vpp
    # VPP leaves files in it.
    on "$node" mount -t tmpfs tmpfs /dev/shm
    put "$node" 644 /dev/stdin /run/vpp/commands <<<'create host-interface name eth0'
    put "$node" 644 /dev/stdin /run/vpp/startup.conf <<<"
        unix { nodaemon nosyslog log /run/vpp/vpp.log runtime-dir /run/vpp cli-listen /run/vpp/cli.sock
               poll-sleep-usec 200 exec /run/vpp/commands }
        socksvr { socket-name /run/vpp/api.sock }
        statseg { socket-name /run/vpp/stats.sock size 32m page-size 4k }
        memory { main-heap-size 192M main-heap-page-size 4k }
        buffers { buffers-per-numa 8192 page-size 4k }
        plugins { ${VPP_PLUGIN_PATH:+path $VPP_PLUGIN_PATH}
                  plugin default { disable } plugin af_packet_plugin.so { enable } plugin ping_plugin.so { enable } }"
    nsenter --target "${holder[$node]}" --net --uts --mount --pid -- \
        "$vpp" -c /run/vpp/startup.conf </dev/null >"/proc/${holder[$node]}/root/run/vpp/output" 2>&1 &
    disown
    await "VPP answers on vm-00$node" vpp_answers "$node"
    # Two VPPs that have bound themselves to one processor would wait for each other.
    # shellcheck disable=SC2016 # expanded on the node
    on "$node" bash -c 'taskset -acp "0-$(($(nproc --all) - 1))" "$(pgrep -x vpp_main)"' >/dev/null || true
    say "vm-00$node   $(on "$node" "${vpp%/*}/vppctl" -s /run/vpp/cli.sock show version | head -n 1 | cut -d' ' -f1,2)"
}

check_vpp
check_needs chain node-local vpp plat
remove_everything_at_the_end

step "Two nodes on one segment, with a VPP each"
start_node switch switch
on switch ip link add lan address 02:00:00:10:00:fe type bridge
on switch ip link set lan up
for node in 1 2; do
    start_node "$node"
    cable "$node" eth0 switch "vm-00$node"
    on switch ip link set "vm-00$node" master lan up
    on "$node" ip link set eth0 up
    for plugin in chain node-local vpp; do put "$node" 755 "$binaries/$plugin" "/run/cni/bin/$plugin"; done
    put "$node" 644 "$conflist" "/etc/cni/net.d/${conflist##*/}"
    start_vpp "$node"
done

step "One configuration for both: ${conflist#"$repository/"}"
say "$(jq -c '.plugins[0]' "$conflist")"

step "Three pods: the first one on a node sets VPP's uplink and its routes up, too"
plugins=/run/cni/bin
pods=(pod-1 pod-2 pod-3)
for pod in "${pods[@]}"; do add_pod "$pod"; done
print_table

step "Pings"
ping_all

step "VPP on vm-001"
vppctl 1 show interface address
plat 1 vpp show || true

step "Pods deleted, addresses free again"
for pod in "${pods[@]}"; do delete_pod "$pod"; done
[[ $(plat 1 ls --json | jq '.allocations | length') == 0 ]] || fail "vm-001 still holds addresses"

remove_everything
step "Everything worked, and nothing is left."
