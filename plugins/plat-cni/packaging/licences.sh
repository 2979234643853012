#!/bin/bash
# licences.sh: prints the licences of all that is linked into the binaries: each crate with its licence, then each
# text once, with the crates that have it. From the sources that cargo has built from; needs jq.

set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source-path=SCRIPTDIR
source "$here/common.sh"
cd "$top"
cargo=${CARGO:-cargo}
host=$(rustc -vV | sed -n 's/^host: //p')

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What runs while compiling only is in no binary: no build dependencies, no procedural macros.
"$cargo" tree --quiet --locked --offline --package plat-cni --target "$host" \
    --edges normal,no-proc-macro --prefix none --format '{p}' \
    | sed 's/ (.*//; s/ v/ /' | sort -u >"$work/linked"
"$cargo" metadata --quiet --locked --offline --format-version 1 --filter-platform "$host" \
    | jq -r '.packages[] | select(.source != null)
        | [.name + " " + .version, .license // "see its text", .repository // "", .manifest_path] | @tsv' \
    | sort >"$work/all"
join -t $'\t' "$work/linked" "$work/all" >"$work/crates"

cat <<'END'
The programs of Plat are under the Apache License 2.0; see LICENSE. Linked into them are:

- the crates below, each under one of the licences named;
- SQLite (by libsqlite3-sys), which is in the public domain;
- Rust's standard library (MIT OR Apache-2.0), https://github.com/rust-lang/rust;
- the GNU C library (LGPL-2.1-or-later), https://sourceware.org/glibc. Whoever wants to link the programs with
  another version of it runs `make build` in the sources.

END
while IFS=$'\t' read -r crate licence repository manifest; do
    printf '%s  (%s)  %s\n' "$crate" "$licence" "$repository"
    dir=${manifest%/*}
    for text in "$dir"/{LICENSE,LICENCE,COPYING,NOTICE,UNLICENSE,license}*; do
        [[ -f $text ]] || continue
        sum=$(sha256sum <"$text")
        cp "$text" "$work/text-${sum%% *}"
        printf '%s\n' "$crate" >>"$work/of-${sum%% *}"
    done
done <"$work/crates"
# In the order of the first crate that has each.
for of in "$work"/of-*; do
    printf '%s\t%s\n' "$(head -n 1 "$of")" "${of##*/of-}"
done | sort | while IFS=$'\t' read -r _ sum; do
    printf '\n%s\n' "$(printf '=%.0s' {1..78})"
    sort -u "$work/of-$sum" | paste -sd, | sed 's/,/, /g' | fold -s -w 78
    printf '%s\n\n' "$(printf -- '-%.0s' {1..78})"
    tr -d '\r' <"$work/text-$sum"
done
