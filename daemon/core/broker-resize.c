/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * How pools change their size. A grow is charged when it is reserved and given back when it is aborted, a
 * shrink gives back when it is committed: at any moment the charge covers what the client may have.
 */

#include <assert.h>
#include <errno.h>

#include "core/broker-internal.h"
#include "core/refusal.h"

/* Which operation is under way follows from what it makes of the size; a create leaves it as it is. */
static bool is_growing(const Pool *pool)
{
        return pool->busy && pool->pending > pool->size;
}

static bool is_shrinking(const Pool *pool)
{
        return pool->busy && pool->pending < pool->size;
}

static Result busy(Refusal *ret_refusal)
{
        return refuse_plain(ret_refusal, RESULT_BUSY, "");
}

/* -------------------------------------------------------------------------------------------------- grow */

static Result reserve_grow(Broker *broker, Pool *pool, uint64_t size, bool *ret_noop, Refusal *ret_refusal)
{
        const Store *store = pool->store;
        Result result;

        if (!pool_size_is_valid(size))
                return refuse_invalid(ret_refusal, size);
        if (size > pool->max)
                return refuse(ret_refusal, RESULT_POOL_MAX, size, pool->max, 0, "");
        if (pool->state != POOL_READY)
                return busy(ret_refusal);
        if (size < pool->size)
                return refuse_invalid(ret_refusal, size);
        if (size == pool->size) {
                *ret_noop = true;
                return RESULT_OK;
        }
        if (!tenant_may_use(pool->tenant, store))
                return refuse_plain(ret_refusal, RESULT_STORE_UNKNOWN, "");
        if (!store->info.available)
                return refuse_plain(ret_refusal,
                        broker->stores_lost ? RESULT_RETRY : RESULT_STORE_UNAVAILABLE, store->info.name);
        result = charge_grow(&pool->charge, size - pool->size, ret_refusal);
        if (result != RESULT_OK)
                return result;

        pool_begin(pool, size);
        pool_set_state(pool, POOL_RESIZING);
        *ret_noop = false;
        return RESULT_OK;
}

Result broker_reserve_grow(Broker *broker, Pool *pool, uint64_t size, bool *ret_noop, Refusal *ret_refusal)
{
        return broker_answer(broker, pool->tenant, reserve_grow(broker, pool, size, ret_noop, ret_refusal));
}

void broker_commit_grow(Broker *broker, Pool *pool, uint64_t length)
{
        (void)broker;
        assert(is_growing(pool));
        assert(length >= pool->pending);
        pool->size = pool->pending;
        pool->length = length;
        pool_end(pool);
}

void broker_abort_grow(Broker *broker, Pool *pool)
{
        (void)broker;
        assert(is_growing(pool));
        charge_shrink(&pool->charge, pool->pending - pool->size);
        pool_end(pool);
}

/* ------------------------------------------------------------------------------------------------ shrink */

static Result reserve_shrink(Pool *pool, uint64_t units, Refusal *ret_refusal)
{
        if (units == 0)
                return refuse_invalid(ret_refusal, units);
        if (pool->busy || (pool->state != POOL_READY && pool->state != POOL_RESIZING))
                return busy(ret_refusal);
        if (units >= pool->size / POOL_UNIT)
                return refuse_invalid(ret_refusal, units);

        pool_begin(pool, pool->size - units * POOL_UNIT);
        if (pool->state == POOL_READY)
                pool_set_state(pool, POOL_RESIZING);
        return RESULT_OK;
}

Result broker_reserve_shrink(Broker *broker, Pool *pool, uint64_t units, Refusal *ret_refusal)
{
        return broker_answer(broker, pool->tenant, reserve_shrink(pool, units, ret_refusal));
}

static void count_gift(Pool *pool)
{
        pool->gifts++;
        if (pool->gifts == 0)
                pool->gifts = 1;
}

void broker_commit_shrink(Broker *broker, Pool *pool, uint64_t now_usec)
{
        (void)broker;
        assert(is_shrinking(pool));
        charge_shrink(&pool->charge, pool->size - pool->pending);
        pool->size = pool->pending;
        count_gift(pool);
        if (pool->target != 0)
                pool->target_since = now_usec;
        pool_end(pool);
}

void broker_abort_shrink(Broker *broker, Pool *pool)
{
        (void)broker;
        assert(is_shrinking(pool));
        pool_end(pool);
}

void broker_lose_shrink(Broker *broker, Pool *pool)
{
        pool->in_doubt = pool->pending;
        broker_abort_shrink(broker, pool);
}

/* ------------------------------------------------------------------------------------------------ target */

static Result set_target(Pool *pool, uint64_t size, uint64_t now_usec, Refusal *ret_refusal)
{
        if (!pool_size_is_valid(size))
                return refuse_invalid(ret_refusal, size);
        if (pool->state != POOL_READY)
                return busy(ret_refusal);
        if (size >= pool->size)
                return refuse_invalid(ret_refusal, size);

        pool->target = size;
        pool->target_since = now_usec;
        pool_set_state(pool, POOL_RESIZING);
        return RESULT_OK;
}

Result broker_set_target(Broker *broker, Pool *pool, uint64_t size, uint64_t now_usec, Refusal *ret_refusal)
{
        return broker_answer(broker, pool->tenant, set_target(pool, size, now_usec, ret_refusal));
}

void broker_end_target(Broker *broker, Pool *pool)
{
        (void)broker;
        if (pool->target == 0)
                return;
        pool->target = 0;
        pool->target_since = 0;
        if (!pool->busy)
                pool_set_state(pool, POOL_READY);
}

/* ----------------------------------------------------------------------------------------------- correct */

int broker_correct(Broker *broker, Pool *pool, uint64_t size, uint64_t length)
{
        int r;

        (void)broker;
        assert(!pool->busy && pool->state != POOL_RESERVED);
        if (!pool_size_is_valid(size) || !pool_size_is_valid(length) || length < size)
                return -EINVAL;
        r = charge_set_forced(&pool->charge, size);
        if (r < 0)
                return r;
        if (pool->in_doubt == size && size < pool->size)
                count_gift(pool);
        pool->in_doubt = 0;
        pool->size = size;
        pool->length = length;
        if (pool->max < size)
                pool->max = size;
        return 0;
}
