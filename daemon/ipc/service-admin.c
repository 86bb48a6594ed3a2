/* SPDX-License-Identifier: BSD-3-Clause */
/* What administrators ask about the daemon itself: stores, tenants, status. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ipc/service.h"
#include "proto/wire.h"

#define STORES_MAX   JOB_STORES_MAX
#define REASON_SHORT 64
#define TENANTS_MAX  20 /* rows in a page */
#define STORES_TEXT  600
#define ROW_REST     160 /* bytes of a row of either beside its longest text, at most */

_Static_assert(STORES_MAX *(REASON_SHORT + ROW_REST) < WIRE_SERVER_MAX, "all stores fit into a packet");
_Static_assert(TENANTS_MAX *(STORES_TEXT + ROW_REST) < WIRE_SERVER_MAX, "a page fits into a packet");

_Static_assert(PMBROKER__V1__STORE_KIND__KIND_TMPFS == (int)STORE_TMPFS, "kinds");
_Static_assert(PMBROKER__V1__STORE_KIND__KIND_DIR == (int)STORE_DIR, "kinds");
_Static_assert(PMBROKER__V1__STORE_KIND__KIND_FSDAX == (int)STORE_FSDAX, "kinds");
_Static_assert(PMBROKER__V1__STORE_KIND__KIND_KMEM == (int)STORE_KMEM, "kinds");

_Static_assert(PMBROKER__V1__TESTED__HOLDS == (int)STORE_HOLDS, "tested");
_Static_assert(PMBROKER__V1__TESTED__DOES_NOT_HOLD == (int)STORE_DOES_NOT_HOLD, "tested");

/* ------------------------------------------------------------------------------------------------ stores */

/* An answer under way: the provisioner is asked what the kernel takes for itself. */
typedef struct Listing {
        Call *call;
        unsigned waiting;                 /* jobs */
        uint64_t surplus[JOB_STORES_MAX]; /* by the provisioner's number of the store */
} Listing;

static void fill_store(const Store *store, const Listing *listing, Pmbroker__V1__StoreRow *ret)
{
        ret->name = (char *)(uintptr_t)store->info.name;
        ret->kind = (Pmbroker__V1__StoreKind)store->info.kind;
        ret->available = store->info.available;
        ret->capacity = store->info.capacity;
        ret->charged = store->charged;
        ret->pools = store->n_pools;
        ret->page_size = store->info.page_size;
        ret->enforced_by = (char *)(uintptr_t)(store->info.audited ? "audit" : "kernel");
        ret->keeps_pools = store->info.keeps_pools;
        ret->dax = (Pmbroker__V1__Tested)store->info.dax;
        ret->quota = (Pmbroker__V1__Tested)store->info.quota;
        ret->seal = (Pmbroker__V1__Tested)store->info.seal;
        ret->node = store->info.node;
        ret->reason = (char *)(uintptr_t)store->info.reason;
        ret->surplus = store->info.index < JOB_STORES_MAX ? listing->surplus[store->info.index] : 0;
        ret->drained = store->drained;
        ret->drained_configured = store->drained_configured;
        ret->created = store->created;
        ret->released = store->released;
        ret->bad_bytes = store->bad;
}

/* The list has no pages: where so many stores say so much, each says less. */
static void shorten_reason(Pmbroker__V1__StoreRow *row, char text[static REASON_SHORT])
{
        if (strlen(row->reason) < REASON_SHORT)
                return;
        (void)snprintf(text, REASON_SHORT, "%.*s...", REASON_SHORT - 4, row->reason);
        row->reason = text;
}

static void reply_stores(Listing *listing)
{
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__StoreList list = PMBROKER__V1__STORE_LIST__INIT;
        Pmbroker__V1__StoreRow rows[STORES_MAX];
        Pmbroker__V1__StoreRow *pointers[STORES_MAX];
        char reasons[STORES_MAX][REASON_SHORT];

        list_for_each (it, broker_stores(listing->call->server->broker)) {
                if (list.n_rows == STORES_MAX)
                        break;
                pmbroker__v1__store_row__init(&rows[list.n_rows]);
                fill_store(list_entry(it, Store, store_link), listing, &rows[list.n_rows]);
                pointers[list.n_rows] = &rows[list.n_rows];
                list.n_rows++;
        }
        list.rows = pointers;
        if (pmbroker__v1__store_list__get_packed_size(&list) > STORES_MAX * (REASON_SHORT + ROW_REST))
                for (size_t i = 0; i < list.n_rows; i++)
                        shorten_reason(&rows[i], reasons[i]);
        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_STORES;
        answer.stores = &list;
        call_reply(listing->call, &answer, -EBADF);
        free(listing);
}

