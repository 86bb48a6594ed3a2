/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "log.h"
#include "provisioner/fsdax-mount.h"
#include "provisioner/fsdax-probe.h"
#include "provisioner/mkfs.h"
#include "provisioner/provision-internal.h"

/* Below, file system and self-test leave next to nothing for pools; mkfs.xfs asks for 300 MiB itself. */
#define SIZE_MIN_EXT4 (UINT64_C(32) << 20)
#define SIZE_MIN_XFS  (UINT64_C(320) << 20)

/* ------------------------------------------------------------------------------------------------ the run */

int provision_begin(Provision *p)
{
        nd_snapshot_deinit(&p->snapshot);
        return nd_snapshot(p->context->lock_dir, &p->snapshot);
}

void provision_end(Provision *p)
{
        nd_snapshot_deinit(&p->snapshot);
}

void provision_at(Provision *p, JobStepKind kind, const char *text)
{
        p->kind = kind;
        p->context->progress(p->context->userdata, text);
}

__attribute__((format(printf, 3, 0))) static void say(
        Provision *p, JobStepState state, const char *format, va_list ap)
{
        JobStep step = {.kind = p->kind, .state = state};

        (void)vsnprintf(step.text, sizeof(step.text), format, ap);
        p->context->step(p->context->userdata, &step);
}

void provision_say(Provision *p, JobStepState state, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        say(p, state, format, ap);
        va_end(ap);
}

int provision_refuse(Provision *p, int error, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        say(p, JOB_STEP_REFUSED, format, ap);
        va_end(ap);
        return -error;
}

int provision_fail(Provision *p, int error, const char *format, ...)
{
        char text[JOB_TEXT_MAX / 2];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        provision_say(p, JOB_STEP_FAILED, "%s: %s", text, strerrordesc_np(-error));
        return error;
}

static bool is_plan(const Provision *p)
{
        return p->how == PROVISION_PLAN;
}

/* ---------------------------------------------------------------------------------------------- namespace */

int provision_find(Provision *p, const NdNamespace **ret)
{
        char mark[ND_MARK_MAX];

        if (p->config->adopt[0]) {
                *ret = nd_find_namespace(&p->snapshot, p->config->adopt);
                return 0;
        }
        nd_mark(mark, p->config->name, /* is_new= */ false);
        *ret = nd_find_mark(&p->snapshot, mark, NULL);
        return *ret && nd_find_mark(&p->snapshot, mark, *ret) ? -EEXIST : 0;
}

int provision_look(Provision *p, const NdNamespace *ns, BlkProbe *ret)
{
        _cleanup_close_ int fd = blk_open(ns->block, /* for_writing= */ false);
        int r = fd < 0 ? fd : blk_probe(fd, ret);

        return r < 0 ? provision_fail(p, r, "cannot look at what is on %s", ns->name) : 0;
}

static int refuse_content(Provision *p, const NdNamespace *ns, const BlkProbe *probe)
{
        char content[BLK_LABEL_MAX + 64];

        blk_describe(probe, content, sizeof(content));
        return provision_refuse(p, EEXIST,
                "there is %s on %s (/dev/%s), which pmbroker has not made and does not touch: save what is "
                "needed, then "
                "wipefs -a it, or name another region or namespace",
                content, ns->name, ns->block);
}

/* Whoever has it open has more of a right to it. */
static bool is_busy(const NdNamespace *ns)
{
        _cleanup_close_ int fd = blk_open(ns->block, /* for_writing= */ true);

        return fd == -EBUSY;
}

