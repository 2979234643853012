#!/bin/bash
# fuzz.sh TARGET LIMIT...: fuzzes a target that is built, within libFuzzer's limits. A limit of one target alone has its
# name before it, `reservation:-runs=5000`. From the environment: CARGO, and FUZZ_CORPUS, where what is found on the
# way goes; see fuzz/README.md.

set -euo pipefail

target=$1
shift
# Those for this target alone come last, and count.
general=() own=()
for limit in "$@"; do
    case $limit in
    "$target":*) own+=("${limit#*:}") ;;
    *:*) ;;
    *) general+=("$limit") ;;
    esac
done
found=$FUZZ_CORPUS/$target
log=fuzz/target/$target.log
mkdir -p "$found"
if ! "${CARGO:-cargo}" +nightly fuzz run --sanitizer none "$target" "$found" "fuzz/corpus/$target" -- \
    -dict="fuzz/dict/$target.dict" ${general[@]+"${general[@]}"} ${own[@]+"${own[@]}"} \
    -timeout=10 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 >"$log" 2>&1; then
    tail -n 60 "$log"
    # Last, and whole, because whoever reads it may have these lines only.
    grep -a -A 1 -e ' panicked at ' -e '^Base64: ' "$log" || true
    echo "$target: an input broke something, see above and fuzz/artifacts"
    exit 1
fi
printf '  %-12s %s inputs\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
