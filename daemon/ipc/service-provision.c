/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What administrators have the provisioner do to devices. It reads the configuration itself: of us it takes the number
 * of a store, and what it says is passed on.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ipc/chronicle.h"
#include "ipc/lifetime.h"
#include "ipc/service.h"
#include "log.h"

_Static_assert(PMBROKER__V1__STEP_KIND__STEP_REGION == (int)JOB_STEP_REGION, "kinds of steps");
_Static_assert(PMBROKER__V1__STEP_KIND__STEP_TEST == (int)JOB_STEP_TEST, "kinds of steps");
_Static_assert(PMBROKER__V1__STEP_KIND__STEP_MEMORY == (int)JOB_STEP_MEMORY, "kinds of steps");
_Static_assert(PMBROKER__V1__STEP_STATE__EXISTS == (int)JOB_STEP_EXISTS, "states of steps");
_Static_assert(PMBROKER__V1__STEP_STATE__BROKEN == (int)JOB_STEP_FAILED, "states of steps");

/* A call that waits for the provisioner, and what it is about. */
typedef struct Errand {
        Call *call;
        char store[RESULT_SUBJECT_MAX];
        uint64_t after; /* regions */
        List errand_link;
        JobStep steps[JOB_STEPS_MAX]; /* while it waits for the list of stores */
        uint32_t n_steps;
} Errand;

static Errand *errand_new(Call *call, const char *store)
{
        Errand *errand = calloc(1, sizeof(*errand));

        if (!errand)
                return NULL;
        errand->call = call;
        list_init(&errand->errand_link);
        (void)snprintf(errand->store, sizeof(errand->store), "%s", store);
        return errand;
}

static void fail(const Errand *errand, int error, uint64_t n_pools)
{
        Refusal refusal = {.code = RESULT_STORE_BUSY, .used = n_pools};

        switch (error) {
        case -ECONNRESET:
        case -ENOTCONN:
        case -ECANCELED:
                call_refuse(errand->call, &(Refusal){.code = RESULT_RETRY});
                return;
        case -EBUSY:
        case -EALREADY:
                memcpy(refusal.subject, errand->store, sizeof(refusal.subject));
                call_refuse(errand->call, &refusal);
                return;
        }
        (void)log_errno(LOG_WARNING, error, "the provisioner cannot do it%s%s",
                errand->store[0] ? " for store " : "", errand->store);
        call_fail(errand->call, error);
}

/* False: it could not be sent, and the call is answered. */
static bool send_errand(Errand *errand, JobRequest *request, JobCallback callback)
{
        int r = jobs_send(errand->call->server->jobs, NULL, request, NULL, 0, callback, errand);

        if (r >= 0)
                return true;
        fail(errand, r, 0);
        free(errand);
        return false;
}

/* ----------------------------------------------------------------------------------------------- regions */

#define TERMINATE(field) ((field)[sizeof(field) - 1] = '\0')

static void reply_regions(const Errand *errand, const JobRegion *regions, uint32_t n)
{
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__RegionList list = PMBROKER__V1__REGION_LIST__INIT;
        Pmbroker__V1__RegionRow rows[JOB_REGIONS_MAX];
        Pmbroker__V1__RegionRow *pointers[JOB_REGIONS_MAX];
        JobRegion copies[JOB_REGIONS_MAX];

        for (uint32_t i = 0; i < n; i++) {
                JobRegion *region = &copies[i];
                Pmbroker__V1__RegionRow *row = pointers[i] = &rows[i];

                memcpy(region, &regions[i], sizeof(*region));
                TERMINATE(region->region);
                TERMINATE(region->namespace);
                TERMINATE(region->mode);
                TERMINATE(region->uuid);
                TERMINATE(region->content);
                pmbroker__v1__region_row__init(row);
                row->region = region->region;
                row->namespace_ = region->namespace;
                row->start = region->start;
                row->size = region->size;
                row->free = region->free;
                row->labels = (region->flags & JOB_REGION_LABELS) != 0;
                row->label_area = (region->flags & JOB_REGION_LABEL_AREA) != 0;
                row->enabled = (region->flags & JOB_REGION_ENABLED) != 0;
                row->node = region->node;
                row->mode = region->mode;
                row->uuid = region->uuid;
                row->content = region->content;
        }
        list.rows = pointers;
        list.n_rows = n;
        list.next = n == JOB_REGIONS_MAX ? errand->after + n : 0;
        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_REGIONS;
        answer.regions = &list;
        call_reply(errand->call, &answer, -EBADF);
}

static void on_regions(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        Errand *errand = userdata;

        (void)fd;
        if (reply->error < 0)
                fail(errand, reply->error, 0);
        else
                reply_regions(errand, tail, reply->n);
        free(errand);
}

void service_list_regions(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        JobRequest request = {.kind = JOB_REGIONS, .pool = packet->list_regions->after};
        Errand *errand = errand_new(call, "");

        if (!errand) {
                call_fail(call, -ENOMEM);
                return;
        }
        errand->after = request.pool;
        (void)send_errand(errand, &request, on_regions);
}

/* ------------------------------------------------------------------------------------------------ stores */

