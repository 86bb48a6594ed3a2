/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Public: blocks that change their size, or their place for a better one.
 *
 * A block stays where it is if its class does not change, or if it is whole pages before and after and the
 * arena can cut off or join what is behind it. Otherwise it moves. To become smaller a block need not move,
 * so that never fails.
 */

#include <errno.h>
#include <string.h>

#include "client/cache.h"
#include "client/misuse.h"
#include "client/pool.h"
#include "client/pressure.h"
#include "client/watch.h"

/* What is cut off is hidden before others can get it. */
static bool resize_in_place(Heap *h, void *ptr, size_t old, size_t size)
{
        if (old < LARGE_SIZE_MIN || size <= SMALL_SIZE_MAX)
                return false;
        if (size < old)
                watch_resized(h, ptr, old, size);
        if (!arena_resize(h->arena, ptr, size))
                return false;
        if (size >= old)
                watch_resized(h, ptr, old, size);
        if (size < old)
                heap_add_supply(h);
        return true;
}

/* Without any ado: what is at hand, or nothing. */
static void *malloc_if_easy(Heap *h, size_t size)
{
        Cache *c = cache_enter(h);
        void *p;

        if (!c)
                return NULL;
        p = cache_take(c, h, sizeclass_of(size));
        cache_end(&thread_caches);
        return watch_taken(h, p, size);
}

void *pmb_realloc(struct pmb_pool *pool, void *ptr, size_t size)
{
        Heap *h = &pool->heap;
        int error = atomic_load_explicit(&h->refuse, memory_order_relaxed);
        size_t old, asked;
        unsigned class;
        void *p;

        if (!ptr)
                return pmb_malloc(pool, size);
        if (error != 0)
                return pressure_refuse(pool, error, size);
        class = heap_class_of(h, ptr);
        old = heap_block_size(h, ptr);
        asked = watch_size(ptr, old);
        if (asked == 0) {
                misuse_report(PMB_MISUSE_INVALID, pool, ptr);
                return pressure_refuse(pool, EINVAL, size);
        }
        if (class_sizes[sizeclass_of(size)] == class_sizes[class] && class != CLASS_HUGE) {
                watch_resized(h, ptr, old, size);
                return ptr;
        }
        if (resize_in_place(h, ptr, old, size))
                return ptr;

        if (size < old) {
                p = malloc_if_easy(h, size);
                if (!p) {
                        watch_resized(h, ptr, old, size);
                        return ptr;
                }
        } else {
                p = pmb_malloc(pool, size);
                if (!p)
                        /* All that was cached is in the arena now: there may be room behind the block. */
                        return resize_in_place(h, ptr, old, size) ? ptr : NULL;
        }
        memcpy(p, ptr, size < asked ? size : asked);
        pmb_free(pool, ptr);
        return p;
}

/*
 * Better is lower: the arena fills the lowest slabs first, and units are given back from the end. Blocks that
 * are cached come from anywhere, so the arena is asked.
 */
void *pmb_defrag(struct pmb_pool *pool, void *ptr)
{
        size_t size = heap_block_size(&pool->heap, ptr), asked = watch_size(ptr, size);
        int saved = errno;
        void *p = NULL;

        if (asked > 0)
                p = watch_taken(&pool->heap, arena_take_lower(pool->heap.arena, ptr, size), asked);
        if (p) {
                memcpy(p, ptr, asked);
                pmb_free(pool, ptr);
        }
        errno = saved;
        return p;
}
