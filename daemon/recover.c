/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Only stores that were not available until now are gone through: in the others, operations may be under
 * way, and their pools are known. Two passes: all pages of all stores are read first, and nothing is touched
 * before every record was understood; a record of a version that this program does not know ends the start,
 * because guessing would lose somebody's memory. Then what was read is compared:
 *
 *   found, known, alive      the core's size and length are set to the kernel's
 *   found, known, releasing  the release goes on
 *   found, unknown           adopted, and released unless its owner lives; also released if it was made in our time:
 *                            then its create was cut off, and the client was told to try again
 *   not found, known         released already if it was to be; else lost, and its owner is told
 */

#include "recover.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "ipc/chronicle.h"
#include "ipc/lifetime.h"
#include "ipc/peer.h"
#include "ipc/poolrecord.h"
#include "log.h"

typedef struct Found {
        JobPool pool;
        uint32_t store; /* index into stores */
        bool readable;
        PoolRecord record; /* if readable */
} Found;

struct Recovery {
        Server *server;
        void (*done)(int error, void *userdata);
        void *userdata;
        bool abandoned; /* a reply is still on its way */
        StoreInfo stores[JOB_STORES_MAX];
        bool fresh[JOB_STORES_MAX]; /* available, and its pools are not known yet */
        size_t n_stores;
        size_t current; /* store that is being read */
        Found *found;
        size_t n_found;
        size_t room;
};

static int ask_pools(Recovery *rec, uint64_t after);

static void finish(Recovery *rec, int error)
{
        void (*done)(int, void *) = rec->done;
        void *userdata = rec->userdata;

        free(rec->found);
        free(rec);
        done(error, userdata);
}

Recovery *recovery_free(Recovery *rec)
{
        if (rec)
                rec->abandoned = true; /* its one callback frees it */
        return NULL;
}

/* True if the callback has nothing more to do. */
static bool is_over(Recovery *rec, int error)
{
        if (rec->abandoned) {
                free(rec->found);
                free(rec);
                return true;
        }
        if (error < 0) {
                finish(rec, error);
                return true;
        }
        return false;
}

/* ----------------------------------------------------------------------------------------------- compare */

static const Found *find_found(const Recovery *rec, uint64_t id)
{
        /* Ascending within a store only, and there are few stores: a scan per pool would be quadratic. */
        for (size_t i = 0; i < rec->n_found;) {
                size_t end = i, low, high;

                while (end < rec->n_found && rec->found[end].store == rec->found[i].store)
                        end++;
                for (low = i, high = end; low < high;) {
                        size_t middle = low + (high - low) / 2;

                        if (rec->found[middle].pool.pool == id)
                                return &rec->found[middle];
                        if (rec->found[middle].pool.pool < id)
                                low = middle + 1;
                        else
                                high = middle;
                }
                i = end;
        }
        return NULL;
}

static bool is_fresh(const Recovery *rec, const Store *store)
{
        for (size_t i = 0; i < rec->n_stores; i++)
                if (strcmp(rec->stores[i].name, store->info.name) == 0)
                        return rec->fresh[i];
        return false;
}

/* A pool that the core knows of. */
static void correct(Recovery *rec, Pool *pool)
{
        Server *server = rec->server;
        const Found *found = find_found(rec, pool->id);
        uint64_t before, lost_grow;

        /* A busy pool's own job will tell. */
        if (!is_fresh(rec, pool->store) || pool->busy)
                return;
        lost_grow = pool_edge(pool)->lost_grow;
        pool_edge(pool)->lost_grow = 0;
        if (!found) {
                if (pool->state == POOL_RELEASING) {
                        pool_finish_release(server, pool);
                        return;
                }
                log_warning("pool %016" PRIx64
                            " of uid %u pid %u is lost: store %s does not have it any more",
                        pool->id, pool->owner->uid, pool->owner->pid, pool->store->info.name);
                pool_revoke(server, pool, PMBROKER__V1__REVOKE_REASON__REVOKED_LOST, NULL);
                return;
        }
        before = pool->size;
        if (found->pool.flags & JOB_POOL_RELEASING)
                pool_release(server, pool, NULL);
        else if (broker_correct(server->broker, pool, found->pool.bytes, found->pool.length) >= 0) {
                if (pool->size != before)
                        chronicle(server, &(Happening){
                                                  .kind = PMBROKER__V1__HAPPENED_KIND__POOL_RESIZED,
                                                  .pool = pool,
                                                  .bytes = pool->size,
                                                  .bytes_before = before,
                                                  .text = "found so after a restart of the provisioner",
                                          });
                /* Its owner, who asks again for what he was not answered, has not asked for this. */
                if (pool->size == lost_grow && pool->size > before && pool->state != POOL_RELEASING)
                        pool_tell_resized(server, pool);
        } else
                log_warning("pool %016" PRIx64 " has a size that cannot be: %" PRIu64 " bytes, ignoring it",
                        pool->id, found->pool.bytes);
        pool_release_if_due(server, pool);
}

