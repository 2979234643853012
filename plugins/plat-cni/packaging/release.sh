#!/bin/bash
# release.sh DIR OUT: makes plat-VERSION-MACHINE.tar.xz and its checksum in OUT, from the binaries in DIR.
# The bytes depend on the sources and the binaries only. XZ_OPT chooses how hard it is pressed, LIMIT how large it may be.

set -euo pipefail

binaries=$(readlink -f "$1")
mkdir -p "$2"
out=$(readlink -f "$2")
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source-path=SCRIPTDIR
source "$here/common.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=plat-$version-$machine
tree=$work/$name
# Everything in one directory, where plat finds the plugins beside itself.
DESTDIR=$tree PREFIX="" BINDIR=/bin UNITDIR=/systemd "$here/stage.sh" "$binaries" >/dev/null
mv "$tree/sbin/plat-agent" "$tree/bin/"
rmdir "$tree/sbin"
# In the archive the unit and the rest are to be copied: they say where to.
sed -i 's|^ExecStart=[^ ]*/plat-agent|ExecStart=/usr/local/sbin/plat-agent|' "$tree/systemd/plat-agent.service"
mv "$tree/lib/tmpfiles.d/plat.conf" "$tree/systemd/tmpfiles.conf"
rm -r "${tree:?}/lib"
cp "$top"/{LICENSE,README.md,CHANGELOG.md} "$tree/"
cp -r "$top/docs" "$top/conf-examples" "$tree/"
third_party >"$tree/THIRD-PARTY"
(cd "$tree" && find . -type f -printf '%P\n' | sort | xargs sha256sum >"$work/sums")
mv "$work/sums" "$tree/SHA256SUMS"
settle "$tree"

archive=$name.tar.xz
tar -C "$work" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner -cf - "$name" \
    | xz --threads=1 >"$out/$archive.new"
mv "$out/$archive.new" "$out/$archive"
(cd "$out" && sha256sum "$archive" >"$archive.sha256")
size=$(stat -c %s "$out/$archive")
echo "$out/$archive: $size bytes"
if ((size > ${LIMIT:-12000000})); then
    echo "That is more than ${LIMIT:-12000000} bytes."
    exit 1
fi
