/* SPDX-License-Identifier: BSD-3-Clause */
/* What administrators change at run time: stores that take nothing new, limits of tenants, the configuration itself. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ipc/chronicle.h"
#include "ipc/service.h"
#include "log.h"
#include "proto/wire.h"

#define LINES_MAX 24
#define LINE_SIZE 400 /* bytes: all lines fit into a packet */

_Static_assert(PMBROKER__V1__LIMIT_FIELD__LIMIT_BYTES == (int)OVERRIDE_BYTES, "limits");
_Static_assert(PMBROKER__V1__LIMIT_FIELD__LIMIT_POOLS == (int)OVERRIDE_POOLS, "limits");
_Static_assert(PMBROKER__V1__LIMIT_FIELD__LIMIT_POOL_BYTES == (int)OVERRIDE_POOL_BYTES, "limits");

static void reply_done(Call *call)
{
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Done done = PMBROKER__V1__DONE__INIT;

        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_DONE;
        answer.done = &done;
        call_reply(call, &answer, -EBADF);
}

/* ------------------------------------------------------------------------------------------------ drain */

void service_drain_store(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        const Pmbroker__V1__DrainStore *body = packet->drain_store;
        Refusal refusal = {0};

        if (broker_drain_store(call->server->broker, body->store, !body->undo, &refusal) != RESULT_OK) {
                call_refuse(call, &refusal);
                return;
        }
        chronicle(call->server, &(Happening){
                                        .kind = body->undo ? PMBROKER__V1__HAPPENED_KIND__STORE_UNDRAIN
                                                           : PMBROKER__V1__HAPPENED_KIND__STORE_DRAIN,
                                        .store = body->store,
                                        .by = call->session,
                                });
        reply_done(call);
}

/* ----------------------------------------------------------------------------------------------- limits */

static void describe_bytes(FILE *f, const char *key, uint64_t bytes)
{
        char size[FORMAT_SIZE_MAX];

        (void)fprintf(f, " %s=%s", key, bytes == UINT64_MAX ? "infinity" : format_size(size, bytes));
}

/* " Bytes=8G 25% Pools=10", as in the configuration; what was cleared has nothing behind the "=". */
static void describe_limits(const Pmbroker__V1__SetLimit *m, char *text, size_t size)
{
        FILE *f = fmemopen(text, size, "w");

        text[0] = '\0';
        if (!f)
                return;
        if (m->set & OVERRIDE_BYTES) {
                if (m->percent == 0 || m->bytes_max != UINT64_MAX)
                        describe_bytes(f, "Bytes", m->bytes_max);
                if (m->percent > 0)
                        (void)fprintf(f, " %s%" PRIu32 "%%",
                                m->bytes_max != UINT64_MAX ? "" : "Bytes=", m->percent);
        }
        if (m->set & OVERRIDE_POOLS && m->pools_max == UINT32_MAX)
                (void)fputs(" Pools=infinity", f);
        else if (m->set & OVERRIDE_POOLS)
                (void)fprintf(f, " Pools=%" PRIu32, m->pools_max);
        if (m->set & OVERRIDE_POOL_BYTES)
                describe_bytes(f, "PoolBytes", m->pool_bytes_max);
        (void)fprintf(f, "%s%s%s", m->clear & OVERRIDE_BYTES ? " Bytes=" : "",
                m->clear & OVERRIDE_POOLS ? " Pools=" : "",
                m->clear & OVERRIDE_POOL_BYTES ? " PoolBytes=" : "");
        (void)fclose(f);
        text[size - 1] = '\0';
}

void service_set_limit(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        const Pmbroker__V1__SetLimit *m = packet->set_limit;
        const TenantLimits limits = {
                .bytes_max = m->bytes_max,
                .percent = m->percent,
                .pools_max = m->pools_max,
                .pool_bytes_max = m->pool_bytes_max,
        };
        Refusal refusal = {0};
        char text[160];

        if (broker_override_limits(call->server->broker, m->tenant, m->set, m->clear, &limits, &refusal) !=
                RESULT_OK) {
                call_refuse(call, &refusal);
                return;
        }
        if (m->set == 0 && m->clear == 0) { /* asked only whether it could */
                reply_done(call);
                return;
        }
        describe_limits(m, text, sizeof(text));
        chronicle(call->server, &(Happening){
                                        .kind = PMBROKER__V1__HAPPENED_KIND__LIMIT_SET,
                                        .tenant = m->tenant,
                                        .by = call->session,
                                        .text = text[0] == ' ' ? text + 1 : text,
                                });
        reply_done(call);
}

/* ----------------------------------------------------------------------------------------------- reload */

static void reply_reload(Call *call, bool applied, const char *text)
{
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__ReloadReport report = PMBROKER__V1__RELOAD_REPORT__INIT;
        char lines[LINES_MAX][LINE_SIZE];
        char *pointers[LINES_MAX];

        while (text && *text && report.n_lines < LINES_MAX) {
                size_t n = strcspn(text, "\n");
                char *line = pointers[report.n_lines] = lines[report.n_lines];

                (void)snprintf(line, LINE_SIZE, "%.*s", (int)n, text);
                make_printable(line); /* it quotes files */
                report.n_lines++;
                text += n + (text[n] == '\n');
        }
        report.applied = applied;
        report.lines = pointers;
        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_RELOADED;
        answer.reloaded = &report;
        call_reply(call, &answer, -EBADF);
}

/* The provisioner has taken it, or is not there: then it reads the files when it starts. */
static void apply(Call *call, const char *note)
{
        const ServerHooks *hooks = &call->server->hooks;
        _cleanup_free_ char *message = NULL;
        int r = hooks->reload(/* apply= */ true, &message, hooks->userdata);

        if (r < 0) {
                reply_reload(call, /* applied= */ false, message ? message : "the broker ran out of memory");
                return;
        }
        chronicle(call->server, &(Happening){
                                        .kind = PMBROKER__V1__HAPPENED_KIND__CONFIG_RELOADED,
                                        .by = call->session,
                                });
        reply_reload(call, /* applied= */ true, note);
}

static void on_reloaded(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        Call *call = userdata;

        (void)fd;
        if (reply->error == -ECONNRESET || reply->error == -ECANCELED)
                call_refuse(call, &(Refusal){.code = RESULT_RETRY});
        else if (reply->error < 0)
                call_fail(call, reply->error);
        else if (reply->n > 0) {
                JobStep step;

                memcpy(&step, tail, sizeof(step));
                step.text[sizeof(step.text) - 1] = '\0';
                reply_reload(call, /* applied= */ false, step.text);
        } else
                apply(call, NULL);
}

void service_reload(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        const ServerHooks *hooks = &call->server->hooks;
        JobRequest request = {.kind = JOB_RELOAD};
        _cleanup_free_ char *message = NULL;
        int r;

        (void)packet;
        r = hooks->reload(/* apply= */ false, &message, hooks->userdata);
        if (r < 0) {
                reply_reload(call, /* applied= */ false, message ? message : "the broker ran out of memory");
                return;
        }
        r = jobs_send(call->server->jobs, NULL, &request, NULL, 0, on_reloaded, call);
        if (r == -ENOTCONN)
                apply(call, "the provisioner is away: it reads the configuration when it starts");
        else if (r < 0)
                call_fail(call, r);
}
