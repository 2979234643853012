#!/bin/bash
# deb.sh DIR OUT: makes the Debian package plat_VERSION_ARCH.deb in OUT, from the binaries in DIR.
# XZ_LEVEL (0 to 9) chooses how hard it is pressed.
#
# The plugins lie in /usr/lib/plat, and in /usr/lib/cni, where Debian's runtimes look, as links. The reference's
# host-local, of containernetworking-plugins, has its name there: it is diverted, so that both packages can be
# upgraded and removed in any order. For runtimes that look in /opt/cni/bin: `plat install`.

set -euo pipefail

binaries=$(readlink -f "$1")
mkdir -p "$2"
out=$(readlink -f "$2")
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source-path=SCRIPTDIR
source "$here/common.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/plat
architecture=$(dpkg --print-architecture)
DESTDIR=$tree PREFIX=/usr BINDIR=/usr/lib/plat UNITDIR=/usr/lib/systemd/system "$here/stage.sh" "$binaries" >/dev/null
mkdir -p "$tree/usr/lib/cni" "$tree/usr/share/doc/plat" "$tree/DEBIAN"
for plugin in "$tree"/usr/lib/plat/*; do
    ln -s "../plat/${plugin##*/}" "$tree/usr/lib/cni/${plugin##*/}"
done
mv "$tree/usr/share/zsh/site-functions" "$tree/usr/share/zsh/vendor-completions"
find "$tree/usr/share/man" -type f -exec gzip -9n {} +
cp -r "$top/docs" "$top/conf-examples" "$top/README.md" "$tree/usr/share/doc/plat/"
gzip -9nc "$top/CHANGELOG.md" >"$tree/usr/share/doc/plat/changelog.gz"
{
    printf 'Plat is under the Apache License 2.0; on Debian systems its text is\n/usr/share/common-licenses/Apache-2.0.\n\n'
    third_party
} >"$tree/usr/share/doc/plat/copyright"

# In KiB, the same on every file system.
size=$(find "$tree" -type f -printf '%s\n' | awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')
cat >"$tree/DEBIAN/control" <<END
Package: plat
Version: $version-1
Architecture: $architecture
Section: net
Priority: optional
Maintainer: Plat <maintainers@plat-cni.invalid>
Installed-Size: $size
Suggests: containernetworking-plugins
Homepage: https://github.com/plat-cni/plat
Description: CNI address management and VPP attachment for container networks
 The CNI plugins host-local (in place of the reference's), node-local, etcd-pool,
 vpp and chain; plat-agent, the daemon for routes between nodes; and plat, which
 shows and repairs what the plugins keep.
 .
 All programs are static. The daemon runs once it has a configuration and is
 enabled: /etc/plat/agent.json, systemctl enable --now plat-agent.
END
for script in preinst postinst prerm postrm; do
    install -m 755 "$here/deb/$script" "$tree/DEBIAN/$script"
done
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
settle "$tree"
chmod 755 "$tree"/DEBIAN/{preinst,postinst,prerm,postrm}

package=$out/plat_$version-1_$architecture.deb
dpkg-deb --root-owner-group -Zxz -z"${XZ_LEVEL:-6}" --threads-max=1 --build "$tree" "$work/plat.deb" >/dev/null
mv "$work/plat.deb" "$package"
echo "$package: $(stat -c %s "$package") bytes"
