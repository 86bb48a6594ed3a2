#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# pmbroker in a minute: a broker of its own in a temporary directory, programs that use it, and an administrator who
# interferes. Every step says what it runs and whether it went as it should; the exit status says whether all did.
#
#   BUILD=DIR tools/demo.sh    with what was built in DIR (default: build)
#
# As root the memory is a tmpfs per pool, whose limit the kernel holds; as an ordinary user it is files in a directory,
# whose limit the daemon checks.
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/scratch-broker.sh

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') green=$(printf '\033[32m') red=$(printf '\033[31m') plain=$(printf '\033[0m')
else
    bold='' green='' red='' plain=''
fi

# ------------------------------------------------------------------------------------------------------------- steps

step_number=0
step_held=yes
steps_failed=0

step() {
    step_number=$((step_number + 1))
    step_held=yes
    printf '\n%s%2d. %s%s\n' "$bold" "$step_number" "$1" "$plain"
}

show() {
    printf '    %s$ %s%s\n' "$bold" "$*" "$plain"
}

indent() {
    sed 's/^/    /'
}

# Show a command, run it, show what it says. Its status is the result.
run() {
    show "$@"
    "$@" >"$scratch/out" 2>&1
    set -- $?
    indent <"$scratch/out"
    return "$1"
}

# Something that must be so: a sentence, and a command that is silent about it.
must() {
    must_what=$1
    shift
    "$@" && return
    printf '    %snot so: %s%s\n' "$red" "$must_what" "$plain"
    step_held=no
}

end_step() {
    if [ $step_held = yes ]; then
        printf '    %sok%s\n' "$green" "$plain"
    else
        printf '    %sFAILED%s\n' "$red" "$plain"
        steps_failed=$((steps_failed + 1))
    fi
}

holder_pid=

finish() {
    status=$?
    trap - EXIT
    [ -z "$holder_pid" ] || kill -KILL "$holder_pid" 2>/dev/null
    if [ "$status" -eq 1 ] && [ -s "$scratch/log" ]; then
        printf '\nWhat the daemon said:\n'
        indent <"$scratch/log"
    fi
    scratch_clean
    exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# ------------------------------------------------------------------------------------------------------- what is seen

# A number from the first store's row.
store_figure() {
    pmbrokerctl stores --json 2>/dev/null | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" | head -n 1
}

broker_figure() {
    pmbrokerctl status --json 2>/dev/null | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p"
}

broker_is_not() {
    set -- "$1" "$(broker_figure pid)"
    [ -n "$2" ] && [ "$1" != "$2" ]
}

store_is_empty() {
    [ "$(store_figure charged)" = 0 ] && [ "$(store_figure pools)" = 0 ]
}

# Bytes of the only pool.
pool_limit() {
    pmbrokerctl list --quiet --noheadings --raw --bytes --output limit
}

equal() {
    [ "$1" = "$2" ]
}

between() {
    [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]
}

# Start the client that holds a pool and checks every byte of it; 0 when the pool is filled.
start_holder() {
    show "holder $* &"
    holder "$@" >"$scratch/holder" 2>&1 &
    holder_pid=$!
    holder_seen=0
    wait_until 10 holder_says 'in [0-9]* blocks'
}

# Whether it has said something since it was last shown.
holder_says() {
    tail -n +$((holder_seen + 1)) "$scratch/holder" | grep -q "$1"
}

show_holder() {
    tail -n +$((holder_seen + 1)) "$scratch/holder" | indent
    holder_seen=$(wc -l <"$scratch/holder")
}

holder_runs() {
    kill -0 "$holder_pid" 2>/dev/null
}

# Its exit status.
wait_for_holder() {
    wait "$holder_pid"
    set -- $?
    holder_pid=
    echo "$1" >"$scratch/status"
}

mib=1048576

# --------------------------------------------------------------------------------------------------------------- demo

for program in pmbrokerd pmbrokerctl examples/holder; do
    [ -x "$scratch_build/$program" ] || {
        echo "demo: $scratch_build/$program is missing: run make all" >&2
        exit 1
    }
done
began=$(date +%s)

step "A broker with one store of 512 MiB"
scratch_start 512
started=$?
show "$scratch_command &"
show "export PMBROKER_SOCKET=$PMBROKER_SOCKET"
must "the broker serves" equal $started 0
run pmbrokerctl stores || step_held=no
if [ "$scratch_store" = dir ]; then
    echo "    (without the right to mount: files in a directory, held to their limits by audit)"
fi
end_step
[ $step_held = yes ] || exit 1

step "A pool of 32 MiB takes 512 B, 8 MiB and 16 MiB, and refuses another 16 MiB"
must "the walk ends well" run memkind-walk
must "nothing is left of it" wait_until 5 store_is_empty
end_step

step "A cache with its index in ordinary memory and its values in a pool"
must "every value is right" run tiering
end_step

step "One tenant takes all that it can get; another one does not notice"
run pmbrokerctl tenants || step_held=no
must "both end well" run two-tenants
must "nothing is left of them" wait_until 5 store_is_empty
end_step

step "A client that goes behind the library's back gets no more than its limit"
must "it is held to it" run cheat
must "nothing is left of it" wait_until 5 store_is_empty
end_step

step "A client holds a pool of 64 MiB, half of it filled, and reads every byte all the time"
must "it got its pool" start_holder --size 64
show_holder
run pmbrokerctl list || step_held=no
must "the pool has 64 MiB" equal "$(pool_limit)" $((64 * mib))
end_step

step "The administrator grows it to 128 MiB; the client goes on, and can take what is new"
must "it grows" run pmbrokerctl resize holder 128M
must "the client sees it" wait_until 10 holder_says '128 MiB now'
show_holder
must "the pool has 128 MiB" equal "$(pool_limit)" $((128 * mib))
must "the client runs" holder_runs
end_step

step "The administrator shrinks it to 64 MiB; nothing that is in use goes"
must "it shrinks" run pmbrokerctl resize holder 64M
must "the client sees it" wait_until 10 holder_says '64 MiB now'
show_holder
must "the pool has 64 MiB" equal "$(pool_limit)" $((64 * mib))
must "the store has the rest back" equal "$(store_figure charged)" $((64 * mib))
must "the client runs" holder_runs
end_step

step "Less than the client uses is not to be had by asking: the shrink ends where it hurts"
run pmbrokerctl resize holder 16M
must "the answer is no, in part" equal $? 1
wait_until 5 holder_says 'MiB now' && show_holder
must "the client keeps what it uses" between "$(pool_limit)" $((32 * mib)) $((64 * mib))
must "the client runs" holder_runs
end_step

step "The broker is killed; it comes back, and the client has lost nothing"
broker_pid=$(broker_figure pid)
show "kill -KILL $broker_pid"
kill -KILL "$broker_pid"
must "another one serves" wait_until 10 broker_is_not "$broker_pid"
must "the client is connected again" wait_until 10 holder_says 'restarted'
show_holder
must "the pool can be grown again" run pmbrokerctl resize holder 64M
must "the client sees it" wait_until 10 holder_says '64 MiB now'
show_holder
must "the client runs" holder_runs
end_step

step "Revoking takes the memory at once; the client is told, or finds out by SIGBUS, and ends with 3"
must "it is revoked" run pmbrokerctl revoke holder
wait_for_holder
show_holder
must "the client ends with 3" equal "$(cat "$scratch/status")" 3
must "the capacity is back" wait_until 5 store_is_empty
run pmbrokerctl stores || step_held=no
end_step

step "A client that is killed gives everything back, too"
must "it got its pool" start_holder --size 64
show_holder
show "kill -KILL $holder_pid"
kill -KILL "$holder_pid"
wait_for_holder 2>/dev/null
must "the capacity is back" wait_until 5 store_is_empty
show "pmbrokerctl stores --json"
pmbrokerctl stores --json | indent
end_step

step "A client that is asked to end has every byte as it was written"
must "it got its pool" start_holder --size 128
show_holder
sleep 1
show "kill -TERM $holder_pid"
kill -TERM "$holder_pid"
wait_for_holder
show_holder
must "the client ends with 0" equal "$(cat "$scratch/status")" 0
must "the capacity is back" wait_until 5 store_is_empty
end_step

step "The broker stops, and nothing is left"
processes=$(scratch_processes | wc -l)
show "kill -TERM $scratch_pid"
must "it had a supervisor, a broker and a provisioner" between "$processes" 3 100
must "it stops cleanly" scratch_stop
must "no process is left" equal "$(scratch_processes)" ""
must "no socket is left" equal "$(find "$scratch" -type s)" ""
must "no pool and no record is left" equal \
    "$(find "$scratch/pmbroker.sock.d" "$scratch/store" -type f ! -name lock 2>/dev/null)" ""
must "no mount is left" equal "$(grep -F "$scratch" /proc/self/mounts)" ""
end_step

printf '\n%d steps in %d s: ' "$step_number" $(($(date +%s) - began))
if [ "$steps_failed" -gt 0 ]; then
    printf '%s%d FAILED%s\n' "$red" "$steps_failed" "$plain"
    exit 1
fi
printf '%sall ok%s\n' "$green" "$plain"
