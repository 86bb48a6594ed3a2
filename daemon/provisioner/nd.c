/* SPDX-License-Identifier: BSD-3-Clause */
#include <daxctl/libdaxctl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/ndctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <uuid/uuid.h>

#include "base/parse.h"
#include "log.h"
#include "provisioner/nd-internal.h"
#include "provisioner/nd.h"

#define LOCK_FILE "nd.lock"
#define MARK      "pmbroker:"
#define MARK_NEW  "pmbroker-new:"

/* --------------------------------------------------------------------------------------------- operations */

void nd_log(const char *library, const char *function, const char *format, va_list ap)
{
        char text[256];

        (void)vsnprintf(text, sizeof(text), format, ap);
        text[strcspn(text, "\n")] = '\0';
        log_debug("%s: %s: %s", library, function, text);
}

__attribute__((format(printf, 6, 0))) static void on_log(struct ndctl_ctx *ctx, int priority,
        const char *file, int line, const char *function, const char *format, va_list ap)
{
        (void)ctx;
        (void)priority;
        (void)file;
        (void)line;
        nd_log("libndctl", function, format, ap);
}

int nd_lock(int lock_dir)
{
        _cleanup_close_ int fd =
                openat(lock_dir, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                return -errno;
        while (flock(fd, LOCK_EX) < 0)
                if (errno != EINTR)
                        return -errno;
        return TAKE_FD(fd);
}

int nd_begin(int lock_dir, Nd *ret)
{
        _cleanup_close_ int fd = nd_lock(lock_dir);
        int r;

        if (fd < 0)
                return fd;
        r = ndctl_new(&ret->ctx);
        if (r < 0)
                return r;
        ndctl_set_log_fn(ret->ctx, on_log);
        ret->lock_fd = TAKE_FD(fd);
        return 0;
}

void nd_end(Nd *nd)
{
        if (nd->ctx)
                (void)ndctl_unref(nd->ctx);
        safe_close(nd->lock_fd);
        *nd = (Nd){.lock_fd = -EBADF};
}

struct ndctl_region *nd_region_by_name(Nd *nd, const char *name)
{
        struct ndctl_bus *bus;
        struct ndctl_region *region;

        ndctl_bus_foreach (nd->ctx, bus) {
                ndctl_region_foreach (bus, region) {
                        if (strcmp(ndctl_region_get_devname(region), name) == 0)
                                return region;
                }
        }
        return NULL;
}

struct ndctl_namespace *nd_namespace_by_name(Nd *nd, const char *name)
{
        struct ndctl_bus *bus;
        struct ndctl_region *region;
        struct ndctl_namespace *ns;

        ndctl_bus_foreach (nd->ctx, bus) {
                ndctl_region_foreach (bus, region) {
                        ndctl_namespace_foreach (region, ns) {
                                if (strcmp(ndctl_namespace_get_devname(ns), name) == 0)
                                        return ns;
                        }
                }
        }
        return NULL;
}

/* ----------------------------------------------------------------------------------------------- snapshot */

static void copy(char *to, size_t size, const char *from)
{
        (void)snprintf(to, size, "%s", from ? from : "");
}

static void copy_uuid(char to[static ND_UUID_MAX], uuid_t uuid)
{
        to[0] = '\0';
        if (!uuid_is_null(uuid))
                uuid_unparse_lower(uuid, to);
}

static uint64_t size_or_zero(unsigned long long size)
{
        return size == ULLONG_MAX ? 0 : size;
}

static void describe_region(struct ndctl_region *region, NdRegion *ret)
{
        struct ndctl_dimm *dimm;
        size_t n = 0;

        *ret = (NdRegion){
                .start = size_or_zero(ndctl_region_get_resource(region)),
                .size = ndctl_region_get_size(region),
                .node = ndctl_region_get_numa_node(region),
                .has_labels = ndctl_region_get_nstype(region) == ND_DEVICE_NAMESPACE_PMEM,
                .has_label_area = true,
                .read_only = ndctl_region_get_ro(region) == 1,
                .enabled = ndctl_region_is_enabled(region) == 1,
        };
        copy(ret->name, sizeof(ret->name), ndctl_region_get_devname(region));
        ndctl_dimm_foreach_in_region (region, dimm) {
                n++;
                if (!ndctl_dimm_is_cmd_supported(dimm, ND_CMD_SET_CONFIG_DATA))
                        ret->has_label_area = false;
        }
        ret->has_label_area = ret->has_label_area && n > 0;

        unsigned long align = ndctl_region_get_align(region);
        ret->align = align == ULONG_MAX || align == 0 ? ND_ALIGN : align;
        if (ret->align < ND_ALIGN)
                ret->align = ND_ALIGN;
        if (ret->has_labels) {
                ret->free = size_or_zero(ndctl_region_get_max_available_extent(region));
                ret->free -= ret->free % ret->align;
        }
}

static NdMode mode_of(struct ndctl_namespace *ns)
{
        if (ndctl_namespace_get_btt(ns))
                return ND_SECTOR;
        if (ndctl_namespace_get_pfn(ns))
                return ND_FSDAX;
        if (ndctl_namespace_get_dax(ns))
                return ND_DEVDAX;
        switch (ndctl_namespace_get_mode(ns)) {
        case NDCTL_NS_MODE_MEMORY:
                return ND_FSDAX;
        case NDCTL_NS_MODE_DEVDAX:
                return ND_DEVDAX;
        case NDCTL_NS_MODE_SECTOR:
                return ND_SECTOR;
        case NDCTL_NS_MODE_RAW:
                return ND_RAW;
        case NDCTL_NS_MODE_UNKNOWN:
                break;
        }
        return ND_UNKNOWN;
}

static void describe_namespace(const NdRegion *region, struct ndctl_namespace *ns, NdNamespace *ret)
{
        struct ndctl_pfn *pfn = ndctl_namespace_get_pfn(ns);
        struct ndctl_dax *dax = ndctl_namespace_get_dax(ns);
        struct ndctl_btt *btt = ndctl_namespace_get_btt(ns);
        uuid_t uuid;

        *ret = (NdNamespace){
                .region_start = region->start,
                .size = ndctl_namespace_get_size(ns),
                .mode = mode_of(ns),
                .enabled = ndctl_namespace_is_active(ns),
                .has_labels = region->has_labels,
        };
        copy(ret->name, sizeof(ret->name), ndctl_namespace_get_devname(ns));
        copy(ret->region, sizeof(ret->region), region->name);
        if (region->has_labels) {
                copy(ret->mark, sizeof(ret->mark), ndctl_namespace_get_alt_name(ns));
                make_printable(ret->mark); /* another system may have given it its name */
                ndctl_namespace_get_uuid(ns, uuid);
                copy_uuid(ret->uuid, uuid);
        }
        uuid_clear(uuid);
        if (pfn) {
                ndctl_pfn_get_uuid(pfn, uuid);
                ret->align = ndctl_pfn_get_align(pfn);
                if (ret->enabled) {
                        copy(ret->block, sizeof(ret->block), ndctl_pfn_get_block_device(pfn));
                        ret->size = size_or_zero(ndctl_pfn_get_size(pfn));
                }
        } else if (dax) {
                ndctl_dax_get_uuid(dax, uuid);
                ret->align = ndctl_dax_get_align(dax);
                if (ret->enabled) {
                        struct daxctl_region *devices = ndctl_dax_get_daxctl_region(dax);
                        struct daxctl_dev *device = devices ? daxctl_dev_get_first(devices) : NULL;
                        copy(ret->dax, sizeof(ret->dax), device ? daxctl_dev_get_devname(device) : NULL);
                        ret->size = size_or_zero(ndctl_dax_get_size(dax));
                }
        } else if (btt) {
                ndctl_btt_get_uuid(btt, uuid);
                if (ret->enabled)
                        copy(ret->block, sizeof(ret->block), ndctl_btt_get_block_device(btt));
        } else if (ret->enabled)
                copy(ret->block, sizeof(ret->block), ndctl_namespace_get_block_device(ns));
        copy_uuid(ret->mode_uuid, uuid);
}

static int add_namespaces(struct ndctl_region *region, const NdRegion *described, NdSnapshot *snapshot)
{
        struct ndctl_namespace *ns;

        ndctl_namespace_foreach (region, ns) {
                if (ndctl_namespace_get_size(ns) == 0) /* a seed: what the next one will be made from */
                        continue;
                NdNamespace *more =
                        reallocarray(snapshot->namespaces, snapshot->n_namespaces + 1, sizeof(NdNamespace));
                if (!more)
                        return -ENOMEM;
                snapshot->namespaces = more;
                describe_namespace(described, ns, &more[snapshot->n_namespaces++]);
        }
        return 0;
}

static int take_snapshot(Nd *nd, NdSnapshot *snapshot)
{
        struct ndctl_bus *bus;
        struct ndctl_region *region;

        ndctl_bus_foreach (nd->ctx, bus) {
                ndctl_region_foreach (bus, region) {
                        unsigned type = ndctl_region_get_type(region);
                        if (type != ND_DEVICE_REGION_PMEM)
                                continue;
                        NdRegion *more =
                                reallocarray(snapshot->regions, snapshot->n_regions + 1, sizeof(NdRegion));
                        if (!more)
                                return -ENOMEM;
                        snapshot->regions = more;
                        NdRegion described;
                        describe_region(region, &described);
                        more[snapshot->n_regions++] = described;
                        int r = add_namespaces(region, &described, snapshot);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

int nd_snapshot(int lock_dir, NdSnapshot *ret)
{
        _cleanup_(nd_end) Nd nd = {.lock_fd = -EBADF};
        NdSnapshot snapshot = {0};
        int r;

        r = nd_begin(lock_dir, &nd);
        if (r < 0)
                return r;
        r = take_snapshot(&nd, &snapshot);
        if (r < 0) {
                nd_snapshot_deinit(&snapshot);
                return r;
        }
        *ret = snapshot;
        return 0;
}

void nd_snapshot_deinit(NdSnapshot *snapshot)
{
        free(snapshot->regions);
        free(snapshot->namespaces);
        *snapshot = (NdSnapshot){0};
}

/* --------------------------------------------------------------------------------------------------- find */

const char *nd_mode_to_string(NdMode mode)
{
        static const char *const names[] = {
                [ND_RAW] = "raw",
                [ND_FSDAX] = "fsdax",
                [ND_DEVDAX] = "devdax",
                [ND_SECTOR] = "sector",
                [ND_UNKNOWN] = "unknown",
        };

        return names[mode];
}

void nd_mark(char buf[static ND_MARK_MAX], const char *store, bool is_new)
{
        (void)snprintf(buf, ND_MARK_MAX, "%s%s", is_new ? MARK_NEW : MARK, store);
}

const char *nd_mark_store(const char *mark, bool *ret_is_new)
{
        static const char *const prefixes[] = {MARK, MARK_NEW};

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
                if (strncmp(mark, prefixes[i], strlen(prefixes[i])) == 0) {
                        if (ret_is_new)
                                *ret_is_new = i == 1;
                        return mark + strlen(prefixes[i]);
                }
        return NULL;
}

static bool is_start(const char *text, uint64_t *ret)
{
        return text[0] == '0' && text[1] == 'x' && parse_hex64(text + 2, ret) >= 0;
}

const NdRegion *nd_find_region(const NdSnapshot *snapshot, const char *name_or_start)
{
        uint64_t start = 0;
        bool by_start = is_start(name_or_start, &start);

        for (size_t i = 0; i < snapshot->n_regions; i++)
                if (by_start ? snapshot->regions[i].start == start
                             : strcmp(snapshot->regions[i].name, name_or_start) == 0)
                        return &snapshot->regions[i];
        return NULL;
}

const NdNamespace *nd_find_namespace(const NdSnapshot *snapshot, const char *uuid_or_start)
{
        uint64_t start = 0;
        bool by_start = is_start(uuid_or_start, &start);

        if (!uuid_or_start[0]) /* what has no uuid is not what was meant */
                return NULL;
        for (size_t i = 0; i < snapshot->n_namespaces; i++) {
                const NdNamespace *ns = &snapshot->namespaces[i];
                if (by_start ? !ns->has_labels && ns->region_start == start
                             : strcasecmp(ns->uuid, uuid_or_start) == 0 ||
                                        strcasecmp(ns->mode_uuid, uuid_or_start) == 0)
                        return ns;
        }
        return NULL;
}

const NdNamespace *nd_find_mark(const NdSnapshot *snapshot, const char *mark, const NdNamespace *after)
{
        for (size_t i = after ? (size_t)(after - snapshot->namespaces) + 1 : 0; i < snapshot->n_namespaces;
                i++)
                if (strcmp(snapshot->namespaces[i].mark, mark) == 0)
                        return &snapshot->namespaces[i];
        return NULL;
}
