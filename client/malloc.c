/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Public: allocation. Each function has a fast path, which looks at one cache line of the heap and one of the
 * thread, and a slow one, which it ends with: so the compiler saves no registers for it.
 */

#include <errno.h>
#include <string.h>

#include "client/cache.h"
#include "client/misuse.h"
#include "client/pool.h"
#include "client/pressure.h"
#include "client/registry.h"
#include "client/watch.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define noinline    __attribute__((noinline))

/* Where in a line a function begins is worth 8 % of such a path: not left to what is linked in front of it. */
#define fast __attribute__((aligned(64)))

/* Is this thread's current cache one of the heap? It is busy. */
static inline bool is_current(Heap *h, Cache *c)
{
        return cache_id(c) == atomic_load_explicit(&h->id, memory_order_relaxed);
}

/* This thread's other cache, if it has one. */
static inline Cache *switch_current(ThreadCaches *t, Heap *h)
{
        Cache *c = t->by_slot[h->slot];

        if (!c)
                return t->current;
        t->current = c;
        return c;
}

/* ------------------------------------------------------------------------------------------------ malloc */

/* Nothing at hand in this thread. */
static noinline void *malloc_from_others(struct pmb_pool *pool, size_t size)
{
        Heap *h = &pool->heap;
        unsigned class = sizeclass_of(size);
        Cache *c = cache_enter(h);
        void *p = NULL;
        int error;

        if (likely(c)) {
                if (heap_is_full(h, size))
                        p = NULL;
                else if (class == CLASS_HUGE)
                        p = arena_take_one(h->arena, size, 0);
                else
                        p = cache_take(c, h, class);
                cache_end(&thread_caches);
                if (unlikely(heap_tick(h)))
                        pool_idle(pool);
                return watch_taken(h, likely(p) ? p : pressure_take(pool, size, 0), size);
        }
        error = atomic_load(&h->refuse);
        if (error != 0)
                return pressure_refuse(pool, error, size);
        /* Without a cache: this thread is ending. */
        p = arena_take_one(h->arena, size, 0);
        return watch_taken(h, p ?: pressure_take(pool, size, 0), size);
}

/* Larger than the table, or another pool's turn. Busy. */
static noinline fast void *malloc_slow(struct pmb_pool *pool, size_t size)
{
        ThreadCaches *t = &thread_caches;
        Cache *c = switch_current(t, &pool->heap);
        unsigned class = sizeclass_of(size);
        void *p;

        if (likely(is_current(&pool->heap, c))) {
                p = cache_last(c, class);
                if (likely(p)) {
                        c->tops[class]--;
                        cache_end(t);
                        return p;
                }
        }
        cache_end(t);
        return malloc_from_others(pool, size);
}

static inline void *alloc(struct pmb_pool *pool, size_t size)
{
        ThreadCaches *t = &thread_caches;
        unsigned class;
        Cache *c;
        void *p;

        cache_begin(t);
        c = t->current;
        if (unlikely(!is_current(&pool->heap, c) || size > TABLE_SIZE_MAX))
                return malloc_slow(pool, size);
        class = class_table[(size + 7) / 8];
        p = cache_last(c, class);
        if (unlikely(!p))
                return malloc_slow(pool, size);
        c->tops[class]--;
        cache_end(t);
        return p;
}

fast void *pmb_malloc(struct pmb_pool *pool, size_t size)
{
        return alloc(pool, size);
}

/* -------------------------------------------------------------------------------------------------- free */

/* No heap to free in: pools that are revoked, inherited, or closed; their blocks are gone in any case. */
static bool is_dead(Heap *h)
{
        return atomic_load_explicit(&h->refuse, memory_order_relaxed) != 0;
}

/* A block of a class that nobody caches. */
static noinline void free_uncached(struct pmb_pool *pool, void *ptr, unsigned class)
{
        Heap *h = &pool->heap;

        watch_given(h, ptr, heap_block_size(h, ptr));
        if (!(class == CLASS_PAGE ? arena_put_page(h->arena, ptr) : arena_put_huge(h->arena, ptr)))
                misuse_report(PMB_MISUSE_DOUBLE, pool, ptr);
        heap_add_supply(h);
}

