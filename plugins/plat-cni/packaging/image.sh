#!/bin/bash
# image.sh DIR OUT: lays out the container image in OUT (Containerfile and rootfs), from plat-cni in DIR.
# Building it is then: podman build --tag plat OUT

set -euo pipefail

binaries=$(readlink -f "$1")
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source-path=SCRIPTDIR
source "$here/common.sh"

[[ -x $binaries/plat-cni ]] || { echo "$binaries/plat-cni is not there: make build"; exit 1; }
mkdir -p "$2"
out=$(readlink -f "$2")
rm -rf "$out/rootfs"
mkdir -p "$out/rootfs/bin" "$out/rootfs/usr/share/doc/plat"
install -m 755 "$binaries/plat-cni" "$out/rootfs/bin/plat-cni"
for name in host-local node-local etcd-pool vpp chain plat plat-agent; do
    ln -s plat-cni "$out/rootfs/bin/$name"
done
cp "$top/LICENSE" "$out/rootfs/usr/share/doc/plat/"
third_party >"$out/rootfs/usr/share/doc/plat/THIRD-PARTY"
cp "$here/Containerfile" "$out/"
settle "$out/rootfs"
echo "$out: $version for $machine"
