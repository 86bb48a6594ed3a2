/* SPDX-License-Identifier: BSD-3-Clause */
/* Public: allocation. jemalloc does it; what is ours is what happens when there is nothing left. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "client/misuse.h"
#include "client/grow.h"
#include "client/pool.h"
#include "client/registry.h"

#define PAGE 4096

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* -------------------------------------------------------------------------------------------------- full */

/*
 * After a purge only live blocks (and the rest of the pages that they are in) are not in the list of free
 * ranges.
 */
static void note_full(struct pmb_pool *pool, size_t size)
{
        HeapFull full = {.asked = size, .size = pool->size};
        uint64_t backed, available;

        arena_lock(&pool->arena);
        backed = pool->arena.units.n_backed * UNIT_SIZE;
        available = pool->arena.units.free.total;
        full.largest = ranges_largest(&pool->arena.units.free);
        arena_unlock(&pool->arena);
        full.taken = backed > available ? backed - available : 0;

        (void)pthread_mutex_lock(&pool->refusal_lock);
        pool->full = full;
        (void)pthread_mutex_unlock(&pool->refusal_lock);
}

static void *refuse(struct pmb_pool *pool, int error, size_t size)
{
        (void)atomic_fetch_add(&pool->n_refusals, 1);
        if (error == ENOMEM)
                note_full(pool, size);
        errno = error;
        return NULL;
}

static uint64_t pool_bytes_max(struct pmb_pool *pool)
{
        return pool->mapping.reserved;
}

/* The free bytes in one piece in which there is certainly room for such a block. */
static uint64_t extent_size(size_t size, int flags)
{
        size_t alignment = (size_t)1 << (flags & 63);

        return pmbj_nallocx(size, flags) + (alignment > PAGE ? alignment - PAGE : 0);
}

/* jemalloc had nothing: dirty memory, merged, may do. */
static __attribute__((noinline)) void *alloc_slow(struct pmb_pool *pool, size_t size, int flags)
{
        void *p;

        if (size > pool_bytes_max(pool))
                return refuse(pool, ENOMEM, size);
        arena_purge(&pool->arena);
        p = pmbj_mallocx(size, flags);
        if (!p && pool_grow_for(pool, extent_size(size, flags)))
                p = pmbj_mallocx(size, flags);
        return p ?: refuse(pool, ENOMEM, size);
}

static inline void *alloc(struct pmb_pool *pool, size_t size, int flags)
{
        int error = atomic_load_explicit(&pool->refuse, memory_order_relaxed);
        void *p;

        if (unlikely(error != 0))
                return refuse(pool, error, size);
        if (unlikely(size == 0))
                size = 1;
        flags |= pool->arena.flags;
        p = pmbj_mallocx(size, flags);
        return likely(p) ? p : alloc_slow(pool, size, flags);
}

/* ------------------------------------------------------------------------------------------------ public */

void *pmb_malloc(struct pmb_pool *pool, size_t size)
{
        return alloc(pool, size, 0);
}

void *pmb_calloc(struct pmb_pool *pool, size_t n, size_t size)
{
        size_t bytes;

        if (__builtin_mul_overflow(n, size, &bytes))
                return refuse(pool, atomic_load(&pool->refuse) ?: ENOMEM, SIZE_MAX);
        return alloc(pool, bytes, MALLOCX_ZERO);
}

static bool is_power_of_two(size_t n)
{
        return n > 0 && (n & (n - 1)) == 0;
}

void *pmb_aligned_alloc(struct pmb_pool *pool, size_t alignment, size_t size)
{
        if (!is_power_of_two(alignment))
                return refuse(pool, atomic_load(&pool->refuse) ?: EINVAL, size);
        if (alignment > pool_bytes_max(pool))
                return refuse(pool, atomic_load(&pool->refuse) ?: ENOMEM, size);
        return alloc(pool, size, MALLOCX_ALIGN(alignment));
}

int pmb_posix_memalign(struct pmb_pool *pool, void **ret, size_t alignment, size_t size)
{
        int saved = errno, r = 0;
        void *p;

        if (alignment % sizeof(void *) || !is_power_of_two(alignment))
                return EINVAL;
        p = pmb_aligned_alloc(pool, alignment, size);
        if (p)
                *ret = p;
        else
                r = errno;
        errno = saved;
        return r;
}

void *pmb_realloc(struct pmb_pool *pool, void *ptr, size_t size)
{
        int error = atomic_load_explicit(&pool->refuse, memory_order_relaxed);
        void *p;

        if (!ptr)
                return alloc(pool, size, 0);
        if (unlikely(error != 0))
                return refuse(pool, error, size);
        if (size == 0)
                size = 1;
        p = pmbj_rallocx(ptr, size, pool->arena.flags);
        if (likely(p))
                return p;
        if (size > pool_bytes_max(pool))
                return refuse(pool, ENOMEM, size);
        arena_purge(&pool->arena);
        p = pmbj_rallocx(ptr, size, pool->arena.flags);
        if (!p && pool_grow_for(pool, extent_size(size, 0)))
                p = pmbj_rallocx(ptr, size, pool->arena.flags);
        return p ?: refuse(pool, ENOMEM, size);
}

