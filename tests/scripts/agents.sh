# shellcheck shell=bash
# Nodes on one segment with plat-agent on each, for demonstrations: sourced by them.

# shellcheck source=tests/scripts/etcd.sh
source "$(dirname "${BASH_SOURCE[0]}")/etcd.sh"

# The files of the scenario that is shown, as its page in docs/scenarios has them.
# shellcheck disable=SC2034 # the scripts use it
examples=$repository/conf-examples/scenarios
agent_config= # the agent's, the same on every node

# The segment, with etcd's address on it.
start_switch() {
    start_node switch switch
    on switch ip link add lan address 02:00:00:10:00:fe type bridge
    on switch ip address add "$etcd_host/24" dev lan
    on switch ip address add fd00:16::fe/64 dev lan nodad
    on switch ip link set lan up
}

# A node on the segment, with what it needs: join_node NODE PLUGIN...
join_node() {
    local node=$1 plugin
    shift
    start_node "$node"
    cable "$node" eth0 switch "vm-00$node"
    on switch ip link set "vm-00$node" master lan up
    on "$node" ip address add "192.168.16.$node/24" dev eth0
    # No duplicate address detection: it would only delay the first contact.
    on "$node" ip address add "fd00:16::$node/64" dev eth0 nodad
    on "$node" ip link set eth0 up
    for plugin in "$@"; do
        put "$node" 755 "$binaries/$plugin" "/run/cni/bin/$plugin"
    done
    [[ -z $conflist ]] || put "$node" 644 "$conflist" "/etc/cni/net.d/${conflist##*/}"
    [[ -z $agent_config ]] || put "$node" 644 "$agent_config" /etc/plat/agent.json
    say "vm-00$node   192.168.16.$node/24   fd00:16::$node/64"
}

# Starts the daemon; its log is /run/agent.log there.
start_agent() {
    local node=$1
    # shellcheck disable=SC2016 # expanded on the node
    nsenter --target "${holder[$node]}" --net --uts --mount --pid -- \
        bash -c 'echo $$ >/run/agent.pid && exec "$1" >>/run/agent.log 2>&1' \
        agent "$binaries/plat-agent" </dev/null &
    # The shell would tell of its end.
    disown
    say "vm-00$node # systemctl start plat-agent"
}

kill_agent() {
    # shellcheck disable=SC2016 # expanded on the node
    on "$1" bash -c 'kill -KILL "$(</run/agent.pid)"'
    say "vm-00$1 # systemctl kill --signal KILL plat-agent"
}

# What the agent would do, and why. It ends with 1 where something needs attention.
explain() {
    say "vm-00$1 # plat-agent --dry-run"
    on "$1" "$binaries/plat-agent" --dry-run | sed '/./s/^/  /' || true
}

# The agent's routes in the kernel.
show_routes() {
    say "vm-00$1 # ip route show proto 205"
    on "$1" ip route show proto 205 | sed 's/^/  /; s/ *$//'
}

has_route() { on "$1" ip route show "$2" proto 205 | grep -q "via $3 "; }

has_no_route() { [[ -z $(on "$1" ip route show "$2" proto 205) ]]; }

# Does what a person would type: types NODE COMMAND...
types() {
    local node=$1
    shift
    say "vm-00$node # ${*//"$binaries/"/}"
    on "$node" "$@"
}
