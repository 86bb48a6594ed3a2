/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "provisioner/blk.h"
#include "provisioner/nd.h"
#include "provisioner/provision.h"

static void look(const NdNamespace *ns, char *buf, size_t size)
{
        _cleanup_close_ int fd = -EBADF;
        bool is_new = false;
        const char *store = nd_mark_store(ns->mark, &is_new);
        size_t n = 0;
        BlkProbe probe;

        buf[0] = '\0';
        if (store)
                n = (size_t)snprintf(buf, size, "%s of store %s%s",
                        is_new ? "half-made namespace" : "namespace", store, ns->block[0] ? ", " : "");
        else if (ns->mark[0])
                n = (size_t)snprintf(buf, size, "\"%s\"%s", ns->mark, ns->block[0] ? ", " : "");
        if (!ns->block[0] || n >= size)
                return;
        fd = blk_open(ns->block, /* for_writing= */ false);
        if (fd >= 0 && blk_probe(fd, &probe) >= 0)
                blk_describe(&probe, buf + n, size - n);
        else
                (void)snprintf(buf + n, size - n, "unknown");
}

int regions_list(int lock_dir, RegionFn fn, void *userdata)
{
        _cleanup_(nd_snapshot_deinit) NdSnapshot snapshot = {0};
        int r = nd_snapshot(lock_dir, &snapshot);

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
                        look(ns, sub.content, sizeof(sub.content));
                        fn(userdata, &sub);
                }
        }
        return 0;
}
