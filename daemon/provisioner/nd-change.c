/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Making and unmaking namespaces. The kernel keeps one unused namespace of each region, the seed, that is configured
 * step by step and becomes real when its size is set: then the label is written, with the mark in it. A step that
 * failed, or a process that was killed, leaves the seed half configured, so it is reset before it is used.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/ndctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "log.h"
#include "provisioner/blk.h"
#include "provisioner/nd-internal.h"
#include "provisioner/nd.h"

#define INFO_BLOCK_END 8192                /* the information block of fsdax lies at 4096 */
#define ENDS           (UINT64_C(8) << 20) /* where signatures can be, at either end */

/* -------------------------------------------------------------------------------------------------- seeds */

static struct ndctl_namespace *idle_namespace(struct ndctl_region *region)
{
        struct ndctl_namespace *ns = ndctl_region_get_namespace_seed(region);
        uuid_t uuid;

        if (!ns)
                return NULL;
        ndctl_namespace_get_uuid(ns, uuid);
        if (uuid_is_null(uuid))
                return ns;
        if (ndctl_namespace_get_size(ns) > 0 || ndctl_namespace_delete(ns) < 0)
                return NULL;
        return ndctl_region_get_namespace_seed(region);
}

static struct ndctl_pfn *idle_pfn(struct ndctl_region *region)
{
        struct ndctl_pfn *pfn = ndctl_region_get_pfn_seed(region);
        uuid_t uuid;

        if (!pfn)
                return NULL;
        ndctl_pfn_get_uuid(pfn, uuid);
        if (uuid_is_null(uuid))
                return pfn;
        if (ndctl_pfn_is_enabled(pfn) || ndctl_pfn_delete(pfn) < 0)
                return NULL;
        return ndctl_region_get_pfn_seed(region);
}

static struct ndctl_dax *idle_dax(struct ndctl_region *region)
{
        struct ndctl_dax *dax = ndctl_region_get_dax_seed(region);
        uuid_t uuid;

        if (!dax)
                return NULL;
        ndctl_dax_get_uuid(dax, uuid);
        if (uuid_is_null(uuid))
                return dax;
        if (ndctl_dax_is_enabled(dax) || ndctl_dax_delete(dax) < 0)
                return NULL;
        return ndctl_region_get_dax_seed(region);
}

/* -------------------------------------------------------------------------------------- fsdax and devdax */

/* Some kernels find information blocks of what was there before. */
static int zero_info_block(struct ndctl_namespace *ns)
{
        int r;

        ndctl_namespace_set_raw_mode(ns, 1);
        r = ndctl_namespace_enable(ns);
        if (r >= 0) {
                _cleanup_close_ int fd = -EBADF;
                fd = blk_open(ndctl_namespace_get_block_device(ns), /* for_writing= */ true);
                r = fd < 0 ? fd : blk_zero(fd, 0, INFO_BLOCK_END, NULL, NULL);
        }
        ndctl_namespace_set_raw_mode(ns, 0);
        int q = ndctl_namespace_disable_invalidate(ns);
        return r < 0 ? r : q;
}

static int make_fsdax(struct ndctl_region *region, struct ndctl_namespace *ns)
{
        struct ndctl_pfn *pfn = idle_pfn(region);
        uuid_t uuid;
        int r;

        if (!pfn)
                return -ENODEV;
        uuid_generate(uuid);
        r = ndctl_pfn_set_uuid(pfn, uuid);
        if (r >= 0)
                r = ndctl_pfn_set_location(pfn, NDCTL_PFN_LOC_PMEM);
        if (r >= 0 && ndctl_pfn_has_align(pfn))
                r = ndctl_pfn_set_align(pfn, ND_ALIGN);
        if (r >= 0)
                r = ndctl_pfn_set_namespace(pfn, ns);
        if (r >= 0)
                r = ndctl_pfn_enable(pfn);
        if (r < 0) {
                (void)ndctl_pfn_set_namespace(pfn, NULL);
                (void)ndctl_pfn_delete(pfn);
        }
        return r < 0 ? log_errno(LOG_DEBUG, r, "pfn") : 0;
}

/* The kernel's books on its pages lie in RAM: as memory of the system they do in any case, and elsewhere. */
static int make_devdax(struct ndctl_region *region, struct ndctl_namespace *ns)
{
        struct ndctl_dax *dax = idle_dax(region);
        uuid_t uuid;
        int r;

        if (!dax)
                return -ENODEV;
        uuid_generate(uuid);
        r = ndctl_dax_set_uuid(dax, uuid);
        if (r >= 0)
                r = ndctl_dax_set_location(dax, NDCTL_PFN_LOC_RAM);
        if (r >= 0 && ndctl_dax_has_align(dax))
                r = ndctl_dax_set_align(dax, ND_ALIGN);
        if (r >= 0)
                r = ndctl_dax_set_namespace(dax, ns);
        if (r >= 0)
                r = ndctl_dax_enable(dax);
        if (r < 0) {
                (void)ndctl_dax_set_namespace(dax, NULL);
                (void)ndctl_dax_delete(dax);
        }
        return r < 0 ? log_errno(LOG_DEBUG, r, "dax") : 0;
}

