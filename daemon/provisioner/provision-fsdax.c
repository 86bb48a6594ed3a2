/* SPDX-License-Identifier: BSD-3-Clause */

/* From a namespace to a mounted file system that was tried out. */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "provisioner/fsdax-mount.h"
#include "provisioner/fsdax-probe.h"
#include "provisioner/mkfs.h"
#include "provisioner/provision-internal.h"

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
                if (provision_is_plan(p))
                        provision_say(p, JOB_STEP_PLANNED, "erase %s", ns ? ns->name : "it");
                else {
                        r = provision_erase(p, ns);
                        if (r < 0)
                                return r;
                }
        }
        provision_at(p, JOB_STEP_FILE_SYSTEM, "making the file system");
        if (provision_is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "make an %s file system", name);
                return 0;
        }
        assert(ns); /* only a plan has none */
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

/* Nobody had it mounted any more: who had pinned pages of the pools in it, the kernel does not know now. */
static int note_forgotten(int dir_fd)
{
        FsdaxFacts facts = {0};
        int r = fsdax_is_empty(dir_fd);

        if (r != 0)
                return r < 0 ? r : 0;
        r = fsdax_get_facts(dir_fd, &facts);
        if (r < 0)
                return r == -ENODATA ? 0 : r; /* never tried out, so that nobody was given anything of it */
        facts.flags |= FSDAX_FORGOTTEN;
        return fsdax_set_facts(dir_fd, &facts);
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
        if (provision_is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "mount it again, as it is");
                return 0;
        }
        busy = provision_is_busy(ns);
        r = do_mount(p, ns, filesystem, /* can_remake= */ !busy);
        if (r < 0)
                return r;
        dir_fd = fsdax_open(p->context->mnt_fd, p->config->name);
        if (dir_fd < 0)
                return provision_fail(p, dir_fd, "the mount has gone");
        r = busy ? 0 : note_forgotten(dir_fd);
        if (r < 0)
                return provision_fail(p, r, "cannot note down what is known of it");
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
        if (provision_is_plan(p)) {
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
                return provision_refuse_content(p, ns, &probe);
        if (probe.content != BLK_NOTHING && this_boot) {
                r = mount_again(p, ns, &probe);
                if (r != -EAGAIN)
                        return r;
                /* It cannot be mounted: making it was cut off, and nobody has ever had a file in it. */
        }
        provision_at(p, JOB_STEP_CONTENT, "looking at what is there");
        if (provision_is_busy(ns))
                return provision_refuse_busy(p, ns);
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
                        "list -v)? RequireDax=no serves it as it is");
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
        if (dir_fd < 0 && provision_is_plan(p)) {
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
        if (provision_is_plan(p)) {
                provision_say(p, JOB_STEP_PLANNED, "try out that limits, seals and pages of 2M work");
                return 0;
        }
        if (fstatfs(dir_fd, &fs) < 0)
                return provision_fail(p, -errno, "cannot ask the file system for its size");
        facts.capacity = (uint64_t)fs.f_bfree * (uint64_t)fs.f_bsize;
        facts.capacity -= facts.capacity % JOB_UNIT;
        r = fsdax_probe(dir_fd, &facts);
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

int fsdax_provision(Provision *p)
{
        const NdNamespace *ns = NULL;
        int r;

        r = provision_get_namespace(p, &ns);
        if (r >= 0)
                r = get_file_system(p, ns);
        if (r < 0)
                return r;
        r = test(p);
        /* Nobody is to find it mounted and take it for good. */
        if (r < 0 && !provision_is_plan(p))
                (void)fsdax_unmount(p->context->mnt_fd, p->config->name);
        return r;
}