static void on_surplus(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        Listing *listing = userdata;

        (void)tail;
        (void)fd;
        if (reply->error == 0 && reply->store < JOB_STORES_MAX)
                listing->surplus[reply->store] = reply->used;
        if (--listing->waiting == 0)
                reply_stores(listing);
}

void service_list_stores(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        Listing *listing = calloc(1, sizeof(*listing));

        (void)packet;
        if (!listing) {
                call_fail(call, -ENOMEM);
                return;
        }
        listing->call = call;
        listing->waiting = 1; /* ours: no reply may end the listing before all are asked */
        list_for_each (it, broker_stores(call->server->broker)) {
                const Store *store = list_entry(it, Store, store_link);
                JobRequest request = {.kind = JOB_USAGE, .store = store->info.index};

                if (!store->info.available || store->info.kind != STORE_FSDAX)
                        continue;
                /* Without a provisioner it is not known. */
                if (jobs_send(call->server->jobs, &call->session->user->jobs, &request, NULL, 0, on_surplus,
                            listing) == 0)
                        listing->waiting++;
        }
        if (--listing->waiting == 0)
                reply_stores(listing);
}

/* ----------------------------------------------------------------------------------------------- tenants */

/* Blank-separated, as many as have room. */
static void join_stores(const TenantConfig *config, char text[static STORES_TEXT])
{
        size_t used = 0;

        text[0] = '\0';
        for (size_t i = 0; i < config->n_stores; i++) {
                size_t n = strlen(config->stores[i]);

                if (used + n + 2 > STORES_TEXT)
                        return;
                if (used > 0)
                        text[used++] = ' ';
                memcpy(text + used, config->stores[i], n + 1);
                used += n;
        }
}

void service_list_tenants(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__TenantList list = PMBROKER__V1__TENANT_LIST__INIT;
        Pmbroker__V1__TenantRow rows[TENANTS_MAX];
        Pmbroker__V1__TenantRow *pointers[TENANTS_MAX];
        char stores[TENANTS_MAX][STORES_TEXT];
        uint64_t index = 0;

        list_for_each (it, broker_tenants(call->server->broker)) {
                const Tenant *tenant = broker_tenant_from_link(it);
                const TenantConfig *config = tenant_config(tenant);
                TenantFigures figures = tenant_figures(tenant);
                Pmbroker__V1__TenantRow *row = &rows[list.n_rows];

                if (index++ < packet->list_tenants->after)
                        continue;
                if (list.n_rows == TENANTS_MAX) {
                        list.next = index - 1;
                        break;
                }
                pmbroker__v1__tenant_row__init(row);
                row->name = (char *)(uintptr_t)config->name;
                row->bytes = figures.bytes;
                row->bytes_max =
                        config->bytes_max == UINT64_MAX && config->percent > 0 ? 0 : config->bytes_max;
                row->percent = config->percent;
                row->pools = figures.pools;
                row->pools_max = config->pools_max;
                row->pool_bytes_max = config->pool_bytes_max;
                row->bytes_limit = broker_bytes_limit(call->server->broker, tenant);
                row->overridden = figures.overridden;
                row->created = figures.created;
                row->released = figures.released;
                row->refused = figures.refused;
                join_stores(config, stores[list.n_rows]);
                row->stores = stores[list.n_rows];
                pointers[list.n_rows++] = row;
        }
        list.rows = pointers;
        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_TENANTS;
        answer.tenants = &list;
        call_reply(call, &answer, -EBADF);
}

void service_get_status(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        Server *server = call->server;
        BrokerFigures figures = broker_figures(server->broker);
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Status status = PMBROKER__V1__STATUS__INIT;

        (void)packet;
        status.version = (char *)(uintptr_t)PMBROKER_VERSION;
        status.uptime_usec = server_now(server) - server->started_usec;
        status.pid = (uint32_t)getpid();
        status.provisioner = server->ready;
        /* How full the host is, and by how many, is not for everybody. */
        if (call->session->role >= ROLE_OBSERVER) {
                status.sessions = server->n_sessions;
                status.sessions_max = server->limits.sessions_max;
                status.pools = figures.pools;
                status.bytes = figures.bytes;
                status.releasing = figures.releasing;
                status.refusals = figures.refusals;
                status.keeps_pools = true;
                list_for_each (it, broker_stores(server->broker)) {
                        const Store *store = list_entry(it, Store, store_link);

                        status.stores++;
                        if (!store->info.available)
                                continue;
                        status.stores_available++;
                        status.capacity += store->info.capacity;
                        status.keeps_pools = status.keeps_pools && store->info.keeps_pools;
                }
        }
        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_STATUS;
        answer.status = &status;
        call_reply(call, &answer, -EBADF);
}
