/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools in rows: one's own, all of them for administrators, or what a process gets back after a reconnect. A
 * page is taken by creation order, then the provisioner is asked what the kernel counts for each of its
 * pools; a pool that goes meanwhile is left out.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ipc/lifetime.h"
#include "ipc/schedule.h"
#include "ipc/service.h"

#define ROWS_MAX 64 /* of at most 230 bytes each: a page fits into a packet */

_Static_assert(ROWS_MAX <= JOB_USAGE_MAX, "one job per store asks for a whole page");

typedef struct Row {
        uint64_t pool;
        uint64_t used;
        bool used_known;
} Row;

typedef struct Page {
        Call *call;
        User *user;       /* who asks; lives as long as there are jobs of his */
        unsigned waiting; /* jobs */
        uint64_t next;
        size_t n;
        Row rows[ROWS_MAX];
} Page;

static void fill_row(const Server *server, const Pool *pool, const Row *row, Pmbroker__V1__PoolRow *ret)
{
        uint64_t now = server_now((Server *)(uintptr_t)server);

        ret->pool = pool->id;
        ret->name = (char *)(uintptr_t)pool->name;
        ret->tenant = (char *)(uintptr_t)tenant_name(pool->tenant);
        ret->uid = pool->owner->uid;
        ret->pid = pool->owner->pid;
        ret->command = (char *)(uintptr_t)pool->owner->command;
        ret->store = (char *)(uintptr_t)pool->store->info.name;
        ret->size = pool->size;
        ret->used = row->used;
        ret->used_known = row->used_known;
        ret->bad_bytes = pool->bad;
        ret->state = (Pmbroker__V1__PoolState)(pool->state + 1);
        ret->age_usec = now > pool->created ? now - pool->created : 0;
        ret->length = pool->length;
        ret->max = pool->max;
        ret->target = pool->target;
        ret->audited = pool->store->info.audited;
        ret->grace_usec = pool_edge(pool)->revoke_at > now ? pool_edge(pool)->revoke_at - now : 0;
        ret->gifts = pool->gifts;
}

_Static_assert(PMBROKER__V1__POOL_STATE__STATE_RESERVED == POOL_RESERVED + 1, "states");
_Static_assert(PMBROKER__V1__POOL_STATE__STATE_READY == POOL_READY + 1, "states");
_Static_assert(PMBROKER__V1__POOL_STATE__STATE_RESIZING == POOL_RESIZING + 1, "states");
_Static_assert(PMBROKER__V1__POOL_STATE__STATE_RELEASING == POOL_RELEASING + 1, "states");

static void reply_page(Page *page)
{
        Server *server = page->call->server;
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__PoolList list = PMBROKER__V1__POOL_LIST__INIT;
        Pmbroker__V1__PoolRow rows[ROWS_MAX];
        Pmbroker__V1__PoolRow *pointers[ROWS_MAX];

        for (size_t i = 0; i < page->n; i++) {
                const Pool *pool = broker_find_pool(server->broker, page->rows[i].pool);

                if (!pool)
                        continue;
                pmbroker__v1__pool_row__init(&rows[list.n_rows]);
                fill_row(server, pool, &page->rows[i], &rows[list.n_rows]);
                pointers[list.n_rows] = &rows[list.n_rows];
                list.n_rows++;
        }
        list.rows = pointers;
        list.next = page->next;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_POOLS;
        packet.pools = &list;
        call_reply(page->call, &packet, -EBADF);
        free(page);
}

/* ------------------------------------------------------------------------------------------------- usage */

static void on_usage(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        Page *page = userdata;
        Server *server = page->call->server;
        uint64_t begin = schedule_clock();
        User *user = page->user;

        (void)fd;
        for (uint32_t i = 0; reply->error == 0 && i < reply->n; i++) {
                JobUsage usage;

                memcpy(&usage, (const char *)tail + i * sizeof(usage), sizeof(usage));
                for (size_t k = 0; k < page->n; k++)
                        if (page->rows[k].pool == usage.pool) {
                                page->rows[k].used = usage.used;
                                page->rows[k].used_known = true;
                        }
        }
        page->waiting--;
        if (page->waiting == 0)
                reply_page(page);
        schedule_charge(server, user, begin);
}