/* Of a namespace that is not enabled. */
static int set_mode(struct ndctl_region *region, struct ndctl_namespace *ns, NdMode mode)
{
        int r = zero_info_block(ns);

        if (r < 0)
                return log_errno(LOG_DEBUG, r, "zero info block");
        r = ndctl_namespace_set_enforce_mode(
                ns, mode == ND_DEVDAX ? NDCTL_NS_MODE_DEVDAX : NDCTL_NS_MODE_FSDAX);
        if (r < 0 && ndctl_region_get_nstype(region) == ND_DEVICE_NAMESPACE_PMEM)
                return log_errno(LOG_DEBUG, r, "enforce mode");
        return mode == ND_DEVDAX ? make_devdax(region, ns) : make_fsdax(region, ns);
}

/* What a namespace that was there before has left is nobody's. */
static int wipe_ends(struct ndctl_namespace *ns)
{
        struct ndctl_pfn *pfn = ndctl_namespace_get_pfn(ns);
        _cleanup_close_ int fd = -EBADF;
        uint64_t size = 0;
        int r;

        if (!pfn)
                return -ENODEV;
        fd = blk_open(ndctl_pfn_get_block_device(pfn), /* for_writing= */ true);
        if (fd < 0)
                return fd;
        r = blk_size(fd, &size);
        if (r < 0)
                return r;
        if (size <= 2 * ENDS)
                return blk_zero(fd, 0, size, NULL, NULL);
        r = blk_zero(fd, 0, ENDS, NULL, NULL);
        return r < 0 ? r : blk_zero(fd, size - ENDS, ENDS, NULL, NULL);
}

/* ------------------------------------------------------------------------------------------------- create */

static int set_up(struct ndctl_region *region, struct ndctl_namespace *ns, uint64_t size, NdMode mode,
        const char *store)
{
        char mark[ND_MARK_MAX];
        uuid_t uuid;
        int r;

        nd_mark(mark, store, /* is_new= */ true);
        uuid_generate(uuid);
        r = ndctl_namespace_set_uuid(ns, uuid);
        if (r >= 0)
                r = ndctl_namespace_set_alt_name(ns, mark);
        if (r >= 0)
                r = ndctl_namespace_set_size(ns, size); /* from now on it exists */
        if (r >= 0 && ndctl_namespace_get_num_sector_sizes(ns) > 0)
                r = ndctl_namespace_set_sector_size(ns, 512);
        if (r < 0)
                return log_errno(LOG_DEBUG, r, "uuid, name, size, sector size");
        r = set_mode(region, ns, mode);
        if (r >= 0 && mode == ND_FSDAX)
                r = wipe_ends(ns);
        if (r < 0)
                return r;

        /* Whole: it gets its name, and is found under it by the driver as at any boot. */
        r = ndctl_namespace_disable_safe(ns);
        if (r >= 0)
                r = ndctl_namespace_disable_invalidate(ns);
        if (r < 0)
                return log_errno(LOG_DEBUG, r, "disable");
        nd_mark(mark, store, /* is_new= */ false);
        r = ndctl_namespace_set_alt_name(ns, mark);
        if (r < 0)
                return log_errno(LOG_DEBUG, r, "name");
        r = ndctl_namespace_enable(ns);
        return r < 0 ? log_errno(LOG_DEBUG, r, "enable") : 0;
}

int nd_create(int lock_dir, const char *region_name, uint64_t size, NdMode mode, const char *store)
{
        _cleanup_(nd_end) Nd nd = {.lock_fd = -EBADF};
        struct ndctl_region *region;
        struct ndctl_namespace *ns;
        int r;

        r = nd_begin(lock_dir, &nd);
        if (r < 0)
                return r;
        region = nd_region_by_name(&nd, region_name);
        ns = region ? idle_namespace(region) : NULL;
        if (!ns)
                return -ENODEV;
        r = set_up(region, ns, size, mode, store);
        if (r < 0) {
                (void)ndctl_namespace_disable_invalidate(ns);
                (void)ndctl_namespace_set_enforce_mode(ns, NDCTL_NS_MODE_RAW);
                (void)ndctl_namespace_delete(ns);
        }
        return r < 0 ? r : 0;
}

