/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "provisioner/blk.h"
#include "provisioner/dax.h"
#include "provisioner/nd.h"
#include "provisioner/provision.h"

static void describe_dax(const DaxDevice *device, char *buf, size_t size)
{
        if (device->mode == DAX_MEMORY)
                (void)snprintf(buf, size, "%s, memory of node %d%s", device->name, device->node,
                        device->movable ? "" : ", not movable");
        else
                (void)snprintf(buf, size, "%s", device->name);
}

static void look(const NdNamespace *ns, const DaxSnapshot *dax, char *buf, size_t size)
{
        const bool has_device = ns->block[0] || ns->dax[0];
        _cleanup_close_ int fd = -EBADF;
        bool is_new = false;
        const char *store = nd_mark_store(ns->mark, &is_new);
        size_t n = 0;
        BlkProbe probe;

        buf[0] = '\0';
        if (store)
                n = (size_t)snprintf(buf, size, "%s of store %s%s",
                        is_new ? "half-made namespace" : "namespace", store, has_device ? ", " : "");
        else if (ns->mark[0])
                n = (size_t)snprintf(buf, size, "\"%s\"%s", ns->mark, has_device ? ", " : "");
        if (!has_device || n >= size)
                return;
        if (ns->dax[0]) {
                const DaxDevice *device = dax_find(dax, ns->dax);
                if (device)
                        describe_dax(device, buf + n, size - n);
                return;
        }
        fd = blk_open(ns->block, /* for_writing= */ false);
        if (fd >= 0 && blk_probe(fd, &probe) >= 0)
                blk_describe(&probe, buf + n, size - n);
        else
                (void)snprintf(buf + n, size - n, "unknown");
}

static bool is_in_namespace(const NdSnapshot *snapshot, const DaxDevice *device)
{
        for (size_t i = 0; i < snapshot->n_namespaces; i++)
                if (strcmp(snapshot->namespaces[i].dax, device->name) == 0)
                        return true;
        return false;
}

/* Those that firmware or a driver has made as they are, of CXL memory for example: each like a region. */
static void list_bare_devices(
        const NdSnapshot *snapshot, const DaxSnapshot *dax, RegionFn fn, void *userdata)
{
        for (size_t i = 0; i < dax->n; i++) {
                const DaxDevice *device = &dax->devices[i];
                JobRegion row = {
                        .start = device->start,
                        .size = device->size,
                        .flags = device->mode == DAX_DISABLED ? 0U : JOB_REGION_ENABLED,
                        .node = device->node,
                };
                if (is_in_namespace(snapshot, device))
                        continue;
                (void)snprintf(row.region, sizeof(row.region), "%s", device->name);
                (void)snprintf(row.mode, sizeof(row.mode), "%s", dax_mode_to_string(device->mode));
                describe_dax(device, row.content, sizeof(row.content));
                fn(userdata, &row);
        }
}

int regions_list(int lock_dir, RegionFn fn, void *userdata)
{
        _cleanup_(nd_snapshot_deinit) NdSnapshot snapshot = {0};
        _cleanup_(dax_snapshot_deinit) DaxSnapshot dax = {0};
        int r = nd_snapshot(lock_dir, &snapshot);

        if (r >= 0)
                r = dax_snapshot(lock_dir, &dax);
        if (r < 0)
                return r;
        for (size_t i = 0; i < snapshot.n_regions; i++) {
                const NdRegion *region = &snapshot.regions[i];
                JobRegion row = {
                        .start = region->start,
                        .size = region->size,
                        .free = region->free,
                        .flags = (region->has_labels ? JOB_REGION_LABELS : 0U) |
                                 (region->has_label_area ? JOB_REGION_LABEL_AREA : 0U) |
                                 (region->enabled ? JOB_REGION_ENABLED : 0U),
                        .node = region->node,
                };
                (void)snprintf(row.region, sizeof(row.region), "%s", region->name);
                fn(userdata, &row);
                for (size_t k = 0; k < snapshot.n_namespaces; k++) {
                        const NdNamespace *ns = &snapshot.namespaces[k];
                        if (strcmp(ns->region, region->name) != 0)
                                continue;
                        JobRegion sub = {
                                .start = region->start,
                                .size = ns->size,
                                .flags = ns->enabled ? JOB_REGION_ENABLED : 0U,
                                .node = region->node,
                        };
                        memcpy(sub.region, row.region, sizeof(sub.region));
                        (void)snprintf(sub.namespace, sizeof(sub.namespace), "%s", ns->name);
                        (void)snprintf(sub.mode, sizeof(sub.mode), "%s", nd_mode_to_string(ns->mode));
                        (void)snprintf(sub.uuid, sizeof(sub.uuid), "%s", ns->uuid);
                        look(ns, &dax, sub.content, sizeof(sub.content));
                        fn(userdata, &sub);
                }
        }
        list_bare_devices(&snapshot, &dax, fn, userdata);
        return 0;
}
