#!/bin/bash
# deps.sh PACKAGE...: installs those of these Debian packages that are missing, and upgrades nothing
# that need not be. Where it cannot install, it says what is missing and leaves it at that: the tests
# say themselves which of them they have to skip.

set -euo pipefail

if [[ -z $(type -P dpkg-query) ]]; then
    echo "Not a Debian system. Tests may need what these packages have there: $*"
    exit 0
fi

missing=()
for package in "$@"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]} > 0)) || exit 0

if [[ $EUID -ne 0 || -z $(type -P apt-get) ]]; then
    echo "Missing: ${missing[*]}"
    echo "As root: apt-get install --no-install-recommends ${missing[*]}"
    exit 0
fi

echo "Installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
options=(--quiet --option Acquire::Retries=3 --option Dpkg::Use-Pty=0)
apt-get "${options[@]}" update </dev/null
apt-get "${options[@]}" install --yes --no-install-recommends --no-upgrade "${missing[@]}" </dev/null
