#!/bin/sh
# plat-textfile.sh node|check|cluster [DIRECTORY]: leaves metrics for the textfile collector of node_exporter in DIRECTORY
# (/var/lib/node_exporter): what the agent tells or, where none runs, what `plat status` does, every minute; what `plat check`
# finds, every hour; what the pools in etcd are like, at one place of the cluster, every minute.
#
# A file appears at once and whole. Where something cannot be looked at, it says so in a metric.

set -eu

what=${1:-}
directory=${2:-/var/lib/node_exporter}
case $what in
node) file=plat.prom ;;
check | cluster) file=plat-$what.prom ;;
*)
    echo "usage: $0 node|check|cluster [DIRECTORY]" >&2
    exit 2
    ;;
esac

mkdir -p "$directory"
new=$(mktemp "$directory/.plat-XXXXXX")
trap 'rm -f "$new"' EXIT
# node_exporter is not root.
chmod 644 "$new"

# tell METRIC COMMAND...: what the command prints; if that lacks the metric, the command could not do its work.
tell() {
    metric=$1
    shift
    "$@" >>"$new" || true
    grep -q "^$metric " "$new" || printf '# HELP %s It could not be told.\n# TYPE %s gauge\n%s 3\n' "$metric" "$metric" "$metric" >>"$new"
}

case $what in
node)
    if [ -e "${PLAT_AGENT_CONFIG:-/etc/plat/agent.json}" ] && plat agent metrics >"$new"; then
        # The agent tells of the stores already.
        plat status --prometheus | grep -w plat_status >>"$new" || tell plat_status true
    else
        tell plat_status plat status --prometheus
    fi
    ;;
check) tell plat_check plat check --prometheus ;;
cluster)
    tell plat_cluster_status plat status --cluster --prometheus
    tell plat_cluster_check plat check --cluster --prometheus
    ;;
esac
mv "$new" "$directory/$file"
