#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Run the benchmarks against a broker of their own. What they print are ratios measured in one run; the times are
# those of this machine, and of what else it does at the moment.
#
#   BUILD=DIR tools/bench.sh [PART...]    with what was built in DIR (default: build); results also in DIR/bench/*.json
#
# Parts: lifecycle (pools come and go), and of the heap: speed, sized, pools, bulk, usable, create, trim. Without any:
# all of them. "--only WORD" and "--rounds N" are handed on to bench/heap/bench.py. HUGE=within-size measures the heap
# on huge pages.
#
# As root all contenders that need a file system use tmpfs mounts with the same options; as an ordinary user they use
# files in /dev/shm.
set -eu
cd "$(dirname "$0")/.."
. tools/scratch-broker.sh

SCRATCH_BASE=/dev/shm
trap scratch_clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Run a program with the directory for those who need one, on a mount that nobody else sees.
with_mount() {
    case $1 in
    never) mount_huge=never ;;
    *) mount_huge=within_size ;;
    esac
    shift
    if [ "$scratch_store" = tmpfs ]; then
        # shellcheck disable=SC2016 # for the inner shell
        unshare --mount sh -c 'mount -t tmpfs -o "size=8G,mode=700,huge=$1" tmpfs "$0" && shift && exec "$@"' \
            "$scratch/memkind" $mount_huge "$@"
    else
        "$@"
    fi
}

begin() {
    scratch_start 4096 "$1" || {
        cat "$scratch/log" >&2
        exit 1
    }
    mkdir "$scratch/memkind"
}

lifecycle() {
    printf '\nPools come and go: %s\n\n' "$2"
    begin "$1"
    with_mount "$1" "$scratch_build/bench/lifecycle" --memkind-dir "$scratch/memkind" \
        --json "$scratch_build/bench/lifecycle-$1.json"
    scratch_clean
}

heap() {
    begin "$huge"
    with_mount "$huge" "${PYTHON:-python3}" -B bench/heap/bench.py --build "$scratch_build" \
        --place "$scratch/memkind" --pages "$scratch_store, $huge" --json "$scratch_build/bench/heap.json" "$@"
    scratch_clean
}

huge=${HUGE:-never}
want_lifecycle=
want_heap=
if [ $# -eq 0 ]; then
    want_lifecycle=1
    want_heap=1
fi
n=$#
while [ "$n" -gt 0 ]; do
    case $1 in
    lifecycle) want_lifecycle=1 ;;
    *)
        want_heap=1
        set -- "$@" "$1"
        ;;
    esac
    shift
    n=$((n - 1))
done

printf 'Linux %s, %s CPUs, load %s\n' "$(uname -r)" "$(nproc)" "$(cut -d ' ' -f 1 /proc/loadavg)"
if [ -n "$want_lifecycle" ]; then
    if scratch_may_mount; then
        lifecycle never "pages of 4 KiB"
        lifecycle within-size "huge pages"
    else
        lifecycle never "files in /dev/shm"
    fi
fi
[ -z "$want_heap" ] || heap "$@"
