#!/bin/bash
# promtool.sh DIRECTORY: puts Debian's promtool into DIRECTORY, unless it is there or on PATH. Its package, prometheus, is only
# fetched and unpacked: installed it would start a server. Where that cannot be, it says so and leaves it at that: the
# tests say themselves which of them they have to skip.

set -euo pipefail

directory=$1
if [[ -x $directory/promtool || -n $(type -P promtool) ]]; then exit 0; fi
if [[ -z $(type -P apt-get) || -z $(type -P dpkg-deb) ]]; then
    echo 'promtool is missing (Debian: in the package prometheus)'
    exit 0
fi

echo 'Fetching promtool'
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
# In the same file system, so that it appears there at once and whole.
unpacked=$(mktemp -d -p "$directory")
trap 'rm -rf "$unpacked"' EXIT
# apt's own user writes the package.
chmod 755 "$unpacked"
if [[ $EUID == 0 ]]; then chown _apt "$unpacked" 2>/dev/null || true; fi
cd "$unpacked"
options=(--quiet --option Acquire::Retries=3 --option Dpkg::Use-Pty=0)
fetch() {
    apt-get "${options[@]}" download prometheus </dev/null
}
# On a clean machine nobody knows of any package yet.
if ! fetch 2>/dev/null; then
    if [[ $EUID == 0 ]]; then apt-get "${options[@]}" update </dev/null || true; fi
    if ! fetch; then
        echo 'promtool cannot be fetched (Debian: in the package prometheus)'
        exit 0
    fi
fi
dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool
mv usr/bin/promtool "$directory/promtool"
