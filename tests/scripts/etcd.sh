# shellcheck shell=bash
# etcd on a node that is called `switch`, for demonstrations.

# shellcheck source=tests/scripts/nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/nodes.sh"

# shellcheck disable=SC2034 # the scripts use it
etcd_host=192.168.16.254
etcd_port=2379

# For how long a condition is waited for, in seconds.
patience=120

for variable in "${!ETCD_@}"; do
    # etcd reads its settings from there, too.
    [[ $variable == ETCD_UNSUPPORTED_ARCH ]] || unset "$variable"
done

# Starts etcd, or starts it again with the data that it had.
start_etcd() {
    local root=/proc/${holder[switch]}/root
    setpriv --pdeathsig KILL nsenter --target "${holder[switch]}" --net --uts --mount -- \
        etcd --name switch --data-dir /run/etcd \
        --listen-client-urls "http://$etcd_host:$etcd_port" \
        --advertise-client-urls "http://$etcd_host:$etcd_port" \
        --listen-peer-urls http://127.0.0.1:2380 \
        --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster switch=http://127.0.0.1:2380 >>"$root/run/etcd.log" 2>&1 </dev/null &
    starter[etcd]=$!
    await "etcd answers" etcd_answers
}

kill_etcd() {
    kill -KILL "${starter[etcd]}"
    wait "${starter[etcd]}" 2>/dev/null || true
    unset 'starter[etcd]'
}

# Asks etcd over its own HTTP gateway, with nothing of Plat's between: ask_etcd BODY
ask_etcd() {
    # shellcheck disable=SC2016 # expanded on the switch
    on switch bash -euc '
        exec {etcd}<>"/dev/tcp/$1/$2"
        printf "POST /v3/kv/range HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" "${#3}" "$3" >&$etcd
        sed "1,/^\r\$/d" <&$etcd' ask "$etcd_host" "$etcd_port" "$1"
}

etcd_answers() { ask_etcd '{"key": "AA=="}' 2>/dev/null | jq -e .header >/dev/null; }

# Waits until a command succeeds: await WHAT COMMAND...
await() {
    local what=$1 deadline=$((SECONDS + patience))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || fail "waited $patience s in vain until $what"
        sleep 0.1
    done
}
