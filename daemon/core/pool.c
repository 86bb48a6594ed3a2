/* SPDX-License-Identifier: BSD-3-Clause */

/* The states of a pool, and the arithmetic of its units. */

#include <assert.h>

#include "core/pool.h"

static const bool steps[_POOL_STATE_MAX][_POOL_STATE_MAX] = {
        [POOL_RESERVED] = {[POOL_READY] = true, [POOL_RELEASING] = true},
        [POOL_READY] = {[POOL_RESIZING] = true, [POOL_RELEASING] = true},
        [POOL_RESIZING] = {[POOL_READY] = true, [POOL_RELEASING] = true},
};

bool pool_state_may_follow(PoolState from, PoolState to)
{
        assert((unsigned)from < _POOL_STATE_MAX && (unsigned)to < _POOL_STATE_MAX);
        return steps[from][to];
}

void pool_set_state(Pool *pool, PoolState state)
{
        assert(pool_state_may_follow(pool->state, state));
        pool->state = state;
}

bool pool_size_is_valid(uint64_t size)
{
        return size >= POOL_UNIT && size <= POOL_BYTES_MAX && size % POOL_UNIT == 0;
}

uint64_t pool_length_for(const Pool *pool, uint64_t size)
{
        /* Holes are filled before the end moves, so a file is never longer than the most it ever backed. */
        return size > pool->length ? size : pool->length;
}

void pool_begin(Pool *pool, uint64_t pending)
{
        assert(!pool->busy && pool->pending == 0);
        assert(pool_size_is_valid(pending));
        pool->busy = true;
        pool->pending = pending;
}

void pool_end(Pool *pool)
{
        assert(pool->busy);
        pool->busy = false;
        pool->pending = 0;
        if (pool->state == POOL_RESIZING && pool->target == 0)
                pool_set_state(pool, POOL_READY);
}
