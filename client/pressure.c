/* SPDX-License-Identifier: BSD-3-Clause */
/* The ladder from "nothing at hand" to ENOMEM. Public: the explanation of the last step. */

#include "client/pressure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/parse.h"
#include "client/cache.h"
#include "client/grow.h"
#include "client/pool.h"
#include "client/steal.h"

/* So often others may take what a pool has grown by for this thread. */
#define GROWTHS_MAX 3

static void *take(Heap *h, size_t size, int flags)
{
        unsigned class = sizeclass_of(size);
        void *p = NULL;

        if (flags != 0 || class == CLASS_HUGE)
                return arena_take_one(h->arena, size, flags);
        (void)arena_take(h->arena, class, &p, 1);
        return p;
}

/* After all has been taken back only live blocks are not in the list of free ranges. */
static void note_full(struct pmb_pool *pool, size_t size)
{
        HeapFull full = {.asked = size, .size = pool->size};
        uint64_t backed;

        arena_lock(&pool->arena);
        backed = pool->arena.units.n_backed * UNIT_SIZE;
        full.available = pool->arena.units.free.total;
        full.largest = ranges_largest(&pool->arena.units.free);
        arena_unlock(&pool->arena);
        full.taken = backed > full.available ? backed - full.available : 0;

        (void)pthread_mutex_lock(&pool->refusal_lock);
        pool->full = full;
        (void)pthread_mutex_unlock(&pool->refusal_lock);
}

/* The caches are stopped. An aligned request says little about others. */
static void shut(Heap *h, size_t size, unsigned long supply)
{
        size_t refused = atomic_load_explicit(&h->full_size, memory_order_relaxed);

        if (refused > size || atomic_load_explicit(&h->full_since, memory_order_relaxed) != supply)
                atomic_store_explicit(&h->full_size, size, memory_order_relaxed);
        atomic_store_explicit(&h->full_since, supply, memory_order_relaxed);
        list_for_each (it, &h->caches)
                cache_fit(list_entry(it, Cache, cache_link), h);
}

/* From this thread and the depot. */
static void *take_from_idle(Heap *h, size_t size, int flags)
{
        Cache *c = cache_enter(h);

        if (c) {
                cache_flush(c, h);
                cache_end(&thread_caches);
        }
        heap_drain(h);
        arena_purge(h->arena);
        return take(h, size, flags);
}

/* Returns NULL when there is nothing although nobody has anything cached. */
static void *take_from_all(struct pmb_pool *pool, size_t size, int flags)
{
        Heap *h = &pool->heap;
        unsigned long supply = atomic_load(&h->supply);
        void *p;

        steal_stop(h);
        atomic_fetch_add_explicit(&h->n_steals, 1, memory_order_relaxed);
        list_for_each (it, &h->caches)
                cache_flush(list_entry(it, Cache, cache_link), h);
        heap_drain(h);
        arena_purge(h->arena);
        p = take(h, size, flags);
        if (!p && flags == 0 && class_sizes[sizeclass_of(size)] == PAGE_BLOCK_SIZE)
                p = arena_take_page(h->arena);
        if (!p) {
                note_full(pool, size);
                if ((flags & ~MALLOCX_ZERO) == 0)
                        shut(h, size, supply);
        }
        steal_resume(h);
        return p;
}

/* The free bytes in one piece in which there is certainly room for such a block. */
static uint64_t extent_size(size_t size, int flags)
{
        const size_t page = (size_t)1 << MAP_PAGE_SHIFT, alignment = (size_t)1 << (flags & 63);

        return pmbj_nallocx(size ?: 1, flags) + (alignment > page ? alignment - page : 0);
}

void *pressure_take(struct pmb_pool *pool, size_t size, int flags)
{
        Heap *h = &pool->heap;
        void *p;

        if (size > h->reserved)
                return pressure_refuse(pool, ENOMEM, size);
        if (heap_is_full(h, size) && !pool_grow_for(pool, extent_size(size, flags)))
                return pressure_refuse(pool, ENOMEM, size);
        p = size <= SMALL_SIZE_MAX ? take_from_idle(h, size, flags) : NULL;
        for (unsigned n = 0; !p; n++) {
                p = take_from_all(pool, size, flags);
                if (!p && (n == GROWTHS_MAX || !pool_grow_for(pool, extent_size(size, flags))))
                        return pressure_refuse(pool, ENOMEM, size);
        }
        return p;
}

void *pressure_refuse(struct pmb_pool *pool, int error, size_t size)
{
        atomic_uint_fast64_t *cause = &pool->refused.full;

        (void)pthread_mutex_lock(&pool->refusal_lock);
        if (error == EINVAL) {
                cause = &pool->refused.misuse;
        } else if (error == ESTALE) {
                cause = &pool->refused.dead;
        } else if (size > pool->mapping.reserved) {
                cause = &pool->refused.size;
                pool->full.asked = size;
        } else {
                pool->full.asked = size;
                if (pool->full.available >= size)
                        cause = &pool->refused.shape;
        }
        (void)pthread_mutex_unlock(&pool->refusal_lock);
        (void)atomic_fetch_add_explicit(cause, 1, memory_order_relaxed);
        errno = error;
        return NULL;
}

int pmb_pool_explain(struct pmb_pool *pool, char *buf, size_t size)
{
        char asked[FORMAT_SIZE_MAX], total[FORMAT_SIZE_MAX], taken[FORMAT_SIZE_MAX],
                largest[FORMAT_SIZE_MAX], max[FORMAT_SIZE_MAX], sentence[REFUSAL_SENTENCE_MAX];
        bool has_not_grown;
        Refusal refusal;
        HeapFull full;

        (void)pthread_mutex_lock(&pool->refusal_lock);
        refusal = pool->refusal;
        full = pool->full;
        (void)pthread_mutex_unlock(&pool->refusal_lock);

        has_not_grown = pool->grows && refusal.code != RESULT_OK;
        if (full.asked > 0)
                return snprintf(buf, size,
                        "pool %016" PRIx64
                        " of %s has %s in live blocks and no contiguous %s left; the largest free "
                        "range is %s, and the pool may grow to %s%s%s",
                        pool->id, format_size(total, full.size), format_size(taken, full.taken),
                        format_size(asked, full.asked), format_size(largest, full.largest),
                        format_size(max, pool->max_size), has_not_grown ? "; it did not: " : "",
                        has_not_grown ? refusal_to_sentence(&refusal, sentence) : "");
        if (refusal.code != RESULT_OK)
                return snprintf(buf, size, "%s", refusal_to_sentence(&refusal, sentence));
        return snprintf(buf, size, "%s", "");
}
