#!/bin/bash
# stage.sh DIR: lays out what is installed below DESTDIR, from the binaries in DIR.
#   PREFIX   for plat, plat-agent, manual pages and completions (/usr/local)
#   BINDIR   for the CNI plugins (/opt/cni/bin)
#   UNITDIR  for the systemd unit (PREFIX/lib/systemd/system)
# A binary that is running cannot be written to, but its name can be given to another file.

set -euo pipefail

binaries=$1
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=$(readlink -f "$here/../../..")
root=${DESTDIR:-}
prefix=${PREFIX-/usr/local}
bindir=${BINDIR:-/opt/cni/bin}
unitdir=${UNITDIR:-$prefix/lib/systemd/system}
plugins=(host-local node-local etcd-pool vpp chain)

for name in "${plugins[@]}" plat plat-agent; do
    [[ -x $binaries/$name ]] || { echo "$binaries/$name is not there: make build"; exit 1; }
done

# put MODE FROM TO
put() {
    mkdir -p "$root${3%/*}"
    install -m "$1" "$2" "$root$3.new"
    mv -f "$root$3.new" "$root$3"
    echo "$root$3"
}

for name in "${plugins[@]}"; do
    put 755 "$binaries/$name" "$bindir/$name"
done
put 755 "$binaries/plat" "$prefix/bin/plat"
put 755 "$binaries/plat-agent" "$prefix/sbin/plat-agent"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed "s|^ExecStart=[^ ]*/plat-agent|ExecStart=$prefix/sbin/plat-agent|" \
    "$top/conf-examples/plat-agent/plat-agent.service" >"$work/unit"
put 644 "$work/unit" "$unitdir/plat-agent.service"
put 644 "$here/tmpfiles.conf" "$prefix/lib/tmpfiles.d/plat.conf"

# Pages and completions come from the definitions that the programs read their arguments by.
"$binaries/plat" man "$work/man" >/dev/null
for page in "$work"/man/*; do
    name=${page##*/}
    put 644 "$page" "$prefix/share/man/man${name##*.}/$name" >/dev/null
done
echo "$root$prefix/share/man: $(find "$work/man" -type f | wc -l) pages"
for program in plat plat-agent; do
    for shell in bash zsh fish; do
        "$binaries/plat" completions --program "$program" "$shell" >"$work/$shell"
    done
    put 644 "$work/bash" "$prefix/share/bash-completion/completions/$program"
    put 644 "$work/zsh" "$prefix/share/zsh/site-functions/_$program"
    put 644 "$work/fish" "$prefix/share/fish/vendor_completions.d/$program.fish"
done