static int refuse_busy(Provision *p, const NdNamespace *ns)
{
        return provision_refuse(p, EBUSY,
                "%s (/dev/%s) is in use: mounted, or held by another program (lsblk, findmnt)", ns->name,
                ns->block);
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
                        return refuse_content(p, ns, &probe);
        }
        if (is_plan(p)) {
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
                if (is_plan(p)) {
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
        uint64_t min = p->config->filesystem == FSDAX_XFS ? SIZE_MIN_XFS : SIZE_MIN_EXT4;
        char want[FORMAT_SIZE_MAX], is[FORMAT_SIZE_MAX];
        uint64_t size = p->config->percent > 0 ? region->free / 100 * p->config->percent : p->config->size;

        if (p->config->percent == 100)
                size = region->free;
        if (p->config->percent == 0) /* what was asked for, at least */
                size += region->align - 1;
        size -= size % region->align;
        if (region->free < min)
                return provision_refuse(p, ENOSPC,
                        "%s has no free capacity (%s): free some (ndctl destroy-namespace), name another "
                        "Region=, or "
                        "give the store a namespace by Adopt=; pmbrokerctl regions lists them",
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
                return provision_refuse(p, EROFS, "%s is read-only", region->name);
        provision_say(p, JOB_STEP_EXISTS, "%s at 0x%" PRIx64 ", %s, %s free", region->name, region->start,
                format_size(size_text, region->size), format_size(free_text, region->free));
        if (p->how == PROVISION_SERVE)
                return provision_refuse(p, ENOENT,
                        "there is no namespace yet, and Provision=manual: pmbrokerctl provision --apply "
                        "makes it");
        r = init_labels(p, &region);
        if (r < 0)
                return r;
        if (!region->has_labels) { /* a plan: what will be free is not known */
                provision_at(p, JOB_STEP_NAMESPACE, "namespace");
                provision_say(p, JOB_STEP_PLANNED, "make an fsdax namespace in %s", region->name);
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
        if (is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "make an fsdax namespace of %s in %s", size_text, name);
                return 0;
        }
        r = nd_create(p->context->lock_dir, name, size, p->config->name);
        if (r < 0)
                return provision_fail(p, r, "cannot make an fsdax namespace of %s in %s", size_text, name);
        r = provision_begin(p);
        if (r >= 0)
                r = provision_find(p, ret);
        if (r < 0 || !*ret)
                return provision_fail(
                        p, r < 0 ? r : -EIO, "the namespace that was made in %s has gone", name);
        provision_say(p, JOB_STEP_DONE, "made %s, fsdax, %s, in %s", (*ret)->name, size_text, name);
        return 0;
}

/* Ours, or what the administrator has given us, so that it is an fsdax block device. *ret NULL: it would be one. */
static int use_namespace(Provision *p, const NdNamespace **ret)
{
        const NdNamespace *ns = *ret;
        const char *owner = nd_mark_store(ns->mark, NULL);
        bool adopt = p->config->adopt[0] != '\0';
        char size[FORMAT_SIZE_MAX], name[ND_NAME_MAX];
        BlkProbe probe;
        int r;

        if (owner && strcmp(owner, p->config->name) != 0)
                return provision_refuse(p, EEXIST,
                        "%s was made for store %s (its name is %s): Adopt= another", ns->name, owner,
                        ns->mark);
        if (!ns->enabled) {
                if (is_plan(p)) {
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
        if (ns->mode == ND_DEVDAX || ns->mode == ND_SECTOR || ns->mode == ND_UNKNOWN || !ns->block[0])
                return provision_refuse(p, EINVAL,
                        "%s is of mode %s: if what is on it is not needed, ndctl create-namespace -f -e %s "
                        "-m fsdax",
                        ns->name, nd_mode_to_string(ns->mode), ns->name);
        if (ns->mode == ND_FSDAX) {
                provision_say(p, JOB_STEP_EXISTS, "%s%s, fsdax, %s, in %s", ns->name,
                        adopt ? ", adopted" : "", format_size(size, ns->size), ns->region);
                *ret = ns;
                return 0;
        }
        r = provision_look(p, ns, &probe);
        if (r < 0)
                return r;
        if (probe.content != BLK_NOTHING)
                return refuse_content(p, ns, &probe);
        if (is_busy(ns))
                return refuse_busy(p, ns);
        if (p->how == PROVISION_SERVE)
                return provision_refuse(p, ENOENT,
                        "%s is of mode raw, and Provision=manual: pmbrokerctl provision --apply makes it "
                        "fsdax",
                        ns->name);
        if (is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "make %s, raw and with nothing on it, fsdax", ns->name);
                *ret = NULL;
                return 0;
        }
        (void)snprintf(name, sizeof(name), "%s", ns->name);
        r = nd_convert(p->context->lock_dir, ns);
        if (r >= 0)
                r = provision_begin(p);
        if (r >= 0)
                r = provision_find(p, &ns);
        if (r < 0 || !ns || ns->mode != ND_FSDAX)
                return provision_fail(p, r < 0 ? r : -EIO, "cannot make %s fsdax", name);
        provision_say(p, JOB_STEP_DONE, "made %s fsdax, %s", ns->name, format_size(size, ns->size));
        *ret = ns;
        return 0;
}

static int get_namespace(Provision *p, const NdNamespace **ret)
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
                        "pmbrokerctl "
                        "regions lists them",
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

/* -------------------------------------------------------------------------------------------- file system */

static void on_erased(uint64_t done, uint64_t all, void *userdata)
{
        Provision *p = userdata;
        int percent = (int)((double)done * 100 / (double)all);
        char text[32];

        if (percent == p->percent)
                return;
        p->percent = percent;
        (void)snprintf(text, sizeof(text), "erasing, %d %%", percent);
        p->context->progress(p->context->userdata, text);
}

int provision_erase(Provision *p, const NdNamespace *ns)
{
        _cleanup_close_ int fd = blk_open(ns->block, /* for_writing= */ true);
        char text[FORMAT_SIZE_MAX];
        uint64_t size = 0;
        int r = fd < 0 ? fd : blk_size(fd, &size);

        p->percent = -1;
        if (r >= 0)
                r = blk_zero(fd, 0, size, on_erased, p);
        if (r < 0)
                return provision_fail(p, r, "cannot erase %s", ns->name);
        provision_say(p, JOB_STEP_DONE, "erased %s", format_size(text, size));
        return 0;
}

static int make_file_system(Provision *p, const NdNamespace *ns)
{
        const char *name = mkfs_name(p->config->filesystem);
        char error[MKFS_ERROR_MAX];
        int r;

        if (p->config->scrub == SCRUB_RELEASE) {
                provision_at(p, JOB_STEP_CONTENT, "erasing");
                if (is_plan(p))
                        provision_say(p, JOB_STEP_PLANNED, "erase %s", ns ? ns->name : "it");
                else {
                        r = provision_erase(p, ns);
                        if (r < 0)
                                return r;
                }
        }
        provision_at(p, JOB_STEP_FILE_SYSTEM, "making the file system");
        if (is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "make an %s file system", name);
                return 0;
        }
        r = mkfs_run(ns->block, ns->size, p->config->filesystem, p->config->name, error);
        if (r < 0) {
                provision_say(p, JOB_STEP_FAILED, "mkfs.%s failed on %s: %s", name, ns->name,
                        error[0] ? error : strerrordesc_np(-r));
                return r;
        }
        provision_say(p, JOB_STEP_DONE, "made an %s file system", name);
        return 0;
}

static int do_mount(Provision *p, const NdNamespace *ns, FsdaxFilesystem filesystem, bool can_remake)
{
        char error[FSDAX_ERROR_MAX];
        int r = fsdax_mount(p->context->mnt_fd, p->config->name, ns->block, filesystem, error);

        if (r >= 0) {
                provision_say(p, JOB_STEP_DONE, "mounted");
                return 0;
        }
        if (can_remake)
                return -EAGAIN;
        return provision_fail(
                p, r, "cannot mount %s%s%s%s", ns->name, error[0] ? " (" : "", error, error[0] ? ")" : "");
}

/* Of a file system of this boot, which is not made again while anything of it may be in use. */
static int mount_again(Provision *p, const NdNamespace *ns, const BlkProbe *probe)
{
        FsdaxFilesystem filesystem = strcmp(probe->type, "xfs") == 0 ? FSDAX_XFS : FSDAX_EXT4;
        _cleanup_close_ int dir_fd = fsdax_open(p->context->mnt_fd, p->config->name);
        bool busy;
        int r;

        provision_at(p, JOB_STEP_FILE_SYSTEM, "mounting");
        provision_say(p, JOB_STEP_EXISTS, "%s, made in this boot", probe->type);
        provision_at(p, JOB_STEP_MOUNT, "mounting");
        if (dir_fd >= 0) {
                provision_say(p, JOB_STEP_EXISTS, "mounted");
                return 0;
        }
        if (is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "mount it again, as it is");
                return 0;
        }
        busy = is_busy(ns);
        r = do_mount(p, ns, filesystem, /* can_remake= */ !busy);
        if (r < 0)
                return r;
        dir_fd = fsdax_open(p->context->mnt_fd, p->config->name);
        if (dir_fd < 0)
                return provision_fail(p, dir_fd, "the mount has gone");
        FsdaxFacts facts = {0};
        if (!busy && fsdax_is_empty(dir_fd) == 0 && fsdax_get_facts(dir_fd, &facts) >= 0) {
                facts.flags |= FSDAX_FORGOTTEN;
                r = fsdax_set_facts(dir_fd, &facts);
                if (r < 0)
                        return provision_fail(p, r, "cannot note down what is known of it");
        }
        r = fsdax_tune(dir_fd, ns->block, filesystem);
        return r < 0 ? provision_fail(p, r, "cannot set up the file system") : 0;
}

static int make_and_mount(Provision *p, const NdNamespace *ns)
{
        _cleanup_close_ int dir_fd = -EBADF;
        int r;

        r = make_file_system(p, ns);
        if (r < 0)
                return r;
        provision_at(p, JOB_STEP_MOUNT, "mounting");
        if (is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "mount it, where nobody else sees it");
                return 0;
        }
        r = do_mount(p, ns, p->config->filesystem, /* can_remake= */ false);
        if (r < 0)
                return r;
        dir_fd = fsdax_open(p->context->mnt_fd, p->config->name);
        r = dir_fd < 0 ? dir_fd : fsdax_tune(dir_fd, ns->block, p->config->filesystem);
        return r < 0 ? provision_fail(p, r, "cannot set up the file system") : 0;
}

