#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Run the benchmarks against a broker of their own. What they print are ratios measured in one run; the times are
# those of this machine, and of what else it does at the moment.
#
#   BUILD=DIR tools/bench.sh    with what was built in DIR (default: build); results also in DIR/bench/*.json
#
# As root both contenders use tmpfs mounts with the same options, first with pages of 4 KiB and then with huge ones; as
# an ordinary user both use files in /dev/shm.
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
        unshare --mount sh -c 'mount -t tmpfs -o "size=4G,mode=700,huge=$1" tmpfs "$0" && shift && exec "$@"' \
            "$scratch/memkind" $mount_huge "$@"
    else
        "$@"
    fi
}

lifecycle() {
    printf '\nPools come and go: %s\n\n' "$2"
    scratch_start 4096 "$1" || {
        cat "$scratch/log" >&2
        exit 1
    }
    mkdir "$scratch/memkind"
    with_mount "$1" "$scratch_build/bench/lifecycle" --memkind-dir "$scratch/memkind" \
        --json "$scratch_build/bench/lifecycle-$1.json"
    scratch_clean
}

printf 'Linux %s, %s CPUs, load %s\n' "$(uname -r)" "$(nproc)" "$(cut -d ' ' -f 1 /proc/loadavg)"
if scratch_may_mount; then
    lifecycle never "pages of 4 KiB"
    lifecycle within-size "huge pages"
else
    lifecycle never "files in /dev/shm"
fi