int nd_convert(int lock_dir, const NdNamespace *namespace, NdMode mode)
{
        _cleanup_(nd_end) Nd nd = {.lock_fd = -EBADF};
        struct ndctl_region *region;
        struct ndctl_namespace *ns;
        int r;

        r = nd_begin(lock_dir, &nd);
        if (r < 0)
                return r;
        ns = nd_namespace_by_name(&nd, namespace->name);
        if (!ns)
                return -ENODEV;
        region = ndctl_namespace_get_region(ns);
        if (ndctl_namespace_is_active(ns)) {
                r = ndctl_namespace_disable_safe(ns);
                if (r < 0)
                        return r;
        }
        r = ndctl_namespace_disable_invalidate(ns);
        if (r >= 0)
                r = set_mode(region, ns, mode);
        if (r < 0) {
                (void)ndctl_namespace_set_enforce_mode(ns, NDCTL_NS_MODE_RAW);
                (void)ndctl_namespace_enable(ns);
        }
        return r < 0 ? r : 0;
}

int nd_enable(int lock_dir, const NdNamespace *namespace)
{
        _cleanup_(nd_end) Nd nd = {.lock_fd = -EBADF};
        struct ndctl_namespace *ns;
        int r;

        r = nd_begin(lock_dir, &nd);
        if (r < 0)
                return r;
        ns = nd_namespace_by_name(&nd, namespace->name);
        if (!ns)
                return -ENODEV;
        r = ndctl_namespace_enable(ns);
        return r < 0 ? r : 0;
}

/* ------------------------------------------------------------------------------------------------ destroy */

int nd_destroy(int lock_dir, const NdNamespace *namespace)
{
        _cleanup_(nd_end) Nd nd = {.lock_fd = -EBADF};
        struct ndctl_namespace *ns;
        int r;

        r = nd_begin(lock_dir, &nd);
        if (r < 0)
                return r;
        ns = nd_namespace_by_name(&nd, namespace->name);
        if (!ns)
                return -ENODEV;
        /* Names are given anew at each boot and after each change: the mark is what counts. */
        if (!namespace->has_labels || strcmp(ndctl_namespace_get_alt_name(ns), namespace->mark) != 0 ||
                !nd_mark_store(namespace->mark, NULL))
                return -ESTALE;
        if (ndctl_namespace_is_active(ns)) {
                r = ndctl_namespace_disable_safe(ns);
                if (r < 0)
                        return r;
        }
        r = ndctl_namespace_disable_invalidate(ns);
        if (r >= 0)
                r = zero_info_block(ns);
        if (r >= 0)
                r = ndctl_namespace_set_enforce_mode(ns, NDCTL_NS_MODE_RAW);
        if (r >= 0)
                r = ndctl_namespace_delete(ns);
        return r < 0 ? r : 0;
}

/* ------------------------------------------------------------------------------------------------- labels */

static int init_dimm(struct ndctl_dimm *dimm)
{
        struct ndctl_cmd *index = ndctl_dimm_read_label_index(dimm);
        int r;

        if (!index)
                return -EIO;
        r = ndctl_dimm_validate_labels(dimm);
        ndctl_cmd_unref(index);
        if (r < 0) {
                r = ndctl_dimm_disable(dimm);
                if (r < 0)
                        return r;
                r = ndctl_dimm_init_labels(dimm, NDCTL_NS_VERSION_1_2);
                if (r < 0)
                        (void)log_errno(LOG_DEBUG, r, "init labels");
        }
        /* Enabled anew, the driver reads what is there now. */
        if (ndctl_dimm_is_enabled(dimm))
                (void)ndctl_dimm_disable(dimm);
        int q = ndctl_dimm_enable(dimm);
        return r < 0 ? r : q;
}

int nd_init_labels(int lock_dir, const char *region_name)
{
        _cleanup_(nd_end) Nd nd = {.lock_fd = -EBADF};
        struct ndctl_region *region;
        struct ndctl_dimm *dimm;
        struct ndctl_namespace *ns;
        int r;

        r = nd_begin(lock_dir, &nd);
        if (r < 0)
                return r;
        region = nd_region_by_name(&nd, region_name);
        if (!region)
                return -ENODEV;
        if (ndctl_region_get_nstype(region) == ND_DEVICE_NAMESPACE_PMEM) /* somebody was quicker */
                return 0;
        ndctl_namespace_foreach (region, ns) {
                /* Refuses what is mounted. */
                if (ndctl_namespace_is_active(ns)) {
                        r = ndctl_namespace_disable_safe(ns);
                        if (r < 0)
                                return r;
                }
        }
        r = ndctl_region_disable_invalidate(region);
        if (r < 0)
                return r;
        ndctl_dimm_foreach_in_region (region, dimm) {
                r = init_dimm(dimm);
                if (r < 0)
                        break;
        }
        int q = ndctl_region_enable(region);
        return r < 0 ? r : q;
}
