#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The real thing: a Debian with systemd as PID 1 and three NVDIMMs, emulated by QEMU, and pmbroker installed in it.
#
#   run.sh BUILD [ARGUMENT...]    run guest/test_*.py in there; arguments are pytest's (-k restart, say)
#   run.sh --shell BUILD          a root shell in there, on this terminal
#
# What was built in BUILD is installed over the image that build-image.sh makes. Everything that comes back (results, the
# journal, the console) is in BUILD/vm. Fails when a test fails or does not run, when the kernel warns or panics, and
# when the guest hangs.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$here/../.." && pwd)
mode=suite
if [ "${1:-}" = --shell ]; then
    mode=shell
    shift
fi
build=$(cd "${1:?usage: $0 [--shell] BUILD [ARGUMENT...]}" && pwd)
shift
vm=$build/vm
# More than pmbroker-suite.service gives the suite, plus a boot.
timeout=1000

image=$("$here/build-image.sh")
rm -rf "$vm"
mkdir -p "$vm"
began=$(date +%s)

fail() {
    echo "vm: $*"
    echo "vm: see $vm"
    exit 1
}

# -------------------------------------------------------------------------------------------------- what is laid over

# Below /usr, as a package: /lib and the like are links in the guest.
over=$vm/over
umask 022
${MAKE:-make} --no-print-directory -s -C "$tree" BUILD="$build" DESTDIR="$over" PREFIX=/usr \
    UNITDIR=/usr/lib/systemd/system install >"$vm/install.log" 2>&1 || {
    cat "$vm/install.log"
    fail "make install failed"
}
# The tests find each other, the protocol and the programs as they do in the tree.
tests=$over/usr/lib/pmbroker-tests
mkdir -p "$tests/tests/vm" "$tests/tests/integration" "$tests/proto" "$tests/build"
cp -R "$here/guest" "$tests/tests/vm/"
cp "$tree"/tests/integration/*.py "$tests/tests/integration/"
cp "$tree/proto/pmbroker.proto" "$tests/proto/"
(cd "$build" && find examples tests/integration -type f -perm -u+x -exec cp --parents {} "$tests/build/" \;)
ln -s /usr/sbin/pmbrokerd /usr/bin/pmbrokerctl "$tests/build/"
mv "$tests"/tests/vm/guest/*.service "$tests"/tests/vm/guest/*.target "$over/usr/lib/systemd/system/"
mv "$tests/tests/vm/guest/pmbroker-tests.conf" "$over/usr/lib/sysusers.d/"
# The other end is no terminal, and does not know whether this one is.
[ -t 1 ] && color=yes || color=no
printf '%s\n' "--color=$color" "$@" >"$tests/tests/vm/guest/arguments"
# Not compressed: that takes longer than it saves.
mksquashfs "$over" "$vm/over.squashfs" -no-progress -quiet -all-root -no-xattrs -noI -noD -noF >/dev/null

# --------------------------------------------------------------------------------------------------------------- QEMU

# Two with labels, which namespaces can be cut from, and one without. Each has a NUMA node of its own, so that its memory
# can become a node's. The label area is taken from the end: 1026 MiB leaves an aligned GiB.
truncate -s 1026M "$vm/nvdimm0" "$vm/nvdimm1"
truncate -s 512M "$vm/nvdimm2"
truncate -s 64M "$vm/results.tar"

# -cx16: newer kernels crash under emulation with it.
set -- -machine q35,nvdimm=on -accel tcg,thread=multi -cpu max,-cx16 -smp 2 -m 2G,slots=4,maxmem=8G \
    -object memory-backend-ram,id=ram,size=2G -numa node,nodeid=0,memdev=ram,cpus=0-1 \
    -numa node,nodeid=1 -numa node,nodeid=2 -numa node,nodeid=3 \
    -object "memory-backend-file,id=m0,share=on,mem-path=$vm/nvdimm0,size=1026M,align=2M" \
    -device nvdimm,id=nv0,memdev=m0,label-size=2M,node=1 \
    -object "memory-backend-file,id=m1,share=on,mem-path=$vm/nvdimm1,size=1026M,align=2M" \
    -device nvdimm,id=nv1,memdev=m1,label-size=2M,node=2 \
    -object "memory-backend-file,id=m2,share=on,mem-path=$vm/nvdimm2,size=512M,align=2M" \
    -device nvdimm,id=nv2,memdev=m2,node=3 \
    -drive "file=$image/root.squashfs,if=virtio,format=raw,readonly=on" \
    -drive "file=$vm/over.squashfs,if=virtio,format=raw,readonly=on" \
    -drive "file=$vm/results.tar,if=virtio,format=raw,cache=unsafe" \
    -display none -net none -no-reboot -kernel "$image/vmlinuz" -initrd "$image/initrd"
# A slow host is no mistake of the guest's kernel: its watchdogs are off. A mistake ends it, instead of leaving it hang.
append="console=ttyS0 quiet panic=-1 oops=panic nowatchdog rcupdate.rcu_cpu_stall_suppress=1 mitigations=off"
# Its time stamp counter is good, though it does not know: the other clock is a device, whose emulation is slow.
append="$append tsc=reliable clocksource=tsc"
append="$append systemd.unit=pmbroker-$mode.target systemd.show_status=0"

if [ "$mode" = shell ]; then
    echo "vm: 'exit' ends it; so does C-a x"
    exec qemu-system-x86_64 "$@" -serial mon:stdio -append "$append"
fi

# On the terminal what the suite says, line by line.
status=0
timeout --foreground -k 5 $timeout qemu-system-x86_64 "$@" -append "$append" \
    -serial "file:$vm/console" -chardev "stdio,id=suite,logfile=$vm/suite" -serial chardev:suite </dev/null || status=$?

# ------------------------------------------------------------------------------------------------------------- results

rm -f "$vm"/nvdimm* "$vm/over.squashfs"
mkdir "$vm/guest"
tar -xf "$vm/results.tar" -C "$vm/guest" 2>/dev/null || true
rm -f "$vm/results.tar"

# The console too: the last words of a kernel come no other way.
bad='WARNING:|BUG:|Oops|Kernel panic|general protection fault|kernel BUG at|INFO: task .* blocked'
if grep -ahE "$bad" "$vm/console" "$vm/guest/dmesg" 2>/dev/null | sort -u >"$vm/kernel-warnings"; [ -s "$vm/kernel-warnings" ]; then
    head -n 20 "$vm/kernel-warnings"
    fail "the kernel warned"
fi
[ "$status" -ne 124 ] || fail "the guest was not done after $timeout s"
[ "$status" -eq 0 ] || fail "QEMU ended with status $status"
[ -e "$vm/guest/complete" ] || { tail -n 20 "$vm/console"; fail "the guest ended before the suite did"; }
[ -e "$vm/guest/status" ] || fail "the suite was not done in time; it hung in $(tail -n 1 "$vm/guest/begun" 2>/dev/null)"

# Each that was found has to have run; a test that is skipped has not.
[ -s "$vm/guest/found" ] || fail "no test was found"
sort "$vm/guest/found" >"$vm/found"
sed -n 's/^passed //p' "$vm/guest/results" 2>/dev/null | sort >"$vm/passed"
not_passed=$(comm -23 "$vm/found" "$vm/passed")
passed=$(wc -l <"$vm/passed")
[ -z "$not_passed" ] || {
    echo "$not_passed" | sed 's/^/vm: did not pass: /'
    fail "$passed passed, $(echo "$not_passed" | wc -l) did not"
}
[ "$(cat "$vm/guest/status")" -eq 0 ] || fail "pytest ended with status $(cat "$vm/guest/status")"
echo "vm: $passed passed, 0 failed ($(($(date +%s) - began)) s)"
