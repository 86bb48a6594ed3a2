/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "provisioner/extents.h"

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

int extents_read(int fd, UnitSet *ret_backed, UnitSet *ret_written)
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
                        int r = append_bytes(ret_backed, extent->fe_logical, extent->fe_length);
                        if (r >= 0 && ret_written && !(extent->fe_flags & FIEMAP_EXTENT_UNWRITTEN))
                                r = append_bytes(ret_written, extent->fe_logical, extent->fe_length);
                        if (r < 0)
                                return r;
                        at = extent->fe_logical + extent->fe_length;
                        if (extent->fe_flags & FIEMAP_EXTENT_LAST)
                                return 0;
                }
        }
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