/* Blocks outlive a revocation, as addresses; in a child there is nothing to free. */
static bool has_blocks(struct pmb_pool *pool)
{
        return pool && pool->arena.open && !atomic_load_explicit(&pool->dead, memory_order_relaxed);
}

void pmb_free(struct pmb_pool *pool, void *ptr)
{
        int saved = errno;

        if (!ptr)
                return;
        if (!pool)
                pool = registry_find(ptr);
        if (has_blocks(pool))
                pmbj_dallocx(ptr, MALLOCX_TCACHE_NONE);
        errno = saved;
}

size_t pmb_usable_size(struct pmb_pool *pool, const void *ptr)
{
        if (!ptr)
                return 0;
        if (!pool)
                pool = registry_find(ptr);
        return has_blocks(pool) ? pmbj_sallocx(ptr, 0) : 0;
}

void pmb_free_sized(struct pmb_pool *pool, void *ptr, size_t size)
{
        if (ptr && size > pmb_usable_size(pool, ptr))
                misuse_report(PMB_MISUSE_SIZE, pool, ptr);
        else
                pmb_free(pool, ptr);
}

/* Better is lower: what lies high keeps units from being given back. */
void *pmb_defrag(struct pmb_pool *pool, void *ptr)
{
        size_t size = pmb_usable_size(pool, ptr);
        int saved = errno;
        void *p;

        if (size == 0)
                return NULL;
        p = pmbj_mallocx(size, pool->arena.flags);
        errno = saved;
        if (p && p < ptr) {
                memcpy(p, ptr, size);
                pmb_free(pool, ptr);
                return p;
        }
        if (p)
                pmb_free(pool, p);
        return NULL;
}

int pmb_pool_stats(struct pmb_pool *pool, struct pmb_pool_stats *ret)
{
        uint64_t allocated = atomic_load(&pool->dead) ? 0 : arena_allocated(&pool->arena), range;
        struct pmb_pool_stats s = {
                .limit = pool->size,
                .max_size = pool->max_size,
                .allocated = allocated,
                .free = pool->size > allocated ? pool->size - allocated : 0,
                .refusals = atomic_load(&pool->n_refusals),
                .given_back = atomic_load(&pool->given_back),
        };

        arena_lock(&pool->arena);
        s.backed = pool->arena.units.n_backed * UNIT_SIZE;
        s.largest_free = ranges_largest(&pool->arena.units.free);
        range = pool->arena.units.free.total;
        arena_unlock(&pool->arena);
        if (range > 0)
                s.fragmentation = 1000 - s.largest_free * 1000 / range;
        *ret = s;
        return atomic_load(&pool->refuse) == ESTALE ? -ESTALE : 0;
}

/* All that the arena can tell without looking at its bins one by one: what is not of any class. */
int pmb_pool_stats_classes(struct pmb_pool *pool, struct pmb_class_stats *classes, unsigned n)
{
        if (atomic_load(&pool->refuse) == ESTALE)
                return -ESTALE;
        if (n > 0)
                classes[0] = (struct pmb_class_stats){.allocated = arena_allocated(&pool->arena)};
        return 1;
}

int pmb_pool_explain(struct pmb_pool *pool, char *buf, size_t size)
{
        char asked[FORMAT_SIZE_MAX], total[FORMAT_SIZE_MAX], taken[FORMAT_SIZE_MAX],
                largest[FORMAT_SIZE_MAX], max[FORMAT_SIZE_MAX], sentence[REFUSAL_SENTENCE_MAX];
        Refusal refusal;
        HeapFull full;

        (void)pthread_mutex_lock(&pool->refusal_lock);
        refusal = pool->refusal;
        full = pool->full;
        (void)pthread_mutex_unlock(&pool->refusal_lock);

        if (full.asked > 0)
                return snprintf(buf, size,
                        "pool %016" PRIx64
                        " of %s has %s in live blocks and no contiguous %s left; the largest free "
                        "range is %s, and the pool may grow to %s%s%s",
                        pool->id, format_size(total, full.size), format_size(taken, full.taken),
                        format_size(asked, full.asked), format_size(largest, full.largest),
                        format_size(max, pool->max_size),
                        pool->grows && refusal.code != RESULT_OK ? "; it did not: " : "",
                        pool->grows && refusal.code != RESULT_OK ? refusal_to_sentence(&refusal, sentence)
                                                                 : "");
        if (refusal.code != RESULT_OK)
                return snprintf(buf, size, "%s", refusal_to_sentence(&refusal, sentence));
        return snprintf(buf, size, "%s", "");
}
