/* SPDX-License-Identifier: BSD-3-Clause */
/* Public: pools grow and shrink. Shrinking is giving back whole units that hold nothing. */

#include <assert.h>
#include <errno.h>

#include "base/cleanup.h"
#include "client/client.h"
#include "client/clock.h"
#include "client/gift.h"

static void cleanup_unlock(pthread_mutex_t **m)
{
        if (*m)
                (void)pthread_mutex_unlock(*m);
}

/* One change of size at a time, to the end of the block. */
#define HOLD_CHANGE_LOCK(pool)                                                               \
        _cleanup_(cleanup_unlock) pthread_mutex_t *change_lock_held_ = &(pool)->change_lock; \
        (void)pthread_mutex_lock(change_lock_held_)

/* Why a pool cannot be resized at all, or 0. */
static int check_alive(struct pmb_pool *pool)
{
        if (atomic_load(&pool->refuse) == ESTALE)
                return -ESTALE;
        return pool->client ? 0 : -ENOTCONN;
}

void pool_settle(struct pmb_pool *pool)
{
        HOLD_CHANGE_LOCK(pool);

        if (check_alive(pool) == 0)
                (void)gift_settle(pool);
}

/* ------------------------------------------------------------------------------------------------ shrink */

/* A daemon that never answers is not asked for ever. */
static uint64_t deadline_of(struct pmb_pool *pool)
{
        return now_usec() + (pool->client ? pool->client->connection.timeout_usec : 0);
}

/* One unit always stays. The change lock is held. */
static int64_t give_back_to(struct pmb_pool *pool, uint64_t target)
{
        uint64_t before = pool->given_back, given;
        uint64_t deadline = deadline_of(pool);
        int r;

        if (target < UNIT_SIZE)
                target = UNIT_SIZE;
        r = gift_settle(pool);
        if (r == 0)
                arena_purge(&pool->arena);
        while (r == 0 && pool->size > target && !atomic_load(&pool->closing)) {
                uint64_t units = (pool->size - target + UNIT_SIZE - 1) / UNIT_SIZE;
                Gift gift = {.pool = pool};

                arena_lock(&pool->arena);
                gift.n = units_begin_give(&pool->arena.units,
                        units < UINT32_MAX ? (uint32_t)units : UINT32_MAX, gift.spans,
                        ELEMENTSOF(gift.spans));
                arena_unlock(&pool->arena);
                if (gift.n == 0)
                        break;
                r = gift_send(&gift);
                if (r == -EREMCHG)
                        r = now_usec() < deadline ? gift_settle(pool) : -ETIMEDOUT;
        }
        given = pool->given_back - before;
        return given > 0 || r == 0 ? (int64_t)given : r;
}

int64_t pool_give_back_to(struct pmb_pool *pool, uint64_t target)
{
        HOLD_CHANGE_LOCK(pool);
        int r = check_alive(pool);

        return r < 0 ? r : give_back_to(pool, target);
}

int64_t pmb_pool_trim(struct pmb_pool *pool, uint64_t keep)
{
        HOLD_CHANGE_LOCK(pool);
        uint64_t n, stay = keep / UNIT_SIZE + (keep % UNIT_SIZE > 0);
        int r = check_alive(pool);

        if (r < 0)
                return r;
        if (pool->raw)
                return -EINVAL;
        r = gift_settle(pool);
        if (r < 0)
                return r;
        arena_purge(&pool->arena);
        arena_lock(&pool->arena);
        n = units_count_free(&pool->arena.units);
        arena_unlock(&pool->arena);
        if (n <= stay)
                return 0;
        n = (n - stay) * UNIT_SIZE;
        return give_back_to(pool, n < pool->size ? pool->size - n : 0);
}

int pmb_pool_give_back(struct pmb_pool *pool, uint32_t first, uint32_t count)
{
        HOLD_CHANGE_LOCK(pool);
        Gift gift = {.pool = pool, .spans = {{first, count}}, .n = 1};
        uint64_t deadline = deadline_of(pool), before;
        int r = check_alive(pool);

        if (r < 0)
                return r;
        if (!pool->raw)
                return -EINVAL;
        r = gift_settle(pool);
        before = pool->given_back;
        /* It may be taken although the answer was not heard. */
        while (r == 0 && pool->given_back == before) {
                arena_lock(&pool->arena);
                r = units_begin_give_at(&pool->arena.units, gift.spans[0]);
                arena_unlock(&pool->arena);
                if (r == 0)
                        r = gift_send(&gift);
                if (r == -EREMCHG)
                        r = now_usec() < deadline ? gift_settle(pool) : -ETIMEDOUT;
        }
        return r;
}

/* -------------------------------------------------------------------------------------------------- grow */

static int on_grown(Call *call, const ServerPacket *reply, int *fd)
{
        struct pmb_pool *pool = call->userdata;

        (void)fd;
        if (reply->size->pool != pool->id)
                return -EPROTO;
        pool_told_size(pool, reply->size->size, reply->size->length);
        return 0;
}

static void set_growing(struct pmb_pool *pool, uint64_t size)
{
        connection_lock(&pool->client->connection);
        pool->growing_to = size;
        connection_unlock(&pool->client->connection);
}

static int grow(struct pmb_pool *pool, uint64_t size)
{
        Pmbroker__V1__ResizePool body = PMBROKER__V1__RESIZE_POOL__INIT;
        Call call = {
                .packet = PMBROKER__V1__CLIENT_PACKET__INIT,
                .flags = CALL_MUTATES,
                .expect = PMBROKER__V1__SERVER_PACKET__BODY_SIZE,
                .userdata = pool,
                .on_reply = on_grown,
        };
        int r;

        if (size > pool->max_size) {
                pool_note_refusal(
                        pool, &(Refusal){.code = RESULT_POOL_MAX, .asked = size, .limit = pool->max_size});
                return -EDQUOT;
        }
        body.pool = pool->id;
        body.size = size;
        call.packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_RESIZE_POOL;
        call.packet.resize_pool = &body;
        set_growing(pool, size);
        r = connection_call(&pool->client->connection, &call);
        set_growing(pool, 0);
        pool_note_refusal(pool, &call.refusal);
        return r < 0 ? r : pool->size >= size ? 0 : -EBUSY;
}

int pmb_pool_resize(struct pmb_pool *pool, uint64_t size)
{
        HOLD_CHANGE_LOCK(pool);
        int64_t given;
        int r = check_alive(pool);

        if (r < 0)
                return r;
        if (size == 0 || size > UINT64_MAX - UNIT_SIZE)
                return -EINVAL;
        size = (size + UNIT_SIZE - 1) / UNIT_SIZE * UNIT_SIZE;
        r = gift_settle(pool);
        if (r < 0)
                return r;
        if (size > pool->size)
                return grow(pool, size);
        if (size == pool->size)
                return 0;
        if (pool->raw)
                return -EINVAL;
        given = give_back_to(pool, size);
        if (pool->size <= size)
                return 0;
        return given < 0 ? (int)given : -EBUSY;
}
