# shellcheck shell=bash disable=SC2034,SC2154
# What the scripts that make packages share. Sourced, with `here` set to this directory.

top=$(readlink -f "$here/../../..")
version=$(sed -n '/^\[workspace.package\]/,/^$/ s/^version = "\(.*\)"/\1/p' "$top/Cargo.toml")
machine=$(uname -m)

# The same sources give the same bytes: files get the time of the last commit, else a fixed one.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct 2>/dev/null || echo 315532800)}
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022

# third_party: prints the licences of what is linked in; THIRD_PARTY names a file that has them already.
third_party() {
    if [[ -n ${THIRD_PARTY:-} ]]; then cat "$THIRD_PARTY"; else "$here/licences.sh"; fi
}

# settle DIR: what differs from machine to machine becomes the same.
settle() {
    chmod -R u=rwX,go=rX "$1"
    find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}
