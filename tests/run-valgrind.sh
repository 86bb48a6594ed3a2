#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Run the unit tests given as arguments in valgrind, or with --logs DIRECTORY judge what it has written there: no error, and
# no descriptor open at the end but those that the process was started with.
set -u

# The log of one process; says what is wrong, if something is.
judge() {
    awk '/FILE DESCRIPTORS:/ { next }
         /Open (file descriptor|AF_UNIX socket|AF_INET socket|AF_INET6 socket)/ { open = $0; next }
         open != "" { if (!/<inherited from parent>/) { print open; print; bad = 1 } else skip = 1; open = ""; next }
         /^==[0-9]+== *$/ { next }
         { print; bad = 1 }
         END { exit bad }' "$1"
}

passed=0 failed=0
if [ "${1-}" = --logs ]; then
    for log in "$2"/*; do
        [ -e "$log" ] || continue
        if judge "$log"; then passed=$((passed + 1)); else echo "FAIL $log"; failed=$((failed + 1)); fi
    done
    echo "valgrind: $passed processes passed, $failed failed"
else
    log=$(mktemp) || exit 1
    trap 'rm -f "$log"' EXIT
    for t in "$@"; do
        : >"$log"
        valgrind -q --track-fds=yes --leak-check=full --error-exitcode=99 --log-file="$log" "$t" >/dev/null 2>&1
        status=$?
        if judge "$log" && [ $status -eq 0 ]; then
            passed=$((passed + 1))
        else
            echo "FAIL ${t##*/} ($status)"
            failed=$((failed + 1))
        fi
    done
    echo "valgrind: $passed unit tests passed, $failed failed"
fi
[ $failed -eq 0 ] && [ $passed -gt 0 ]
