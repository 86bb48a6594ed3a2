/* SPDX-License-Identifier: BSD-3-Clause */

/* The way back from a file system, in the opposite order. What was adopted is given back as it was found, empty. */

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "provisioner/fsdax-mount.h"
#include "provisioner/mkfs.h"
#include "provisioner/provision-internal.h"

#define SIGNATURE_END (UINT64_C(1) << 20) /* those of ext4 and xfs lie before */

static int take_down(Provision *p)
{
        int fd = fsdax_open(p->context->mnt_fd, p->config->name), r;

        safe_close(fd);
        provision_at(p, JOB_STEP_MOUNT, "unmounting");
        r = fsdax_unmount(p->context->mnt_fd, p->config->name);
        if (r == -EBUSY)
                return provision_refuse(p, EBUSY,
                        "the file system cannot be unmounted: a process whose pool was taken away still has "
                        "its file; once it has ended, try again");
        if (r < 0)
                return provision_fail(p, r, "cannot unmount the file system");
        provision_say(
                p, fd >= 0 ? JOB_STEP_DONE : JOB_STEP_EXISTS, "%s", fd >= 0 ? "unmounted" : "not mounted");
        return 0;
}

static int wipe(Provision *p, const NdNamespace *ns)
{
        _cleanup_close_ int fd = blk_open(ns->block, /* for_writing= */ true);
        int r = fd < 0 ? fd : blk_zero(fd, 0, SIGNATURE_END, NULL, NULL);

        if (r < 0)
                return provision_fail(p, r, "cannot remove the file system from %s", ns->name);
        provision_say(p, JOB_STEP_DONE, "removed the file system");
        return 0;
}

static int clear(Provision *p, const NdNamespace *ns)
{
        bool this_boot;
        BlkProbe probe;
        int r;

        provision_at(p, JOB_STEP_CONTENT, "looking at what is there");
        if (!ns->block[0])
                return 0;
        r = provision_look(p, ns, &probe);
        if (r < 0)
                return r;
        if (probe.content != BLK_NOTHING && !mkfs_is_ours(&probe, p->config->name, &this_boot)) {
                char content[BLK_LABEL_MAX + 64];
                blk_describe(&probe, content, sizeof(content));
                return provision_refuse(p, EEXIST,
                        "there is %s on %s (/dev/%s), which pmbroker has not made: it stays; save what is "
                        "needed, then wipefs -a it, and try again",
                        content, ns->name, ns->block);
        }
        if (p->config->scrub == SCRUB_RELEASE) {
                provision_at(p, JOB_STEP_CONTENT, "erasing");
                return provision_erase(p, ns);
        }
        return probe.content == BLK_NOTHING ? 0 : wipe(p, ns);
}

int fsdax_deprovision(Provision *p)
{
        const NdNamespace *ns = NULL;
        int r;

        r = take_down(p);
        if (r < 0)
                return r;
        provision_at(p, JOB_STEP_NAMESPACE, "namespace");
        r = provision_begin(p);
        if (r >= 0)
                r = provision_find(p, &ns);
        if (r < 0)
                return provision_fail(p, r, "cannot find the namespace");
        if (!ns) {
                provision_say(p, JOB_STEP_EXISTS, "there is no namespace");
                return 0;
        }
        r = clear(p, ns);
        return r < 0 ? r : provision_give_back(p, ns, "empty");
}