/* Ask for what one store holds of the page. */
static void ask_usage(Page *page, const Store *store)
{
        Server *server = page->call->server;
        JobRequest request = {.kind = JOB_USAGE, .store = store->info.index};
        uint64_t ids[ROWS_MAX];

        for (size_t i = 0; i < page->n; i++) {
                const Pool *pool = broker_find_pool(server->broker, page->rows[i].pool);

                if (pool && pool->store == store)
                        ids[request.n++] = pool->id;
        }
        if (request.n == 0)
                return;
        /* Without a provisioner the figures stay unknown, which the rows say. */
        if (jobs_send(server->jobs, &page->user->jobs, &request, ids, request.n * sizeof(ids[0]), on_usage,
                    page) == 0)
                page->waiting++;
}

static void finish_page(Page *page, bool with_usage)
{
        page->waiting = 1; /* ours: no reply may end the page before all are asked */
        if (with_usage) {
                list_for_each (it, broker_stores(page->call->server->broker)) {
                        const Store *store = list_entry(it, Store, store_link);

                        if (store->info.available)
                                ask_usage(page, store);
                }
        }
        page->waiting--;
        if (page->waiting == 0)
                reply_page(page);
}

/* ------------------------------------------------------------------------------------------------- verbs */

/* Whose pools a page shows. */
typedef enum Scope {
        SCOPE_PROCESS,
        SCOPE_USER, /* a user's processes may look at each other anyway */
        SCOPE_ALL,
} Scope;

static bool is_in_scope(const Pool *pool, const Session *session, Scope scope)
{
        return scope == SCOPE_ALL || pool->owner == session->owner ||
               (scope == SCOPE_USER && pool->owner->uid == session->peer.identity.uid);
}

/* The next rows by creation order. */
static Page *take_page(Call *call, Scope scope, uint64_t after)
{
        Page *page = calloc(1, sizeof(*page));

        if (!page)
                return NULL;
        page->call = call;
        page->user = call->session->user;
        list_for_each (it, broker_pools(call->server->broker)) {
                const Pool *pool = list_entry(it, Pool, broker_link);

                if (pool->seq <= after || pool->state == POOL_RESERVED ||
                        !is_in_scope(pool, call->session, scope))
                        continue;
                if (page->n == ROWS_MAX) {
                        page->next = after;
                        return page;
                }
                page->rows[page->n++] = (Row){.pool = pool->id};
                after = pool->seq;
        }
        return page;
}

static void list_page(Call *call, Scope scope, uint64_t after, bool with_usage)
{
        Page *page = take_page(call, scope, after);

        if (!page) {
                call_fail(call, -ENOMEM);
                return;
        }
        finish_page(page, with_usage);
}

void service_list_pools(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        Scope scope = call->session->role >= ROLE_OBSERVER ? SCOPE_ALL : SCOPE_USER;

        list_page(call, scope, packet->list_pools->after, /* with_usage= */ true);
}

void service_resume_pools(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        list_page(call, SCOPE_PROCESS, packet->resume_pools->after, /* with_usage= */ false);
}

void service_get_pool(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        Session *s = call->session;
        const Pool *pool = broker_find_pool(call->server->broker, packet->get_pool->pool);
        Page *page;

        if (!pool || pool->state == POOL_RESERVED ||
                !is_in_scope(pool, s, s->role >= ROLE_OBSERVER ? SCOPE_ALL : SCOPE_USER)) {
                call_refuse(call, &(Refusal){.code = RESULT_NOT_FOUND});
                return;
        }
        page = calloc(1, sizeof(*page));
        if (!page) {
                call_fail(call, -ENOMEM);
                return;
        }
        page->call = call;
        page->user = call->session->user;
        page->rows[page->n++] = (Row){.pool = pool->id};
        finish_page(page, /* with_usage= */ true);
}
