#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Called by mmdebstrap when the packages are installed: image-hook.sh ROOT KERNEL-PACKAGE
#
# Makes ROOT/image: see build-image.sh. apt here is the one that installed the packages, by $APT_CONFIG.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$1
image=$root/image
mkdir -p "$image" "$root/initrd"

# ----------------------------------------------------------------------------------------------------------- kernel

# Unpacked, not installed: its scripts would want a boot loader and an initramfs as a real machine has it.
package=$(apt-cache show --no-all-versions "$2" | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p')
(cd "$root/initrd" && apt-get download -q "$package")
dpkg-deb -x "$root/initrd/$package"_*.deb "$root/initrd/kernel"
rm "$root/initrd/$package"_*.deb
mv "$root"/initrd/kernel/boot/vmlinuz-* "$image/vmlinuz"
version=$(ls "$root/initrd/kernel/lib/modules")
modules=lib/modules/$version

# Everything that has to do with memory and file systems. Most of the rest is for hardware that this machine has not.
mkdir -p "$root/usr/$modules"
(
    cd "$root/initrd/kernel/$modules"
    cp modules.order modules.builtin modules.builtin.modinfo "$root/usr/$modules"
    cp -a --parents kernel/crypto kernel/lib kernel/mm \
        kernel/drivers/nvdimm kernel/drivers/dax kernel/drivers/acpi kernel/drivers/virtio \
        kernel/drivers/block kernel/drivers/cxl \
        kernel/fs/autofs kernel/fs/ext4 kernel/fs/fuse kernel/fs/overlayfs kernel/fs/quota kernel/fs/squashfs kernel/fs/xfs \
        "$root/usr/$modules" 2>/dev/null || true # some are built in
)
rm -rf "$root/initrd/kernel"
chroot "$root" depmod "$version"

# -------------------------------------------------------------------------------------------------------- initramfs

# What mounting the root takes, what systemd looks for at once, and what udev would load for an NVDIMM a little later.
wanted='virtio_pci virtio_blk squashfs overlay autofs4 nfit nd_pmem dax_pmem device_dax kmem'
mkdir -p "$root/initrd/bin" "$root/initrd/modules"
cp "$root/bin/busybox" "$root/initrd/bin/busybox"
cp "$here/init" "$root/initrd/init"
chmod 755 "$root/initrd/init"

# modules.dep says "module: dependency dependency ...", of which the last has to be loaded first.
for module in $wanted; do
    line=$(sed -n "s|^\(kernel/[^:]*/$(echo "$module" | sed 's/_/[-_]/g')\.ko\): *|\1 |p" "$root/usr/$modules/modules.dep")
    [ -n "$line" ] || grep -q "/$(echo "$module" | sed 's/_/[-_]/g')\.ko" "$root/usr/$modules/modules.builtin" || {
        echo "the kernel has no module $module" >&2
        exit 1
    }
    echo "$line" | awk '{ for (i = NF; i > 0; i--) print $i }'
done | awk '!seen[$0]++' | while read -r file; do
    cp "$root/usr/$modules/$file" "$root/initrd/modules/"
    echo "${file##*/}"
done >"$root/modules"
mv "$root/modules" "$root/initrd/modules/order"
chroot "$root" sh -c 'cd /initrd && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1' >"$image/initrd"
rm -rf "$root/initrd"

# ------------------------------------------------------------------------------------------------------------- root

# The same at each boot: with an empty one, systemd would apply presets to all units at each boot.
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
echo pmbroker-vm >"$root/etc/hostname"
echo '127.0.0.1 localhost pmbroker-vm' >"$root/etc/hosts"
: >"$root/etc/fstab"
rm -f "$root/etc/resolv.conf"
sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"

# Who would only cost time here, or log in where nobody is.
mkdir -p "$root/etc/systemd/system"
for unit in getty.target getty@.service serial-getty@.service systemd-logind.service systemd-networkd.service \
    systemd-timesyncd.service systemd-resolved.service systemd-pstore.service systemd-random-seed.service \
    systemd-update-utmp.service systemd-hwdb-update.service systemd-journal-flush.service \
    modprobe@.service proc-sys-fs-binfmt_misc.automount sys-kernel-debug.mount sys-kernel-tracing.mount \
    dev-mqueue.mount dev-hugepages.mount \
    ldconfig.service ndctl-monitor.service e2scrub_reap.service e2scrub_all.timer fstrim.timer apt-daily.timer \
    apt-daily-upgrade.timer dpkg-db-backup.timer systemd-tmpfiles-clean.timer xfs_scrub_all.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# All of the journal, from the first message on, in memory: it is brought back when the guest ends.
mkdir -p "$root/etc/systemd/journald.conf.d"
cat >"$root/etc/systemd/journald.conf.d/vm.conf" <<'CONF'
[Journal]
Storage=volatile
RateLimitIntervalSec=0
RuntimeMaxUse=64M
CONF

rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* \
    "$root/usr/lib/udev/hwdb.bin" "$root"/var/cache/ldconfig/*
# policy-rc.d is mmdebstrap's: it keeps packages from starting their services here, which they shall do there.
mksquashfs "$root" "$image/root.squashfs" -no-progress -quiet -comp zstd -Xcompression-level 3 -no-xattrs \
    -wildcards -e image usr/sbin/policy-rc.d 'dev/*' 'proc/*' 'sys/*' 'run/*' 'tmp/*'