/* As the broker before has counted. Where nobody knows that: from anywhere, so that no client takes it for the next
 * of its own figures. */
static uint32_t count_gifts(const JobPool *pool)
{
        uint32_t n = 0;

        if (pool->flags & JOB_POOL_COUNTED)
                return 1 + (pool->flags >> JOB_POOL_GIFTS_SHIFT);
        if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
                n = (uint32_t)pool->pool;
        return n | UINT32_C(1) << 31;
}

static int adopt(Recovery *rec, const Found *found)
{
        static const PoolRecord nobody = {.uid = (uint32_t)-1, .tenant = "unknown"};
        Server *server = rec->server;
        const PoolRecord *record = found->readable ? &found->record : &nobody;
        PeerIdentity identity = {
                .uid = record->uid,
                .gid = record->gid,
                .pid = record->pid,
                .start_time = record->start_time,
                .unit = "",
                .cgroup = "",
        };
        _cleanup_close_ int pidfd = -EBADF;
        bool alive = false;
        Owner *owner;
        Pool *pool;
        int r;

        if (record->pid > 0) {
                pidfd = peer_open_process(record->pid, record->start_time);
                alive = pidfd >= 0;
        }
        r = broker_owner_attach(
                server->broker, &identity, ++server->next_connection, record->command, &owner);
        if (r < 0)
                return r;
        if (!alive && record->pid > 0)
                broker_owner_gone(server->broker, owner);
        r = broker_adopt(server->broker,
                &(AdoptRequest){
                        .id = found->pool.pool,
                        .store = rec->stores[found->store].name,
                        .tenant = record->tenant,
                        .name = record->name,
                        .size = found->pool.bytes,
                        .length = found->pool.length,
                        .max = record->max > found->pool.bytes ? record->max : found->pool.bytes,
                        .created = record->created,
                        .request_id = record->request_id,
                        .gifts = count_gifts(&found->pool),
                        .owner = owner,
                        .releasing = !found->readable || (found->pool.flags & JOB_POOL_RELEASING),
                },
                &pool);
        if (r >= 0) {
                r = pool_edge_new(pool);
                if (r >= 0 && alive)
                        r = owner_watch(server, owner, pidfd);
                if (r < 0)
                        return r; /* out of memory at the start: the process gives up */
                if (!alive || record->created >= server->started_usec)
                        pool_release(server, pool, NULL);
                pool_release_if_due(server, pool);
        }
        /* The owner stays by its pools; it has the usual time to connect again. */
        owner_detach(server, owner, /* pools_stay= */ false);
        return r;
}

static void compare(Recovery *rec)
{
        Server *server = rec->server;
        size_t adopted = 0;

        list_for_each_safe (it, broker_pools(server->broker))
                correct(rec, list_entry(it, Pool, broker_link));
        for (size_t i = 0; i < rec->n_found; i++) {
                const Found *found = &rec->found[i];
                int r;

                if (broker_find_pool(server->broker, found->pool.pool))
                        continue;
                r = adopt(rec, found);
                if (r == -ENOMEM) {
                        finish(rec, r);
                        return;
                }
                if (r < 0)
                        (void)log_errno(LOG_ERR, r,
                                "cannot adopt pool %016" PRIx64 " in store %s, ignoring it",
                                found->pool.pool, rec->stores[found->store].name);
                else
                        adopted++;
        }
        for (size_t i = 0; i < rec->n_stores; i++)
                if (rec->fresh[i])
                        broker_find_store(server->broker, rec->stores[i].name)->pools_known = true;
        if (adopted > 0)
                log_info("adopted %zu pools", adopted);
        finish(rec, 0);
}

/* -------------------------------------------------------------------------------------------------- read */

static int take_pools(Recovery *rec, const JobPool *pools, uint32_t n)
{
        if (rec->n_found + n > rec->room) {
                size_t room = rec->room * 2 + JOB_POOLS_MAX;
                Found *more = reallocarray(rec->found, room, sizeof(Found));

                if (!more)
                        return -ENOMEM;
                rec->found = more;
                rec->room = room;
        }
        for (uint32_t i = 0; i < n; i++) {
                Found *f = &rec->found[rec->n_found];
                int r;

                memset(f, 0, sizeof(*f));
                memcpy(&f->pool, &pools[i], sizeof(f->pool));
                f->store = (uint32_t)rec->current;
                if (f->pool.record_size > JOB_RECORD_MAX)
                        return -EBADMSG;
                r = pool_record_decode(f->pool.record, f->pool.record_size, &f->record);
                if (r == -EPROTONOSUPPORT)
                        return log_errno(LOG_ERR, r,
                                "pool %016" PRIx64
                                " in store %s was recorded by a newer version of pmbroker; install that "
                                "version again, or restart the host to give up all pools",
                                f->pool.pool, rec->stores[rec->current].name);
                f->readable = r == 0 && f->record.id == f->pool.pool;
                if (!f->readable)
                        log_warning("pool %016" PRIx64 " in store %s has no readable record, releasing it",
                                f->pool.pool, rec->stores[rec->current].name);
                rec->n_found++;
        }
        return 0;
}