static noinline void free_to_others(struct pmb_pool *pool, void *ptr)
{
        ThreadCaches *t = &thread_caches;
        int saved = errno;
        Heap *h = &pool->heap;
        unsigned class;
        Cache *c;

        if (is_dead(h))
                return;
        class = heap_class_of(h, ptr);
        if (class == CLASS_NONE) {
                misuse_report(PMB_MISUSE_INVALID, pool, ptr);
                return;
        }
        /* Tools know more than the page map does. */
        if (watch_size(ptr, 1) == 0) {
                misuse_report(PMB_MISUSE_DOUBLE, pool, ptr);
                return;
        }
        if (class > CLASS_LAST) {
                free_uncached(pool, ptr, class);
                errno = saved;
                return;
        }
        if (heap_is_shut(h))
                heap_add_supply(h);
        c = cache_enter(h);
        if (unlikely(!c)) {
                if (!is_dead(h)) {
                        watch_given(h, ptr, class_sizes[class]);
                        arena_put(h->arena, class, &ptr, 1);
                        heap_add_supply(h);
                }
                errno = saved;
                return;
        }
        if (cache_last(c, class) == ptr) {
                cache_end(t);
                misuse_report(PMB_MISUSE_DOUBLE, pool, ptr);
                return;
        }
        watch_given(h, ptr, class_sizes[class]);
        cache_put(c, h, class, ptr);
        cache_end(t);
        if (unlikely(heap_tick(h)))
                pool_idle(pool);
        errno = saved;
}

/* Into that cache, if it is the heap's and has room, and nothing is wrong with the block. Busy. */
static inline bool free_to(Cache *c, Heap *h, void *ptr)
{
        uint64_t offset = heap_offset(h, ptr);
        unsigned class;

        if (unlikely(!is_current(h, c) || offset >= h->reserved))
                return false;
        class = pagemap_get(h->map, offset);
        if (unlikely(c->tops[class] >= c->ends[class] || cache_last(c, class) == ptr))
                return false;
        *c->tops[class]++ = ptr;
        return true;
}

/* Full, or another pool's turn, or no pool. Busy. */
static noinline fast void free_slow(struct pmb_pool *pool, void *ptr)
{
        ThreadCaches *t = &thread_caches;

        if (pool && free_to(switch_current(t, &pool->heap), &pool->heap, ptr)) {
                cache_end(t);
                return;
        }
        cache_end(t);
        if (!ptr)
                return;
        if (!pool)
                pool = registry_find(ptr);
        if (!pool)
                return misuse_report(PMB_MISUSE_INVALID, NULL, ptr);
        free_to_others(pool, ptr);
}

fast void pmb_free(struct pmb_pool *pool, void *ptr)
{
        ThreadCaches *t = &thread_caches;

        cache_begin(t);
        if (unlikely(!pool || !free_to(t->current, &pool->heap, ptr)))
                return free_slow(pool, ptr);
        cache_end(t);
}

static noinline void free_sized_slow(struct pmb_pool *pool, void *ptr, size_t size)
{
        size_t usable;

        cache_end(&thread_caches);
        usable = pool && ptr ? heap_block_size(&pool->heap, ptr) : 0;
        if (usable > 0 && size > usable)
                return misuse_report(PMB_MISUSE_SIZE, pool, ptr);
        pmb_free(pool, ptr);
}

