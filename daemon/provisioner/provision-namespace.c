/* SPDX-License-Identifier: BSD-3-Clause */

/* From a region to the namespace of a store: an fsdax or a devdax one. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "provisioner/node.h"
#include "provisioner/provision-internal.h"

/* Below, file system and self-test leave next to nothing for pools; mkfs.xfs asks for 300 MiB itself. */
#define SIZE_MIN_EXT4 (UINT64_C(32) << 20)
#define SIZE_MIN_XFS  (UINT64_C(320) << 20)

/* A kmem store takes whole blocks of memory; two of them contain one, wherever they begin, beside what the kernel needs
 * at the start of a namespace. */
#define SIZE_MIN_BLOCKS 2
#define SIZE_INFO       (UINT64_C(32) << 20)

static NdMode wanted_mode(const Provision *p)
{
        return p->config->kind == JOB_STORE_KMEM ? ND_DEVDAX : ND_FSDAX;
}

/* "an fsdax", "a devdax" */
static const char *wanted_text(const Provision *p)
{
        return wanted_mode(p) == ND_DEVDAX ? "a devdax" : "an fsdax";
}

static int size_min(const Provision *p, uint64_t *ret)
{
        uint64_t block_size = 0;
        int r;

        if (wanted_mode(p) == ND_FSDAX) {
                *ret = p->config->filesystem == FSDAX_XFS ? SIZE_MIN_XFS : SIZE_MIN_EXT4;
                return 0;
        }
        r = node_get_block_size(&block_size);
        if (r >= 0)
                *ret = SIZE_MIN_BLOCKS * block_size + SIZE_INFO;
        return r;
}

static void list_regions(const Provision *p, char *buf, size_t size)
{
        size_t n = 0;

        buf[0] = '\0';
        for (size_t i = 0; i < p->snapshot.n_regions && n < size; i++)
                n += (size_t)snprintf(buf + n, size - n, "%s%s (0x%" PRIx64 ")", i > 0 ? ", " : "",
                        p->snapshot.regions[i].name, p->snapshot.regions[i].start);
        if (!buf[0])
                (void)snprintf(buf, size, "none");
}

static int init_labels(Provision *p, const NdRegion **region)
{
        char name[ND_NAME_MAX];
        int r;

        provision_at(p, JOB_STEP_LABELS, "labels");
        if ((*region)->has_labels) {
                provision_say(p, JOB_STEP_EXISTS, "%s has labels", (*region)->name);
                return 0;
        }
        if (!(*region)->has_label_area)
                return provision_refuse(p, EOPNOTSUPP,
                        "%s has no room for labels, so no namespace can be made in it: Adopt=0x%" PRIx64
                        " instead of Region= takes the whole of it",
                        (*region)->name, (*region)->start);
        if (!p->config->init_labels)
                return provision_refuse(p, EOPNOTSUPP,
                        "%s has no labels, so no namespace can be made in it: InitLabels=yes writes them, "
                        "or "
                        "Adopt=0x%" PRIx64 " instead of Region= takes the whole of it as it is",
                        (*region)->name, (*region)->start);
        for (size_t i = 0; i < p->snapshot.n_namespaces; i++) {
                const NdNamespace *ns = &p->snapshot.namespaces[i];
                BlkProbe probe;
                if (strcmp(ns->region, (*region)->name) != 0)
                        continue;
                if (ns->mode != ND_RAW || !ns->enabled)
                        return provision_refuse(p, EEXIST,
                                "%s has no labels but a namespace in use, %s (%s), which labels would "
                                "destroy: "
                                "Adopt=0x%" PRIx64 " instead of Region= takes it as it is",
                                (*region)->name, ns->name, nd_mode_to_string(ns->mode), (*region)->start);
                r = provision_look(p, ns, &probe);
                if (r < 0)
                        return r;
                if (probe.content != BLK_NOTHING)
                        return provision_refuse_content(p, ns, &probe);
        }
        if (provision_is_plan(p)) {
                provision_say(
                        p, JOB_STEP_PLANNED, "write empty labels to the NVDIMMs of %s", (*region)->name);
                return 0;
        }
        (void)snprintf(name, sizeof(name), "%s", (*region)->name);
        r = nd_init_labels(p->context->lock_dir, name);
        if (r >= 0)
                r = provision_begin(p);
        *region = r < 0 ? NULL : nd_find_region(&p->snapshot, name);
        if (r < 0 || !*region || !(*region)->has_labels)
                return provision_fail(p, r < 0 ? r : -EIO, "cannot write labels to the NVDIMMs of %s", name);
        provision_say(p, JOB_STEP_DONE, "wrote empty labels to the NVDIMMs of %s", name);
        return 0;
}