static int get_file_system(Provision *p, const NdNamespace *ns)
{
        BlkProbe probe;
        bool this_boot;
        int r;

        if (!ns) /* a plan */
                return make_and_mount(p, NULL);
        provision_at(p, JOB_STEP_CONTENT, "looking at what is there");
        r = provision_look(p, ns, &probe);
        if (r < 0)
                return r;
        if (probe.content != BLK_NOTHING && !mkfs_is_ours(&probe, p->config->name, &this_boot))
                return refuse_content(p, ns, &probe);
        if (probe.content != BLK_NOTHING && this_boot) {
                r = mount_again(p, ns, &probe);
                if (r != -EAGAIN)
                        return r;
                /* It cannot be mounted: making it was cut off, and nobody has ever had a file in it. */
        }
        provision_at(p, JOB_STEP_CONTENT, "looking at what is there");
        if (is_busy(ns))
                return refuse_busy(p, ns);
        return make_and_mount(p, ns);
}

/* -------------------------------------------------------------------------------------------------- test */

static int judge(Provision *p, const FsdaxFacts *facts)
{
        if (!(facts->flags & FSDAX_DAX))
                return provision_refuse(
                        p, EOPNOTSUPP, "the file system does not map the device's memory itself (no DAX)");
        if (facts->page_size < JOB_UNIT && p->config->require_dax)
                return provision_refuse(p, EOPNOTSUPP,
                        "memory is mapped in pages of 4K, not 2M: is the namespace aligned to 2M (ndctl "
                        "list -v)? "
                        "RequireDax=no serves it as it is");
        if (!(facts->flags & FSDAX_QUOTA))
                return provision_refuse(
                        p, EOPNOTSUPP, "the kernel does not hold a pool to its limit (project quota)");
        if ((!(facts->flags & FSDAX_SEAL) || !(facts->flags & FSDAX_PINS)) && !p->config->trusted_tenants)
                return provision_refuse(p, EOPNOTSUPP,
                        "%s: a client could break out of its pool; if none would, say TrustedTenants=yes",
                        facts->flags & FSDAX_SEAL
                                ? "the kernel does not wait for memory in somebody else's hands"
                                : "an immutable file can be changed");
        return 0;
}

