#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What the library promises: its symbol map says what it exports, and the header declares just that; nothing of its ABI
# is other than it was; every function is named by exactly one man page, and nothing else is; and the examples of these
# pages are programs that compile without a warning, and succeed with a broker of their own. Usage: check-library.sh BUILD
set -eu
build=${1:?usage: $0 BUILD}
BUILD=$build
. tools/scratch-broker.sh
passed=0
work=$(mktemp -d)
trap 'scratch_clean; rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "library: $*"
    echo "library: $passed passed, 1 failed"
    exit 1
}
ok() { passed=$((passed + 1)); }

# ----------------------------------------------------------------------------------------------------------- names

sed -n 's/^ *\(pmb_[a-z_]*\);$/\1/p' client/libpmbroker.sym | sort >"$work/sym"
nm -D --defined-only "$build/libpmbroker.so" | awk '$2 ~ /^[TDBRVW]$/ && $3 !~ /^LIBPMBROKER_/ {print $3}' |
    sed 's/@.*//' | sort >"$work/exported"
diff "$work/sym" "$work/exported" >&2 || fail "the library does not export what libpmbroker.sym says"
cc -E -P -Iclient client/pmbroker.h | tr '\n' ' ' | tr ';' '\n' | sed 's/{[^}]*}//g' |
    grep -o 'pmb_[a-z_]*(' | tr -d '(' | sort -u >"$work/declared"
diff "$work/sym" "$work/declared" >&2 || fail "the header does not declare what libpmbroker.sym says"
ok

# --------------------------------------------------------------------------------------------------------------- ABI

# By name, with the version of their node. What is gone would keep programs from being loaded; what is new has to be listed
# with the version that it came with.
symbols=debian/libpmbroker0.symbols
sed -n 's/^ \([^ ]*\) [0-9.]*$/\1/p' "$symbols" | sort >"$work/listed"
nm -D --with-symbol-versions --defined-only "$build/libpmbroker.so" |
    awk '{ sub("@@", "@", $3); print $3 ~ /@/ ? $3 : $3 "@" $3 }' | sort >"$work/versioned"
gone=$(comm -23 "$work/listed" "$work/versioned")
# shellcheck disable=SC2086
[ -z "$gone" ] || fail "not exported any more, but in $symbols:" $gone
new=$(comm -13 "$work/listed" "$work/versioned")
# shellcheck disable=SC2086
[ -z "$new" ] || fail "to be listed in $symbols, with the version that brings it:" $new
ok

# By type, layout and value. A name that tests/abi.c does not know has to be added to it.
cc -std=c17 -Wall -Wextra -Werror -Iclient -fsyntax-only tests/abi.c || fail "the ABI is not what tests/abi.c says"
{
    cat "$work/sym"
    cc -E -P -dD -Iclient client/pmbroker.h | grep -o '\bPMB_[A-Z_]*\b\|\b\(struct\|enum\) pmb_[a-z_]* {' |
        sed 's/ {//; s/.* //'
} | grep -v -e '^PMB_MALLOC_LIKE$' -e '^PMB_WARN_UNUSED$' -e '^PMB_VERSION_' -e '^PMB_DEFAULT_SOCKET$' | sort -u |
    while read -r name; do
        grep -qw "$name" tests/abi.c || echo "$name"
    done >"$work/unknown"
[ ! -s "$work/unknown" ] || fail "not in tests/abi.c:" "$(cat "$work/unknown")"
ok

for page in man/*.3; do
    sed -n '/^\.SH NAME/{n;s/ .-.*//;s/, /\n/g;p;}' "$page"
done | sort >"$work/names"
[ -z "$(uniq -d "$work/names")" ] || fail "named by two pages:" "$(uniq -d "$work/names")"
{
    cat "$work/sym"
    echo pmbroker
    echo pmbroker.hpp
} | sort | diff - "$work/names" >&2 || fail "pages do not name what is exported"
ok

# -------------------------------------------------------------------------------------------------------- examples

# The first example of a page, without what is for roff.
example() {
    awk '/^\.EE/ {exit} on {print} /^\.EX/ {on = 1}' "$1" | sed 's/\\-/-/g; s/\\e/\\/g'
}

scratch_start 128 || {
    cat "$scratch/log" >&2
    fail "no broker"
}
for page in man/*.3; do
    case $(example "$page" | head -n 1) in
    '#include <'* | '#define _'*) ;;
    *) fail "$page has no example that is a program" ;;
    esac
    case $page in
    *.hpp.3) language=c++ compiler='c++ -std=c++14 -pedantic' ;;
    *) language=c compiler='cc -std=c17' ;;
    esac
    # shellcheck disable=SC2086
    example "$page" | $compiler -Wall -Wextra -Werror -Iclient -x $language -o "$work/example" - -L"$build" -lpmbroker \
        -Wl,-rpath,"$(cd "$build" && pwd)" || fail "$page: the example does not compile"
    "$work/example" >"$work/out" 2>&1 || {
        cat "$work/out"
        fail "$page: the example failed"
    }
    ok
done
echo "library: $passed passed, 0 failed"