/* Nothing was ever stored in one that is not finished. */
static int remove_half_made(Provision *p)
{
        char mark[ND_MARK_MAX];
        const NdNamespace *ns;
        int r;

        nd_mark(mark, p->config->name, /* is_new= */ true);
        while ((ns = nd_find_mark(&p->snapshot, mark, NULL)) != NULL) {
                if (provision_is_plan(p)) {
                        provision_say(
                                p, JOB_STEP_PLANNED, "remove %s, half-made at an earlier try", ns->name);
                        return 0;
                }
                r = nd_destroy(p->context->lock_dir, ns);
                if (r < 0)
                        return provision_fail(
                                p, r, "cannot remove %s, half-made at an earlier try", ns->name);
                provision_say(p, JOB_STEP_DONE, "removed %s, half-made at an earlier try", ns->name);
                r = provision_begin(p);
                if (r < 0)
                        return provision_fail(p, r, "cannot list regions");
        }
        return 0;
}

static int size_of_new(Provision *p, const NdRegion *region, uint64_t *ret)
{
        char want[FORMAT_SIZE_MAX], is[FORMAT_SIZE_MAX];
        uint64_t min = 0,
                 size = p->config->percent > 0 ? region->free / 100 * p->config->percent : p->config->size;

        int r = size_min(p, &min);

        if (r < 0)
                return provision_fail(p, r, "cannot find out how much a store needs");
        if (p->config->percent == 100)
                size = region->free;
        if (p->config->percent == 0) /* what was asked for, at least */
                size += region->align - 1;
        size -= size % region->align;
        if (region->free < min)
                return provision_refuse(p, ENOSPC,
                        "%s has no free capacity (%s): free some (ndctl destroy-namespace), name another "
                        "Region=, or give the store a namespace by Adopt=; pmbrokerctl regions lists them",
                        region->name, format_size(is, region->free));
        if (size > region->free)
                return provision_refuse(p, ENOSPC,
                        "%s has %s free in one piece, Size= asks for %s: lower it, or free some",
                        region->name, format_size(is, region->free), format_size(want, size));
        if (size < min)
                return provision_refuse(p, EINVAL, "Size= gives the namespace %s, at least %s are needed",
                        format_size(is, size), format_size(want, min));
        *ret = size;
        return 0;
}

/* *ret NULL: it would be made. */
static int make_namespace(Provision *p, const NdNamespace **ret)
{
        char list[JOB_TEXT_MAX / 2], size_text[FORMAT_SIZE_MAX], free_text[FORMAT_SIZE_MAX],
                name[ND_NAME_MAX];
        const NdRegion *region = nd_find_region(&p->snapshot, p->config->region);
        uint64_t size = 0;
        int r;

        provision_at(p, JOB_STEP_REGION, "region");
        if (!region) {
                list_regions(p, list, sizeof(list));
                return provision_refuse(p, ENODEV, "there is no %s; there are: %s", p->config->region, list);
        }
        if (!region->enabled)
                return provision_refuse(
                        p, ENODEV, "%s is disabled: ndctl enable-region %s", region->name, region->name);
        if (region->read_only)
                return provision_refuse(
                        p, EROFS, "%s is read-only (dmesg may say why): name another Region=", region->name);
        provision_say(p, JOB_STEP_EXISTS, "%s at 0x%" PRIx64 ", %s, %s free", region->name, region->start,
                format_size(size_text, region->size), format_size(free_text, region->free));
        if (p->how == PROVISION_SERVE)
                return provision_refuse(p, ENOENT,
                        "there is no namespace yet, and Provision=manual: pmbrokerctl provision --apply "
                        "makes it");
        r = init_labels(p, &region);
        if (r < 0)
                return r;
        assert(region);
        if (!region->has_labels) { /* a plan: what will be free is not known */
                provision_at(p, JOB_STEP_NAMESPACE, "namespace");
                provision_say(p, JOB_STEP_PLANNED, "make %s namespace in %s", wanted_text(p), region->name);
                return 0;
        }
        (void)snprintf(name, sizeof(name), "%s", region->name);
        provision_at(p, JOB_STEP_NAMESPACE, "namespace");
        r = remove_half_made(p);
        if (r < 0)
                return r;
        region = nd_find_region(&p->snapshot, name);
        if (!region)
                return provision_fail(p, -ENODEV, "%s has gone", name);
        r = size_of_new(p, region, &size);
        if (r < 0)
                return r;
        (void)format_size(size_text, size);
        if (provision_is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "make %s namespace of %s in %s", wanted_text(p),
                        size_text, name);
                return 0;
        }
        r = nd_create(p->context->lock_dir, name, size, wanted_mode(p), p->config->name);
        if (r < 0)
                return provision_fail(
                        p, r, "cannot make %s namespace of %s in %s", wanted_text(p), size_text, name);
        r = provision_begin(p);
        if (r >= 0)
                r = provision_find(p, ret);
        if (r < 0 || !*ret)
                return provision_fail(
                        p, r < 0 ? r : -EIO, "the namespace that was made in %s has gone", name);
        provision_say(p, JOB_STEP_DONE, "made %s, %s, %s, in %s", (*ret)->name,
                nd_mode_to_string((*ret)->mode), size_text, name);
        return 0;
}

