#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Run the unit tests given as arguments, each a cmocka program; print its output only when it fails, and one summary.
set -u
passed=0 failed=0
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
for t in "$@"; do
    if "$t" >"$out" 2>&1; then
        n=$(sed -n 's/.*PASSED  \] \([0-9]*\) test.*/\1/p' "$out" | awk '{s += $1} END {print s + 0}')
        if [ "$n" -eq 0 ]; then
            echo "FAIL ${t##*/}: it ran no test"
            failed=$((failed + 1))
        else
            echo "ok   ${t##*/} ($n)"
            passed=$((passed + n))
        fi
    else
        echo "FAIL ${t##*/}"
        cat "$out"
        failed=$((failed + 1))
    fi
done
echo "unit: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
