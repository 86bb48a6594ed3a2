/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "provisioner/extents.h"
#include "provisioner/media.h"

#define EXTENTS_AT_ONCE 512

#define ALLOWANCE_BASE  (UINT64_C(4) << 20)
#define ALLOWANCE_SHARE 128

/* The units that a range of bytes touches. */
static int append_bytes(UnitSet *set, uint64_t from, uint64_t bytes)
{
        uint64_t first = from / JOB_UNIT, end = (from + bytes + JOB_UNIT - 1) / JOB_UNIT;

        if (end > UINT32_MAX)
                return -EFBIG;
        return unitset_append(set, first, end - first);
}

typedef int (*ExtentFn)(const struct fiemap_extent *extent, void *userdata);

static int for_each_extent(int fd, ExtentFn fn, void *userdata)
{
        _cleanup_free_ struct fiemap *map =
                calloc(1, sizeof(*map) + EXTENTS_AT_ONCE * sizeof(struct fiemap_extent));
        uint64_t at = 0;

        if (!map)
                return -ENOMEM;
        for (;;) {
                map->fm_start = at;
                map->fm_length = FIEMAP_MAX_OFFSET - at;
                map->fm_flags = 0;
                map->fm_extent_count = EXTENTS_AT_ONCE;
                map->fm_mapped_extents = 0;
                if (ioctl(fd, FS_IOC_FIEMAP, map) < 0)
                        return -errno;
                if (map->fm_mapped_extents == 0)
                        return 0;
                for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
                        const struct fiemap_extent *extent = &map->fm_extents[i];
                        int r = fn(extent, userdata);

                        if (r < 0)
                                return r;
                        at = extent->fe_logical + extent->fe_length;
                        if (extent->fe_flags & FIEMAP_EXTENT_LAST)
                                return 0;
                }
        }
}

typedef struct Reading {
        UnitSet *backed;
        UnitSet *written;
} Reading;

static int note_units(const struct fiemap_extent *extent, void *userdata)
{
        const Reading *reading = userdata;
        int r = append_bytes(reading->backed, extent->fe_logical, extent->fe_length);

        if (r >= 0 && reading->written && !(extent->fe_flags & FIEMAP_EXTENT_UNWRITTEN))
                r = append_bytes(reading->written, extent->fe_logical, extent->fe_length);
        return r;
}

int extents_read(int fd, UnitSet *ret_backed, UnitSet *ret_written)
{
        Reading reading = {.backed = ret_backed, .written = ret_written};

        return for_each_extent(fd, note_units, &reading);
}

typedef struct Search {
        const JobRange *bad;
        uint32_t n;
        uint64_t bytes;
        uint64_t first;
} Search;

static int note_bad(const struct fiemap_extent *extent, void *userdata)
{
        const uint64_t start = extent->fe_physical, end = start + extent->fe_length;
        Search *s = userdata;

        for (uint32_t i = 0; i < s->n; i++) {
                uint64_t from = (uint64_t)s->bad[i].first * MEDIA_BLOCK,
                         to = from + (uint64_t)s->bad[i].count * MEDIA_BLOCK, offset;

                if (from < start)
                        from = start;
                if (to > end)
                        to = end;
                if (from >= to)
                        continue;
                offset = extent->fe_logical + (from - start);
                if (s->bytes == 0 || offset < s->first)
                        s->first = offset;
                s->bytes += to - from;
        }
        return 0;
}

int extents_find_bad(int fd, const JobRange *bad, uint32_t n, uint64_t *ret_bytes, uint64_t *ret_first)
{
        Search search = {.bad = bad, .n = n};
        int r = for_each_extent(fd, note_bad, &search);

        if (r < 0)
                return r;
        *ret_bytes = search.bytes;
        *ret_first = search.first;
        return 0;
}

uint64_t extents_allowance(uint64_t length)
{
        return ALLOWANCE_BASE + length / ALLOWANCE_SHARE;
}

uint64_t extents_first_limit(uint64_t used, uint64_t size, uint64_t length)
{
        if (size < length)
                return size;
        return used > size ? used : size + JOB_UNIT;
}
