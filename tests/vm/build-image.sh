#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Make the guest's image, unless there is one already; print the directory it is in:
#
#   vmlinuz            Debian's kernel for virtual machines
#   initrd             busybox, the modules that mounting the root takes, and `init` from here
#   root.squashfs      a small Debian, with the packages that `packages` here names
#
# Nothing of pmbroker is in the image: what is tested is laid over it at each boot. So an image is good for as long as
# its recipe (these files, and the version of the kernel that this machine's apt offers) stays the same, and is kept in
#
#   $PMBROKER_VM_CACHE, or $XDG_CACHE_HOME/pmbroker-tests, or /var/cache/pmbroker-tests (~/.cache/... if not root)
#
# PMBROKER_DEBIAN_MIRROR=URI takes packages from another mirror than deb.debian.org.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# The guest runs what was built here, so it should be the Debian that this is.
suite=bookworm
kernel=linux-image-cloud-amd64
mirror=${PMBROKER_DEBIAN_MIRROR:-http://deb.debian.org}
umask 022

if [ -n "${PMBROKER_VM_CACHE:-}" ]; then
    cache=$PMBROKER_VM_CACHE
elif [ -n "${XDG_CACHE_HOME:-}" ]; then
    cache=$XDG_CACHE_HOME/pmbroker-tests
elif [ "$(id -u)" -eq 0 ]; then
    cache=/var/cache/pmbroker-tests
else
    cache=$HOME/.cache/pmbroker-tests
fi

key=$({
    cat "$0" "$here/packages" "$here/image-hook.sh" "$here/init"
    LC_ALL=C apt-cache policy "$kernel" 2>/dev/null | sed -n 's/^ *Candidate: //p'
} | sha256sum | cut -c 1-16)
image=$cache/vm-$key

complete() {
    [ -s "$image/root.squashfs" ] && [ -s "$image/initrd" ] && [ -s "$image/vmlinuz" ]
}

finish() {
    # For the cleaning below: when it was last used.
    touch "$image"
    echo "$image"
    exit 0
}

complete && finish

mkdir -p "$cache"
# Two that start at the same time need not both make it.
exec 9>"$cache/lock"
flock 9
complete && finish

echo "vm: making the guest's image, which takes a minute or more" >&2
work=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Unsafe: an image that a power cut damages is not finished and so never used.
# The hook runs where the root's files look as they should, also without being root; what it makes is in /image there.
if ! mmdebstrap --quiet --variant=essential --format=null \
    --include="$(sed 's/#.*//' "$here/packages" | tr -s '\n' ,)" \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
    --aptopt='Acquire::Retries "3"' \
    --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/lib/udev/hwdb.d/*' \
    --customize-hook="'$here/image-hook.sh' \"\$1\" $kernel" \
    --customize-hook="sync-out /image '$work'" \
    "$suite" /dev/null \
    "deb $mirror/debian $suite main" \
    "deb $mirror/debian $suite-updates main" \
    "deb $mirror/debian-security $suite-security main" >"$cache/log" 2>&1; then
    tail -n 40 "$cache/log" >&2
    echo "$0: cannot make the guest's image; all that was said is in $cache/log" >&2
    exit 1
fi

rm -rf "$image"
chmod 755 "$work"
mv -T "$work" "$image"
# Images of recipes that were not used for long are in nobody's way but the disk's.
find "$cache" -maxdepth 1 -name 'vm-*' -mtime +14 -exec rm -rf {} +
complete && finish
echo "$0: $image is not complete" >&2
exit 1
