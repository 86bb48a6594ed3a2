/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Pools become larger: because the application says so, or by themselves (PMB_POOL_AUTO_GROW).
 *
 * A pool that grows by itself asks when an allocation has found nothing, for what that needs or for a step, whichever
 * is more: a quarter of its size, at least 8 MiB and at most 256 MiB. So n bytes take O(log n) requests at first, and
 * what a pool has and does not use is never more than a quarter of it. If the step is refused it asks for what
 * there is, if that is enough. Of many threads that find nothing one asks, and the others look again when it is done.
 *
 * What is free, and was so ten seconds before, goes back (pool_give_back_idle()), but for two steps: the first
 * allocations after that shall not have to ask at once.
 *
 * A refusal is remembered: for a tenth of a second nobody asks again, then twice as long, up to 10 s. So a program that
 * lives with a full pool does not live with a request for every allocation.
 */

#include <stdbool.h>
#include <stdint.h>

#include "client/clock.h"
#include "client/pool.h"

/* What such a pool grows by if it may. */
uint64_t pool_grow_step(uint64_t size);

/* How long an allocation waits for the daemon, the wait for others who change the size included. */
#define GROW_TIMEOUT_USEC USEC_PER_SEC

/*
 * Ask the daemon for `size` bytes in all, within `timeout_usec` (0: as long as any call takes). The change lock is held.
 * Returns 0 or a negative errno; the refusal is noted.
 */
int pool_grow(struct pmb_pool *pool, uint64_t size, uint64_t timeout_usec);

int pool_grow_for_slowly(struct pmb_pool *pool, uint64_t bytes);

/*
 * An allocation that needs `bytes` in one piece (alignment included) has found none: let the pool grow if it is one that
 * does. True if there is room for it now. No lock of the pool is held; keeps errno. Returns at once when the pool does
 * not grow by itself, is as large as it may be, or was refused lately.
 */
static inline bool pool_grow_for(struct pmb_pool *pool, uint64_t bytes)
{
        if (!pool->grows || pool->size >= pool->max_size || now_usec() < atomic_load(&pool->grow_not_before))
                return false;
        return pool_grow_for_slowly(pool, bytes) == 0;
}