static void reply_steps(const Errand *errand)
{
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__ProvisionReport report = PMBROKER__V1__PROVISION_REPORT__INIT;
        Pmbroker__V1__ProvisionStep rows[JOB_STEPS_MAX];
        Pmbroker__V1__ProvisionStep *pointers[JOB_STEPS_MAX];

        for (uint32_t i = 0; i < errand->n_steps; i++) {
                pmbroker__v1__provision_step__init(&rows[i]);
                rows[i].kind = (Pmbroker__V1__StepKind)errand->steps[i].kind;
                rows[i].state = (Pmbroker__V1__StepState)errand->steps[i].state;
                rows[i].text = (char *)(uintptr_t)errand->steps[i].text;
                pointers[i] = &rows[i];
        }
        report.store = (char *)(uintptr_t)errand->store;
        report.steps = pointers;
        report.n_steps = errand->n_steps;
        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_PROVISIONED;
        answer.provisioned = &report;
        call_reply(errand->call, &answer, -EBADF);
}

static void take_steps(Errand *errand, const JobStep *steps, uint32_t n)
{
        memcpy(errand->steps, steps, n * sizeof(*steps)); /* at most JOB_STEPS_MAX: jobs.c has looked */
        for (uint32_t i = 0; i < n; i++)
                TERMINATE(errand->steps[i].text);
        errand->n_steps = n;
}

static void on_steps(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        Errand *errand = userdata;

        (void)fd;
        if (reply->error < 0)
                fail(errand, reply->error, reply->bytes);
        else {
                take_steps(errand, tail, reply->n);
                reply_steps(errand);
        }
        free(errand);
}

/* Who reads that it is done shall find it so: the answer waits until the stores are known as they are now. */
static void on_changed(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        Errand *errand = userdata;
        Server *server = errand->call->server;

        if (reply->error < 0) {
                on_steps(reply, tail, fd, errand);
                return;
        }
        take_steps(errand, tail, reply->n);
        list_append(&server->errands, &errand->errand_link);
        if (server->hooks.learn_stores(server->hooks.userdata) < 0)
                service_stores_known(server);
}

void service_stores_known(Server *server)
{
        list_for_each_safe (it, &server->errands) {
                Errand *errand = list_entry(it, Errand, errand_link);

                list_unlink(it);
                reply_steps(errand);
                free(errand);
        }
}

/* The store that is meant, if the provisioner can do anything for it; otherwise the call is answered. */
static Store *find_store(Call *call, const char *name)
{
        Store *store = broker_find_store(call->server->broker, name);

        if (!jobs_is_connected(call->server->jobs)) {
                call_refuse(call, &(Refusal){.code = RESULT_RETRY});
                return NULL;
        }
        if (!store || store->gone) {
                call_refuse(call, &(Refusal){.code = RESULT_STORE_UNKNOWN});
                return NULL;
        }
        if (store->info.kind != STORE_FSDAX && store->info.kind != STORE_KMEM) {
                Errand errand = {
                        .call = call,
                        .n_steps = 1,
                        .steps = {{
                                .kind = JOB_STEP_REGION,
                                .state = JOB_STEP_REFUSED,
                                .text = "only a store of Type=fsdax or kmem is provisioned",
                        }},
                };

                memcpy(errand.store, store->info.name, sizeof(errand.store));
                reply_steps(&errand);
                return NULL;
        }
        return store;
}

void service_provision(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        const Pmbroker__V1__Provision *body = packet->provision;
        JobRequest request = {.kind = body->apply ? JOB_APPLY : JOB_PLAN};
        Store *store = find_store(call, body->store);
        Errand *errand;

        if (!store)
                return;
        errand = errand_new(call, store->info.name);
        if (!errand) {
                call_fail(call, -ENOMEM);
                return;
        }
        if (body->apply)
                chronicle(call->server, &(Happening){
                                                .kind = PMBROKER__V1__HAPPENED_KIND__STORE_PROVISIONED,
                                                .store = store->info.name,
                                                .by = call->session,
                                        });
        request.store = store->info.index;
        (void)send_errand(errand, &request, body->apply ? on_changed : on_steps);
}

void service_deprovision(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        const Pmbroker__V1__Deprovision *body = packet->deprovision;
        Server *server = call->server;
        Store *store = find_store(call, body->store);
        JobRequest request = {.kind = JOB_DEPROVISION, .length = body->force};
        Errand *errand;

        if (!store)
                return;
        if (store->n_pools > 0 && !body->force) {
                Refusal refusal = {.code = RESULT_STORE_BUSY, .used = store->n_pools};

                memcpy(refusal.subject, store->info.name, sizeof(refusal.subject));
                call_refuse(call, &refusal);
                return;
        }
        errand = errand_new(call, store->info.name);
        if (!errand) {
                call_fail(call, -ENOMEM);
                return;
        }
        chronicle(server, &(Happening){
                                  .kind = PMBROKER__V1__HAPPENED_KIND__STORE_DEPROVISIONED,
                                  .store = store->info.name,
                                  .by = call->session,
                                  .text = body->force ? "with all its pools" : NULL,
                          });
        request.store = store->info.index;
        /* First the store, so that no new pools come; it waits for those that go now. */
        if (!send_errand(errand, &request, on_changed) || !body->force)
                return;
        list_for_each_safe (it, broker_pools(server->broker)) {
                Pool *pool = list_entry(it, Pool, broker_link);

                if (pool->store == store)
                        pool_revoke(server, pool, PMBROKER__V1__REVOKE_REASON__REVOKED_BY_ADMIN, NULL);
        }
}
