/* SPDX-License-Identifier: BSD-3-Clause */
#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "provisioner/blk.h"

#define ZEROES     (UINT64_C(2) << 20) /* bytes at a time */
#define ALIGN      4096
#define WAIT_TRIES 100 /* for the device node */
#define WAIT_USEC  20000

static inline void cleanup_probe(blkid_probe *probe)
{
        if (*probe)
                blkid_free_probe(*probe);
}

int blk_open(const char *name, bool for_writing)
{
        int flags = for_writing ? O_RDWR | O_EXCL | O_DIRECT : O_RDONLY;
        char path[64];
        struct stat st;
        int fd = -1;

        if (!name || !*name || snprintf(path, sizeof(path), "/dev/%s", name) >= (int)sizeof(path))
                return -ENODEV;
        for (int i = 0; i < WAIT_TRIES; i++) {
                fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC);
                /* udev looks at each new device, for a moment. */
                if (fd >= 0 || (errno != ENOENT && errno != ENXIO))
                        break;
                (void)usleep(WAIT_USEC);
        }
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode)) {
                safe_close(fd);
                return -ENOTBLK;
        }
        return fd;
}

int blk_size(int fd, uint64_t *ret)
{
        return ioctl(fd, BLKGETSIZE64, ret) < 0 ? -errno : 0;
}

static void take_value(blkid_probe probe, const char *name, char *to, size_t size)
{
        const char *value = NULL;

        to[0] = '\0';
        if (blkid_probe_lookup_value(probe, name, &value, NULL) == 0 && value)
                (void)snprintf(to, size, "%s", value);
        make_printable(to); /* anybody can have written it */
}

int blk_probe(int fd, BlkProbe *ret)
{
        _cleanup_(cleanup_probe) blkid_probe probe = blkid_new_probe();
        int r;

        *ret = (BlkProbe){0};
        if (!probe)
                return -ENOMEM;
        errno = 0;
        if (blkid_probe_set_device(probe, fd, 0, 0) != 0)
                return errno > 0 ? -errno : -EIO;
        (void)blkid_probe_enable_superblocks(probe, 1);
        (void)blkid_probe_set_superblocks_flags(
                probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_USAGE);
        (void)blkid_probe_enable_partitions(probe, 1);
        (void)blkid_probe_set_partitions_flags(probe, BLKID_PARTS_FORCE_GPT);
        errno = 0;
        r = blkid_do_safeprobe(probe);
        if (r == -1)
                return errno > 0 ? -errno : -EIO;
        if (r == 1)
                return 0;
        if (r == -2) {
                ret->content = BLK_SEVERAL;
                return 0;
        }
        ret->content = BLK_SIGNATURE;
        take_value(probe, "TYPE", ret->type, sizeof(ret->type));
        take_value(probe, "LABEL", ret->label, sizeof(ret->label));
        take_value(probe, "UUID", ret->uuid, sizeof(ret->uuid));
        if (!ret->type[0]) {
                char table[16];
                take_value(probe, "PTTYPE", table, sizeof(table));
                (void)snprintf(ret->type, sizeof(ret->type), "%.12s partition table", table);
        }
        return 0;
}

void blk_describe(const BlkProbe *probe, char *buf, size_t size)
{
        switch (probe->content) {
        case BLK_NOTHING:
                (void)snprintf(buf, size, "nothing");
                return;
        case BLK_SEVERAL:
                (void)snprintf(buf, size, "several signatures");
                return;
        case BLK_SIGNATURE:
                break;
        }
        (void)snprintf(buf, size, "%s%s%s%s", probe->type, probe->label[0] ? " \"" : "", probe->label,
                probe->label[0] ? "\"" : "");
}

int blk_zero(int fd, uint64_t from, uint64_t bytes, BlkProgressFn progress, void *userdata)
{
        _cleanup_free_ void *zeroes = NULL;
        uint64_t done = 0;

        if (posix_memalign(&zeroes, ALIGN, ZEROES) != 0)
                return -ENOMEM;
        memset(zeroes, 0, ZEROES);
        while (done < bytes) {
                size_t n = bytes - done < ZEROES ? (size_t)(bytes - done) : ZEROES;
                ssize_t w = pwrite(fd, zeroes, n, (off_t)(from + done));
                if (w < 0 && errno == EINTR)
                        continue;
                if (w <= 0)
                        return w < 0 ? -errno : -EIO;
                done += (uint64_t)w;
                if (progress)
                        progress(done, bytes, userdata);
        }
        return fsync(fd) < 0 ? -errno : 0;
}