/* The size says which bin; that it is right is looked up beside it, and nothing waits for that. */
fast void pmb_free_sized(struct pmb_pool *pool, void *ptr, size_t size)
{
        ThreadCaches *t = &thread_caches;
        unsigned class;
        uint64_t offset;
        Cache *c;

        cache_begin(t);
        c = t->current;
        if (unlikely(!pool || size > TABLE_SIZE_MAX || !is_current(&pool->heap, c)))
                return free_sized_slow(pool, ptr, size);
        class = class_table[(size + 7) / 8];
        offset = heap_offset(&pool->heap, ptr);
        if (unlikely(offset >= pool->heap.reserved || pagemap_get(pool->heap.map, offset) != class ||
                     c->tops[class] >= c->ends[class] || cache_last(c, class) == ptr))
                return free_sized_slow(pool, ptr, size);
        *c->tops[class]++ = ptr;
        cache_end(t);
}

size_t pmb_usable_size(struct pmb_pool *pool, const void *ptr)
{
        size_t size;

        if (!ptr)
                return 0;
        if (!pool)
                pool = registry_find(ptr);
        if (!pool)
                return 0;
        size = heap_block_size(&pool->heap, ptr);
        /* Who asks may use all of it. */
        watch_resized(&pool->heap, (void *)(uintptr_t)ptr, size, size);
        return size;
}

/* ------------------------------------------------------------------------------------------ other shapes */

static void *take_one(struct pmb_pool *pool, size_t size, int flags)
{
        Heap *h = &pool->heap;
        int error = atomic_load_explicit(&h->refuse, memory_order_relaxed);
        void *p;

        if (unlikely(error != 0))
                return pressure_refuse(pool, error, size);
        p = heap_is_full(h, size) ? NULL : arena_take_one(h->arena, size, flags);
        return watch_taken(h, p ?: pressure_take(pool, size, flags), size);
}

/* A block of whole pages that this thread has at hand. */
static void *take_cached(struct pmb_pool *pool, size_t size)
{
        Cache *c = cache_enter(&pool->heap);
        unsigned class = sizeclass_of(size);
        void *p;

        if (!c)
                return NULL;
        p = cache_last(c, class);
        if (p)
                c->tops[class]--;
        cache_end(&thread_caches);
        return watch_taken(&pool->heap, p, size);
}

/*
 * What comes from the arena may be known to be zero: the larger it is the more that is worth. What was
 * cached never is.
 */
void *pmb_calloc(struct pmb_pool *pool, size_t n, size_t size)
{
        size_t bytes;
        void *p;

        if (__builtin_mul_overflow(n, size, &bytes))
                return pressure_refuse(pool, atomic_load(&pool->heap.refuse) ?: ENOMEM, SIZE_MAX);
        if (bytes <= SMALL_SIZE_MAX)
                p = alloc(pool, bytes);
        else {
                p = take_cached(pool, bytes);
                if (!p) {
                        /* jemalloc must not clear what is hidden still. */
                        int flags = watch_is_on ? 0 : MALLOCX_ZERO;

                        p = take_one(pool, bytes, flags);
                        if (flags != 0)
                                return p;
                }
        }
        return p ? memset(p, 0, bytes) : NULL;
}

static bool is_power_of_two(size_t n)
{
        return n > 0 && (n & (n - 1)) == 0;
}

/*
 * Blocks of a class are multiples of its size apart, from the start of a page. The class of a multiple of an
 * alignment is a multiple of it, too, so up to a page rounding up will do.
 */
void *pmb_aligned_alloc(struct pmb_pool *pool, size_t alignment, size_t size)
{
        size_t rounded;
        void *p;

        if (!is_power_of_two(alignment))
                return pressure_refuse(pool, atomic_load(&pool->heap.refuse) ?: EINVAL, size);
        if (alignment > pool->mapping.reserved || size > pool->mapping.reserved)
                return pressure_refuse(pool, atomic_load(&pool->heap.refuse) ?: ENOMEM,
                        alignment > size ? alignment : size);
        rounded = ((size ?: 1) + alignment - 1) & ~(alignment - 1);
        if (alignment > (size_t)1 << MAP_PAGE_SHIFT)
                return take_one(pool, size ?: 1, MALLOCX_ALIGN(alignment));
        p = alloc(pool, rounded);
        if (p)
                watch_resized(&pool->heap, p, rounded, size);
        return p;
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