static void on_pools(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        Recovery *rec = userdata;
        uint64_t last = 0;
        int r = reply->error;

        (void)fd;
        if (is_over(rec, r))
                return;
        r = take_pools(rec, tail, reply->n);
        if (r < 0) {
                finish(rec, r);
                return;
        }
        if (reply->n == JOB_POOLS_MAX)
                last = rec->found[rec->n_found - 1].pool.pool;
        else
                rec->current++;
        r = ask_pools(rec, last);
        if (r < 0)
                finish(rec, r);
}

/* Clients are served meanwhile: a store whose pools are not known yet must not take any. */
static int set_stores(Recovery *rec, bool fresh_too)
{
        StoreInfo stores[JOB_STORES_MAX];

        memcpy(stores, rec->stores, rec->n_stores * sizeof(stores[0]));
        for (size_t i = 0; i < rec->n_stores; i++)
                if (rec->fresh[i] && !fresh_too) {
                        stores[i].available = false;
                        (void)snprintf(stores[i].reason, sizeof(stores[i].reason), "preparing");
                }
        return broker_set_stores(rec->server->broker, stores, rec->n_stores);
}

static int ask_pools(Recovery *rec, uint64_t after)
{
        JobRequest request = {.kind = JOB_POOLS, .pool = after};

        while (rec->current < rec->n_stores && !rec->fresh[rec->current])
                rec->current++;
        if (rec->current == rec->n_stores) {
                int r = set_stores(rec, /* fresh_too= */ true);

                if (r >= 0)
                        compare(rec);
                return r;
        }
        request.store = rec->stores[rec->current].index;
        return jobs_send(rec->server->jobs, NULL, &request, NULL, 0, on_pools, rec);
}

static StoreKind kind_of(uint32_t kind)
{
        switch (kind) {
        case JOB_STORE_TMPFS:
                return STORE_TMPFS;
        case JOB_STORE_DIR:
                return STORE_DIR;
        case JOB_STORE_FSDAX:
                return STORE_FSDAX;
        case JOB_STORE_KMEM:
                return STORE_KMEM;
        default:
                return STORE_UNKNOWN;
        }
}

static StoreTested tested(uint32_t flags, uint32_t flag)
{
        return !(flags & JOB_STORE_TESTED) ? STORE_NOT_TESTED
               : flags & flag              ? STORE_HOLDS
                                           : STORE_DOES_NOT_HOLD;
}

static void on_stores(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        Recovery *rec = userdata;
        int r = reply->error;

        (void)fd;
        if (is_over(rec, r))
                return;
        for (uint32_t i = 0; i < reply->n; i++) {
                StoreInfo *info = &rec->stores[rec->n_stores];
                const Store *known;
                JobStore store;

                memcpy(&store, (const char *)tail + i * sizeof(store), sizeof(store));
                store.name[sizeof(store.name) - 1] = '\0';
                store.reason[sizeof(store.reason) - 1] = '\0';
                *info = (StoreInfo){
                        .kind = kind_of(store.kind),
                        .available = store.flags & JOB_STORE_AVAILABLE,
                        .keeps_pools = store.flags & JOB_STORE_KEEPS,
                        .audited = store.flags & JOB_STORE_AUDITED,
                        .capacity = store.capacity,
                        .page_size = store.page_size,
                        .node = store.node,
                        .dax = tested(store.flags, JOB_STORE_DAX),
                        .quota = tested(store.flags, JOB_STORE_QUOTA),
                        /* A kmem store has none, and needs none. */
                        .seal = store.kind == JOB_STORE_KMEM ? STORE_NOT_TESTED
                                                             : tested(store.flags, JOB_STORE_SEAL),
                        .index = store.index,
                };
                memcpy(info->name, store.name, sizeof(info->name));
                memcpy(info->reason, store.reason, sizeof(info->reason));
                for (size_t k = 0; k < rec->n_stores; k++)
                        if (info->name[0] == '\0' || strcmp(rec->stores[k].name, info->name) == 0) {
                                finish(rec, -EBADMSG);
                                return;
                        }
                known = broker_find_store(rec->server->broker, info->name);
                rec->fresh[rec->n_stores] = info->available && (!known || !known->pools_known);
                rec->n_stores++;
        }
        r = set_stores(rec, /* fresh_too= */ false);
        if (r >= 0)
                r = ask_pools(rec, 0);
        if (r < 0)
                finish(rec, r);
}

int recovery_start(Server *server, void (*done)(int, void *), void *userdata, Recovery **ret)
{
        JobRequest request = {.kind = JOB_STORES};
        Recovery *rec = calloc(1, sizeof(*rec));
        int r;

        if (!rec)
                return -ENOMEM;
        rec->server = server;
        rec->done = done;
        rec->userdata = userdata;
        r = jobs_send(server->jobs, NULL, &request, NULL, 0, on_stores, rec);
        if (r < 0) {
                free(rec);
                return r;
        }
        *ret = rec;
        return 0;
}
