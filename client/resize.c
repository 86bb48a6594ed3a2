/* SPDX-License-Identifier: BSD-3-Clause */
/* Public: pools grow and shrink. Shrinking is giving back whole units that hold nothing. */

#include <assert.h>
#include <errno.h>

#include "base/cleanup.h"
#include "client/client.h"
#include "client/clock.h"
#include "client/gift.h"
#include "client/grow.h"

/* Why a pool cannot be resized at all, or 0. */
static int check_alive(struct pmb_pool *pool)
{
        if (pool_is_dead(pool))
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
                heap_collect(&pool->heap);
        while (r == 0 && pool->size > target && !atomic_load(&pool->closing)) {
                uint64_t units = (pool->size - target + UNIT_SIZE - 1) / UNIT_SIZE;
                Gift gift = {.pool = pool};

                arena_lock(&pool->arena);
                gift.n = units_begin_give(&pool->arena.units,
                        units < UINT32_MAX ? (uint32_t)units : UINT32_MAX, gift.spans,
                        ELEMENTSOF(gift.spans));
                arena_unlock(&pool->arena);
                pool_units_changed(pool);
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
        heap_collect(&pool->heap);
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

/* ------------------------------------------------------------------------------------------------ disuse */

/* An allocation has no time for it: the dispatcher has. */
void pool_idle(struct pmb_pool *pool)
{
        if (!pool->grows || !pool->client)
                return;
        connection_lock(&pool->client->connection);
        client_add_todo(pool->client, pool, POOL_IDLE);
        connection_unlock(&pool->client->connection);
}

void pool_give_back_idle(struct pmb_pool *pool)
{
        HOLD_CHANGE_LOCK(pool);
        uint64_t keep = 2 * pool_grow_step(pool->size), before = pool->idle_bytes, now, idle;

        if (check_alive(pool) < 0)
                return;
        arena_lock(&pool->arena);
        now = units_count_free(&pool->arena.units) * UNIT_SIZE;
        arena_unlock(&pool->arena);
        idle = now < before ? now : before;
        if (idle <= keep) {
                pool->idle_bytes = now;
                return;
        }
        pool->idle_bytes = 0;
        (void)give_back_to(pool, pool->size - (idle - keep));
}

/* ------------------------------------------------------------------------------------------------ resize */

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
                return pool_grow(pool, size, 0);
        if (size == pool->size)
                return 0;
        if (pool->raw)
                return -EINVAL;
        given = give_back_to(pool, size);
        if (pool->size <= size)
                return 0;
        return given < 0 ? (int)given : -EBUSY;
}