static void say_facts(Provision *p, JobStepState state, const FsdaxFacts *facts)
{
        char capacity[FORMAT_SIZE_MAX];

        provision_say(p, state, "%s for pools, pages of %s, limits %s, %s",
                format_size(capacity, facts->capacity), facts->page_size >= JOB_UNIT ? "2M" : "4K",
                facts->flags & FSDAX_QUOTA ? "hold" : "do not hold",
                facts->flags & FSDAX_SEAL ? "seals hold" : "no seals");
}

static int test(Provision *p)
{
        _cleanup_close_ int dir_fd = fsdax_open(p->context->mnt_fd, p->config->name);
        FsdaxFacts facts = {0};
        struct statfs fs;
        int r;

        provision_at(p, JOB_STEP_TEST, "self-test");
        if (dir_fd < 0 && is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "try out that limits, seals and pages of 2M work");
                return 0;
        }
        if (dir_fd < 0)
                return provision_fail(p, dir_fd, "the mount has gone");
        if (fsdax_get_facts(dir_fd, &facts) >= 0) {
                r = judge(p, &facts);
                if (r >= 0)
                        say_facts(p, JOB_STEP_EXISTS, &facts);
                return r;
        }
        if (is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "try out that limits, seals and pages of 2M work");
                return 0;
        }
        if (fstatfs(dir_fd, &fs) < 0)
                return provision_fail(p, -errno, "cannot ask the file system for its size");
        facts.capacity = (uint64_t)fs.f_bfree * (uint64_t)fs.f_bsize;
        facts.capacity -= facts.capacity % JOB_UNIT;
        facts.filesystem = fs.f_type == 0x58465342 ? FSDAX_XFS : FSDAX_EXT4;
        r = fsdax_probe(dir_fd, (FsdaxFilesystem)facts.filesystem, &facts);
        if (r < 0)
                return provision_fail(p, r, "the self-test failed");
        r = judge(p, &facts);
        if (r >= 0)
                r = fsdax_set_facts(dir_fd, &facts);
        if (r < 0)
                return r;
        say_facts(p, JOB_STEP_DONE, &facts);
        return 0;
}

int provision_run(const StoreConfig *config, const ProvisionContext *context, ProvisionHow how)
{
        _cleanup_(provision_end) Provision p = {.config = config, .context = context, .how = how};
        const NdNamespace *ns = NULL;
        int r;

        r = get_namespace(&p, &ns);
        if (r >= 0)
                r = get_file_system(&p, ns);
        if (r < 0)
                return r;
        r = test(&p);
        /* Nobody is to find it mounted and take it for good. */
        if (r < 0 && how != PROVISION_PLAN)
                (void)fsdax_unmount(context->mnt_fd, config->name);
        return r;
}
