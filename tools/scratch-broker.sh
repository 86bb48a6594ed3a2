# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
#
# A broker of one's own in a temporary directory: for demo.sh and bench.sh, which read this file. It serves one store,
# named "demo", of ordinary memory where mounting is allowed, and of files in a directory otherwise.
#
#   scratch_start MiB [HUGE]   start it, with HugePages=HUGE; 0 when it serves. Everything is below $scratch.
#   scratch_stop               ask it to stop, wait; its exit status
#   scratch_processes          the ids of its processes, each on a line
#   scratch_clean              for an EXIT trap: stop what runs, remove what is there
#
# Sets scratch (the directory), scratch_store (tmpfs or dir), scratch_pid, scratch_command, and exports PATH (with what
# was built in front) and PMBROKER_SOCKET. What the broker says is in $scratch/log.

scratch=
scratch_pid=
scratch_store=

scratch_build=${BUILD:-build}
case $scratch_build in
/*) ;;
*) scratch_build=$PWD/$scratch_build ;;
esac
PATH=$scratch_build:$scratch_build/examples:$PATH
export PATH

# Whether this user may mount a tmpfs in a mount namespace, as the provisioner does. (In a chroot "/" is no mount point,
# so that unshare's wish to change its propagation would fail.)
scratch_may_mount() {
    [ "$(id -u)" -eq 0 ] || return 1
    mkdir "$scratch/mount" || return 1
    unshare --mount --propagation unchanged sh -c 'mount -t tmpfs tmpfs "$1" && umount "$1"' sh "$scratch/mount" 2>/dev/null
    scratch_mounted=$?
    rmdir "$scratch/mount"
    return $scratch_mounted
}

# One store; three tenants with a quota each, two of which are users that every Debian system has.
scratch_config() {
    echo "[Broker]"
    echo "ShrinkTimeoutSec=2s"
    echo
    echo "[Store demo]"
    echo "Type=$scratch_store"
    echo "Size=$1M"
    [ "$scratch_store" = tmpfs ] || echo "Path=$scratch/store"
    [ "$scratch_store" = dir ] || echo "HugePages=${2:-within-size}"
    if [ "$(id -u)" -eq 0 ]; then
        printf '\n[Tenant %s]\nUser=%s\nBytes=25%%\n' quiet bin greedy daemon
    fi
    printf '\n[Tenant default]\nBytes=50%%\n'
}

# Run a command until it succeeds, for so many seconds.
wait_until() {
    wait_left=$(($1 * 10))
    shift
    until "$@"; do
        wait_left=$((wait_left - 1))
        [ "$wait_left" -gt 0 ] || return 1
        sleep 0.1
    done
}

scratch_start() {
    scratch=$(mktemp -d "${SCRATCH_BASE:-/tmp}/pmbroker.XXXXXX") || return 1
    chmod 711 "$scratch" # the broker and the clients are other users
    if scratch_may_mount; then
        scratch_store=tmpfs
    else
        scratch_store=dir
    fi
    scratch_config "$@" >"$scratch/pmbrokerd.conf" || return 1
    PMBROKER_SOCKET=$scratch/pmbroker.sock
    export PMBROKER_SOCKET

    set -- --socket "$PMBROKER_SOCKET" --config "$scratch/pmbrokerd.conf"
    [ "$(id -u)" -ne 0 ] || set -- "$@" --user nobody
    pmbrokerd "$@" >"$scratch/log" 2>&1 &
    scratch_pid=$!
    # shellcheck disable=SC2034 # for those who read this file
    scratch_command="pmbrokerd $*"
    wait_until 10 scratch_has_begun && scratch_serves
}

scratch_serves() {
    pmbrokerctl stores --json 2>/dev/null | grep -q '"state": *"available"'
}

# Or has ended already, so that there is nothing to wait for.
scratch_has_begun() {
    scratch_serves || ! kill -0 "$scratch_pid" 2>/dev/null
}

# All of them have the directory on their command line, by the option that names the state directory or the socket.
scratch_processes() {
    for scratch_proc in /proc/[0-9]*; do
        case $(tr '\0' ' ' 2>/dev/null <"$scratch_proc/cmdline") in
        *pmbrokerd*"$scratch"*) echo "${scratch_proc#/proc/}" ;;
        esac
    done
}

scratch_stop() {
    [ -n "$scratch_pid" ] || return 0
    kill -TERM "$scratch_pid" 2>/dev/null
    wait "$scratch_pid"
    set -- $?
    scratch_pid=
    return "$1"
}

scratch_clean() {
    [ -n "$scratch" ] || return 0
    scratch_stop
    for scratch_proc in $(scratch_processes); do
        kill -KILL "$scratch_proc" 2>/dev/null
    done
    rm -rf "$scratch"
    scratch=
}
