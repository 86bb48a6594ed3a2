/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools and what they are made of. Public: the end of one, and what can be asked of it. */

#include "client/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "client/client.h"
#include "client/registry.h"

int pool_reserve(struct pmb_pool *pool, uint64_t size, uint64_t max_size)
{
        int r;

        r = mapping_reserve(&pool->mapping, max_size, size);
        if (r < 0)
                return r;
        r = arena_init(&pool->arena, pool->mapping.base, pool->mapping.reserved, pool->raw);
        if (r == 0) {
                r = heap_init(&pool->heap, &pool->arena);
                if (r < 0)
                        arena_deinit(&pool->arena);
        }
        if (r < 0) {
                mapping_deinit(&pool->mapping);
                return r;
        }
        pool->max_size = pool->mapping.reserved;
        return 0;
}

int pool_new(struct pmb_client *client, uint64_t size, uint64_t max_size, bool raw, struct pmb_pool **ret)
{
        struct pmb_pool *pool;
        int r;

        pool = aligned_alloc(64, (sizeof(*pool) + 63) / 64 * 64);
        if (!pool)
                return -ENOMEM;
        memset(pool, 0, sizeof(*pool));
        pool->mapping.fd = -EBADF;
        pool->raw = raw;
        if (size > 0) {
                r = pool_reserve(pool, size, max_size);
                if (r < 0) {
                        free(pool);
                        return r;
                }
        }
        pool->client = pmb_client_ref(client);
        list_init(&pool->pool_link);
        (void)pthread_mutex_init(&pool->change_lock, NULL);
        (void)pthread_mutex_init(&pool->refusal_lock, NULL);
        *ret = pool;
        return 0;
}

/*
 * Who uses a pool that is closed shall get an error, not a crash, at least while that is recent: the last few
 * stay as they are, without anything behind them.
 */
static struct pmb_pool *pool_bury(struct pmb_pool *pool)
{
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        static struct pmb_pool *buried[POOLS_BURIED];
        static unsigned next;
        struct pmb_pool *oldest;

        (void)pthread_mutex_lock(&lock);
        oldest = buried[next];
        buried[next] = pool;
        next = (next + 1) % POOLS_BURIED;
        (void)pthread_mutex_unlock(&lock);
        if (oldest) {
                (void)pthread_mutex_destroy(&oldest->refusal_lock);
                (void)pthread_mutex_destroy(&oldest->change_lock);
                free(oldest);
        }
        return NULL;
}

struct pmb_pool *pool_free(struct pmb_pool *pool)
{
        if (!pool)
                return NULL;
        registry_remove(pool);
        if (pool->mapping.base) {
                heap_deinit(&pool->heap);
                arena_deinit(&pool->arena);
        }
        mapping_deinit(&pool->mapping);
        pool->client = pmb_client_unref(pool->client);
        return pool_bury(pool);
}

int pool_attach(struct pmb_pool *pool, int fd, uint64_t size, uint64_t length)
{
        int r;

        if (size == 0 || size % UNIT_SIZE || length % UNIT_SIZE || size > length) {
                safe_close(fd);
                return -EPROTO;
        }
        pool->mapping.shared = pool->on_fork == ON_FORK_SHARE;
        r = mapping_attach(&pool->mapping, fd, length);
        if (r < 0)
                return r;
        pool_told_size(pool, size, length);
        return registry_add(pool, pool->mapping.base, pool->mapping.reserved);
}

void pool_told_size(struct pmb_pool *pool, uint64_t size, uint64_t length)
{
        pool->size = size;
        pool->length = length;
        /*
         * What cannot be mapped now stays unbacked here, and is tried again with the next word from the
         * daemon.
         */
        (void)mapping_extend(
                &pool->mapping, length < pool->mapping.reserved ? length : pool->mapping.reserved);
        arena_lock(&pool->arena);
        units_sync(&pool->arena.units, size, pool->mapping.mapped);
        arena_unlock(&pool->arena);
        pool_units_changed(pool);
}

void pool_units_changed(struct pmb_pool *pool)
{
        arena_lock(&pool->arena);
        heap_change_size(&pool->heap, pool->arena.units.n_backed * UNIT_SIZE);
        arena_unlock(&pool->arena);
}

