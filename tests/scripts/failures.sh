#!/bin/bash
# Tells once more, and briefly, what the tests that failed have said: `failures.sh LOG`, with a log of `cargo test`.
# Whoever reads the output of many thousand tests may have its last lines only.

set -euo pipefail

# How many tests are told of, and how many lines of each are its panics, and its end.
exec awk -v tests=12 -v panics=24 -v end=30 '
    function tell(    n, first, told) {
        if (name == "") return
        if (++failed <= tests) {
            printf "\n=== %s\n", name
            for (n = 1; n <= lines && told < panics; n++) {
                if (line[n] ~ / panicked at /) inside = 1
                if (line[n] ~ /^note: run with/) inside = 0
                if (inside) { print substr(line[n], 1, 400); told++; last = n }
            }
            first = lines - end + 1
            if (first <= last) first = last + 1
            if (first <= lines && told) print "    ... and last:"
            for (n = first; n <= lines; n++) print substr(line[n], 1, 400)
        }
        name = ""; lines = inside = last = 0
    }
    /^---- .* stdout ----$/ { tell(); name = $2; next }
    /^failures:$/ || /^test result: / { tell(); next }
    name != "" && NF { line[++lines] = $0 }
    # What is no test: a crate that cannot be compiled, a test program that has died.
    /^error(\[|:)/ && !/^error: [0-9]+ targets? failed/ { other[++others] = $0 }
    END {
        tell()
        if (failed > tests) printf "\nand %d more\n", failed - tests
        for (n = 1; n <= others && n <= tests; n++) print substr(other[n], 1, 400)
    }' "$1"