/* Ours, or what the administrator has given us, in the mode that the store takes. *ret NULL: it would be. */
static int use_namespace(Provision *p, const NdNamespace **ret)
{
        const NdNamespace *ns = *ret;
        const char *owner = nd_mark_store(ns->mark, NULL);
        const NdMode mode = wanted_mode(p);
        bool adopt = p->config->adopt[0] != '\0';
        char size[FORMAT_SIZE_MAX], name[ND_NAME_MAX];
        BlkProbe probe;
        int r;

        if (owner && strcmp(owner, p->config->name) != 0)
                return provision_refuse(p, EEXIST,
                        "%s was made for store %s (its name is %s): Adopt= another", ns->name, owner,
                        ns->mark);
        if (!ns->enabled) {
                if (provision_is_plan(p)) {
                        provision_say(p, JOB_STEP_PLANNED, "enable %s", ns->name);
                        *ret = NULL;
                        return 0;
                }
                (void)nd_enable(p->context->lock_dir, ns);
                r = provision_begin(p);
                if (r >= 0)
                        r = provision_find(p, &ns);
                if (r < 0 || !ns || !ns->enabled)
                        return provision_fail(p, r < 0 ? r : -ENODEV, "the namespace cannot be enabled");
        }
        if (ns->mode == mode && (mode == ND_DEVDAX ? ns->dax[0] : ns->block[0])) {
                provision_say(p, JOB_STEP_EXISTS, "%s%s, %s, %s, in %s", ns->name, adopt ? ", adopted" : "",
                        nd_mode_to_string(mode), format_size(size, ns->size), ns->region);
                *ret = ns;
                return 0;
        }
        if (ns->block[0]) {
                r = provision_look(p, ns, &probe);
                if (r < 0)
                        return r;
                if (probe.content != BLK_NOTHING)
                        return provision_refuse_content(p, ns, &probe);
        }
        if (ns->mode != ND_RAW || !ns->block[0])
                return provision_refuse(p, EINVAL,
                        "%s is of mode %s: if what is on it is not needed, ndctl create-namespace -f -e %s "
                        "-m %s",
                        ns->name, nd_mode_to_string(ns->mode), ns->name, nd_mode_to_string(mode));
        if (provision_is_busy(ns))
                return provision_refuse_busy(p, ns);
        if (p->how == PROVISION_SERVE)
                return provision_refuse(p, ENOENT,
                        "%s is of mode raw, and Provision=manual: pmbrokerctl provision --apply makes it %s",
                        ns->name, nd_mode_to_string(mode));
        if (provision_is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "make %s, raw and with nothing on it, %s", ns->name,
                        nd_mode_to_string(mode));
                *ret = NULL;
                return 0;
        }
        (void)snprintf(name, sizeof(name), "%s", ns->name);
        r = nd_convert(p->context->lock_dir, ns, mode);
        if (r >= 0)
                r = provision_begin(p);
        if (r >= 0)
                r = provision_find(p, &ns);
        if (r < 0 || !ns || ns->mode != mode)
                return provision_fail(
                        p, r < 0 ? r : -EIO, "cannot make %s %s", name, nd_mode_to_string(mode));
        provision_say(p, JOB_STEP_DONE, "made %s %s, %s", ns->name, nd_mode_to_string(mode),
                format_size(size, ns->size));
        *ret = ns;
        return 0;
}

int provision_get_namespace(Provision *p, const NdNamespace **ret)
{
        int r;

        provision_at(p, JOB_STEP_NAMESPACE, "namespace");
        r = provision_begin(p);
        if (r < 0)
                return provision_fail(p, r, "cannot list regions");
        r = provision_find(p, ret);
        if (r < 0)
                return provision_refuse(p, EEXIST,
                        "several namespaces are named pmbroker:%s: destroy those that are not needed; "
                        "pmbrokerctl regions lists them",
                        p->config->name);
        if (*ret)
                return use_namespace(p, ret);
        if (p->config->adopt[0])
                return provision_refuse(p, ENODEV,
                        "there is no namespace %s%s; pmbrokerctl regions lists what there is",
                        p->config->adopt[1] == 'x' ? "in a region without labels at " : "with the uuid ",
                        p->config->adopt);
        return make_namespace(p, ret);
}

int provision_give_back(Provision *p, const NdNamespace *ns, const char *text)
{
        const char *owner = nd_mark_store(ns->mark, NULL);
        int r;

        provision_at(p, JOB_STEP_NAMESPACE, "namespace");
        if (!owner || strcmp(owner, p->config->name) != 0) {
                provision_say(p, JOB_STEP_EXISTS, "%s was adopted: it stays, %s", ns->name, text);
                return 0;
        }
        r = nd_destroy(p->context->lock_dir, ns);
        if (r == -EBUSY)
                return provision_refuse(p, EBUSY,
                        "%s (/dev/%s) is in use: mounted, or held by another program (lsblk, fuser -v); "
                        "once it is not, try again",
                        ns->name, ns->dax[0] ? ns->dax : ns->block);
        if (r < 0)
                return provision_fail(p, r, "cannot destroy %s", ns->name);
        provision_say(p, JOB_STEP_DONE, "destroyed %s in %s", ns->name, ns->region);
        return 0;
}
