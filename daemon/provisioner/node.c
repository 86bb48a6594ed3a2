/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "provisioner/node.h"

#define SYS_NODE       "/sys/devices/system/node/node"
#define SYS_BLOCK_SIZE "/sys/devices/system/memory/block_size_bytes"
#define PATH_MAX_NODE  96

static void cleanup_file(FILE **f)
{
        if (*f)
                (void)fclose(*f);
}

static void cleanup_dir(DIR **dir)
{
        if (*dir)
                (void)closedir(*dir);
}

/* ----------------------------------------------------------------------------------------------- figures */

/* "Node 1 MemFree:          917504 kB" */
int node_parse_meminfo(FILE *f, NodeFigures *figures)
{
        uint64_t active = 0, inactive = 0, dirty = 0, writeback = 0;
        const struct {
                const char *name;
                uint64_t *target;
        } wanted[] = {
                {"MemTotal", &figures->total},
                {"MemFree", &figures->free},
                {"Shmem", &figures->shared},
                {"Active(file)", &active},
                {"Inactive(file)", &inactive},
                {"Dirty", &dirty},
                {"Writeback", &writeback},
        };
        char line[256], name[64];
        unsigned found = 0;

        while (fgets(line, sizeof(line), f)) {
                uint64_t kib;
                if (sscanf(line, "Node %*d %63[^:]: %" SCNu64 " kB", name, &kib) != 2 ||
                        kib > UINT64_MAX / 1024)
                        continue;
                for (unsigned i = 0; i < ELEMENTSOF(wanted); i++)
                        if (strcmp(name, wanted[i].name) == 0) {
                                *wanted[i].target = kib * 1024;
                                found |= 1U << i;
                        }
        }
        if (ferror(f))
                return -EIO;
        if (found != (1U << ELEMENTSOF(wanted)) - 1)
                return -EBADMSG;
        figures->cache = active + inactive > dirty + writeback ? active + inactive - dirty - writeback : 0;
        return 0;
}

/*
 * "Node 1, zone  Movable", and below it "        low      2345", in pages, for each zone; below that figures of each
 * processor.
 */
int node_parse_zoneinfo(FILE *f, int node, NodeFigures *figures)
{
        const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        bool is_it = false, found = false;
        char line[256], name[64];

        figures->low = figures->high = 0;
        while (fgets(line, sizeof(line), f)) {
                uint64_t pages;
                int which;

                if (sscanf(line, "Node %d, zone %63s", &which, name) == 2) {
                        is_it = which == node;
                        found = found || is_it;
                        continue;
                }
                if (!is_it || sscanf(line, " %63s %" SCNu64, name, &pages) != 2)
                        continue;
                /* Those of a processor are called "high:". */
                if (strcmp(name, "low") == 0)
                        figures->low += pages * page;
                else if (strcmp(name, "high") == 0)
                        figures->high += pages * page;
        }
        if (ferror(f))
                return -EIO;
        return found ? 0 : -ENODEV;
}

int node_get_figures(int node, NodeFigures *ret)
{
        _cleanup_(cleanup_file) FILE *meminfo = NULL, *zoneinfo = NULL;
        NodeFigures figures = {0};
        char path[PATH_MAX_NODE];
        int r;

        (void)snprintf(path, sizeof(path), SYS_NODE "%d/meminfo", node);
        meminfo = fopen(path, "re");
        if (!meminfo)
                return errno == ENOENT ? -ENODEV : -errno;
        r = node_parse_meminfo(meminfo, &figures);
        if (r < 0)
                return r;
        if (figures.total == 0)
                return -ENODEV;
        zoneinfo = fopen("/proc/zoneinfo", "re");
        if (!zoneinfo)
                return -errno;
        r = node_parse_zoneinfo(zoneinfo, node, &figures);
        if (r < 0)
                return r;
        *ret = figures;
        return 0;
}

/* As the kernel reckons MemAvailable of the whole machine. */
uint64_t node_available(const NodeFigures *figures)
{
        uint64_t kept = figures->cache / 2 < figures->low ? figures->cache / 2 : figures->low;
        uint64_t bytes = figures->free + (figures->cache - kept);

        return bytes > figures->high ? bytes - figures->high : 0;
}

/* ------------------------------------------------------------------------------------------------ blocks */

int node_get_block_size(uint64_t *ret)
{
        _cleanup_(cleanup_file) FILE *f = fopen(SYS_BLOCK_SIZE, "re");
        char line[32];

        if (!f)
                return errno == ENOENT ? -EOPNOTSUPP : -errno;
        if (!fgets(line, sizeof(line), f))
                return -EIO;
        line[strcspn(line, "\n")] = '\0';
        if (parse_hex64(line, ret) < 0 || *ret == 0)
                return -EBADMSG;
        return 0;
}

uint64_t node_usable(uint64_t start, uint64_t size, uint64_t block_size)
{
        uint64_t first = start / block_size + (start % block_size > 0), end = (start + size) / block_size;

        return end > first ? (end - first) * block_size : 0;
}

/* A node's directory has a link for each of its blocks: memory32. */
int node_get_memory(int node, uint64_t start, uint64_t size, uint64_t *ret_inside, uint64_t *ret_outside)
{
        _cleanup_(cleanup_dir) DIR *dir = NULL;
        uint64_t block_size = 0, inside = 0, outside = 0;
        char path[PATH_MAX_NODE];
        int r = node_get_block_size(&block_size);

        if (r < 0)
                return r;
        (void)snprintf(path, sizeof(path), SYS_NODE "%d", node);
        dir = opendir(path);
        /* A node without memory and processors has none. */
        if (!dir && errno != ENOENT)
                return -errno;
        while (dir) {
                uint32_t number;

                errno = 0;
                const struct dirent *entry = readdir(dir);
                if (!entry && errno > 0)
                        return -errno;
                if (!entry)
                        break;
                if (strncmp(entry->d_name, "memory", 6) != 0 || parse_u32(entry->d_name + 6, &number) < 0)
                        continue;
                uint64_t at = number * block_size;
                if (at >= start && at - start < size)
                        inside += block_size;
                else
                        outside += block_size;
        }
        *ret_inside = inside;
        *ret_outside = outside;
        return 0;
}
