/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "provisioner/provision-internal.h"

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

bool provision_is_plan(const Provision *p)
{
        return p->how == PROVISION_PLAN;
}

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

int provision_refuse_content(Provision *p, const NdNamespace *ns, const BlkProbe *probe)
{
        char content[BLK_LABEL_MAX + 64];

        blk_describe(probe, content, sizeof(content));
        return provision_refuse(p, EEXIST,
                "there is %s on %s (/dev/%s), which pmbroker has not made and does not touch: save what is "
                "needed, then wipefs -a it, or name another region or namespace",
                content, ns->name, ns->block);
}

bool provision_is_busy(const NdNamespace *ns)
{
        _cleanup_close_ int fd = blk_open(ns->block, /* for_writing= */ true);

        return fd == -EBUSY;
}

int provision_refuse_busy(Provision *p, const NdNamespace *ns)
{
        return provision_refuse(p, EBUSY,
                "%s (/dev/%s) is in use: mounted, or held by another program (lsblk, findmnt)", ns->name,
                ns->block);
}

int provision_run(const StoreConfig *config, const ProvisionContext *context, ProvisionHow how)
{
        _cleanup_(provision_end) Provision p = {.config = config, .context = context, .how = how};

        return config->kind == JOB_STORE_KMEM ? kmem_provision(&p) : fsdax_provision(&p);
}

int deprovision_run(const StoreConfig *config, const ProvisionContext *context)
{
        _cleanup_(provision_end)
                Provision p = {.config = config, .context = context, .how = PROVISION_APPLY};

        return config->kind == JOB_STORE_KMEM ? kmem_deprovision(&p) : fsdax_deprovision(&p);
}
