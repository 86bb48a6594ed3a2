#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Two formatters that are strict about different things find nothing to warn of in a page, it is named as its file, and
# every page of ours that it refers to is among those that are given. Usage: check-man.sh PAGE...
set -eu
passed=0
failed=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

bad() {
    echo "man: $*"
    good=false
}

# "pmbroker(7)" for man/pmbroker.7
name_of() {
    file=${1##*/}
    echo "${file%.*}(${file##*.})"
}

for page in "$@"; do
    name_of "$page"
done >"$dir/names"

for page in "$@"; do
    good=true
    # Style is not asked for: it counts the columns of the source.
    mandoc -T lint -W warning "$page" >"$dir/said" 2>&1 || true
    LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" >/dev/null 2>>"$dir/said" || echo "man fails" >>"$dir/said"
    [ ! -s "$dir/said" ] || bad "$page: $(cat "$dir/said")"

    title=$(sed -n 's/^\.TH \([^ ]*\) \([0-9]\).*/\1(\2)/p' "$page" | sed 's,\\-,-,g' | tr '[:upper:]' '[:lower:]')
    [ "$title" = "$(name_of "$page")" ] || bad "$page: its title is $title"

    # As it is read: fonts and escapes are gone.
    mandoc -T ascii "$page" | col -bx | grep -oE 'pmbroker[a-z.-]*\([0-9]\)' | sort -u >"$dir/references" || true
    missing=$(grep -vxFf "$dir/names" "$dir/references" || true)
    [ -z "$missing" ] || bad "$page: refers to" "$missing"
    if $good; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "man: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
