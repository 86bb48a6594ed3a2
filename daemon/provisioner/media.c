/* SPDX-License-Identifier: BSD-3-Clause */

#include "provisioner/media.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SECTOR            512
#define SECTORS_PER_BLOCK (MEDIA_BLOCK / SECTOR)

/* Sectors of one block may be on several lines. */
static void add(Media *m, uint64_t first, uint64_t end)
{
        JobRange *last = m->n > 0 ? &m->ranges[m->n - 1] : NULL;
        uint64_t last_end = last ? (uint64_t)last->first + last->count : 0;

        if (first < last_end)
                first = last_end;
        if (first >= end)
                return;
        m->bytes += (end - first) * MEDIA_BLOCK;
        if (last && first == last_end)
                last->count += (uint32_t)(end - first);
        else if (m->n < MEDIA_RANGES_MAX)
                m->ranges[m->n++] = (JobRange){.first = (uint32_t)first, .count = (uint32_t)(end - first)};
}

int media_parse(const char *text, Media *ret)
{
        Media m = {0};

        while (*text) {
                uint64_t sector, count, end;
                int n = 0;

                if (*text < '0' || *text > '9' ||
                        sscanf(text, "%" SCNu64 " %" SCNu64 "%*[\n]%n", &sector, &count, &n) != 2 || n == 0)
                        return -EBADMSG;
                if (count == 0 || __builtin_add_overflow(sector, count, &end) ||
                        end / SECTORS_PER_BLOCK >= UINT32_MAX)
                        return -EBADMSG;
                add(&m, sector / SECTORS_PER_BLOCK, (end + SECTORS_PER_BLOCK - 1) / SECTORS_PER_BLOCK);
                text += n;
        }
        *ret = m;
        return 0;
}

int media_open(dev_t dev)
{
        char path[64];
        int fd;

        (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/badblocks", major(dev), minor(dev));
        fd = open(path, O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int media_read(int fd, Media *ret)
{
        char text[MEDIA_TEXT_MAX];
        ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

        if (n < 0)
                return -errno;
        text[n] = '\0';
        return media_parse(text, ret);
}