void pool_note_refusal(struct pmb_pool *pool, const Refusal *refusal)
{
        if (refusal->code == RESULT_OK)
                return;
        (void)pthread_mutex_lock(&pool->refusal_lock);
        pool->refusal = *refusal;
        pool->full.asked = 0;
        (void)pthread_mutex_unlock(&pool->refusal_lock);
}

/* ------------------------------------------------------------------------------------------------- close */

int pool_destroy_id(struct pmb_client *client, uint64_t id, unsigned call_flags)
{
        Pmbroker__V1__DestroyPool body = PMBROKER__V1__DESTROY_POOL__INIT;
        Call call = {
                .packet = PMBROKER__V1__CLIENT_PACKET__INIT,
                .flags = CALL_MUTATES | call_flags,
                .expect = PMBROKER__V1__SERVER_PACKET__BODY_DONE,
        };
        int r;

        body.pool = id;
        call.packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_DESTROY_POOL;
        call.packet.destroy_pool = &body;
        r = connection_call(&client->connection, &call);
        return r == -ENOENT ? 0 : r;
}

struct pmb_pool *pmb_pool_close(struct pmb_pool *pool)
{
        struct pmb_client *client;
        uint64_t id = 0;

        if (!pool || atomic_exchange(&pool->closing, true))
                return NULL;
        client = pool->client;
        if (client) {
                connection_lock(&client->connection);
                if (list_is_linked(&pool->pool_link) && !client->connection.dead && !pool_is_dead(pool))
                        id = pool->id;
                list_unlink(&pool->pool_link);
                while (pool->pins > 0)
                        (void)pthread_cond_wait(&client->done, &client->connection.lock);
                connection_unlock(&client->connection);
                (void)pmb_client_ref(client);
        }

        /* First here: the daemon has less to do with a file that nobody maps any more. */
        pool_free(pool);

        if (id > 0) {
                /* If it cannot be asked now: later, or it finds out that this process has ended. */
                if (pool_destroy_id(client, id, CALL_IF_CONNECTED) < 0) {
                        connection_lock(&client->connection);
                        client_add_orphan(client, id);
                        connection_unlock(&client->connection);
                }
        }
        return pmb_client_unref(client), NULL;
}

/* -------------------------------------------------------------------------------------------------- look */

int pmb_pool_info(struct pmb_pool *pool, struct pmb_pool_info *ret)
{
        *ret = (struct pmb_pool_info){
                .id = pool->id,
                .size = pool->size,
                .max_size = pool->max_size,
                .page_size = pool->page_size,
                .store = pool->store,
                .tenant = pool->tenant,
                .name = pool->name,
        };
        return pool_is_dead(pool) ? -ESTALE : 0;
}

void *pmb_pool_base(struct pmb_pool *pool)
{
        return pool->mapping.base;
}

struct pmb_pool *pmb_pool_of(const void *ptr)
{
        return registry_find(ptr);
}

/* Into memory of this process's own; the pool cannot change its size any more. */
static int take_copy(struct pmb_pool *pool)
{
        uint64_t start = UINT64_MAX, end;
        int r;

        arena_show(&pool->arena);
        r = mapping_replace(&pool->mapping);
        if (r < 0)
                return r;
        while (r == 0 && units_used_before(&pool->arena.units, start, &start, &end))
                r = mapping_copy(&pool->mapping, start, end);
        if (r < 0)
                mapping_drop(&pool->mapping);
        return r;
}

void pool_forked(struct pmb_pool *pool, bool may_copy)
{
        bool lives_on = pool->on_fork == ON_FORK_INHERIT || pool->on_fork == ON_FORK_SHARE;

        if (pool->on_fork == ON_FORK_COPY) {
                lives_on = may_copy && !pool_is_dead(pool) && take_copy(pool) == 0;
                pool->on_fork = lives_on ? ON_FORK_INHERIT : ON_FORK_DIE;
        }
        pool->grows = false;
        heap_forked(&pool->heap, lives_on);
        mapping_forked(&pool->mapping, lives_on);
        pool->pins = 0;
        (void)pthread_mutex_init(&pool->change_lock, NULL);
        (void)pthread_mutex_init(&pool->refusal_lock, NULL);
}
