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

static bool resize_in_place(Heap *h, void *ptr, size_t old, size_t size)
{
        if (old < LARGE_SIZE_MIN || size <= SMALL_SIZE_MAX)
                return false;
        if (!arena_resize(h->arena, ptr, size))
                return false;
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
        return p;
}

void *pmb_realloc(struct pmb_pool *pool, void *ptr, size_t size)
{
        Heap *h = &pool->heap;
        int error = atomic_load_explicit(&h->refuse, memory_order_relaxed);
        unsigned class;
        uint64_t offset;
        size_t old;
        void *p;

        if (!ptr)
                return pmb_malloc(pool, size);
        if (error != 0)
                return pressure_refuse(pool, error, size);
        offset = heap_offset(h, ptr);
        class = offset < h->reserved ? pagemap_get(h->map, offset) : CLASS_NONE;
        old = pmb_usable_size(pool, ptr);
        if (old == 0) {
                misuse_report(PMB_MISUSE_INVALID, pool, ptr);
                return pressure_refuse(pool, EINVAL, size);
        }
        if (class != CLASS_HUGE && sizeclass_of(size) == class)
                return ptr;
        if (resize_in_place(h, ptr, old, size))
                return ptr;

        if (size < old) {
                p = malloc_if_easy(h, size);
                if (!p)
                        return ptr;
        } else {
                p = pmb_malloc(pool, size);
                if (!p)
                        /* All that was cached is in the arena now: there may be room behind the block. */
                        return resize_in_place(h, ptr, old, size) ? ptr : NULL;
        }
        memcpy(p, ptr, size < old ? size : old);
        pmb_free(pool, ptr);
        return p;
}

/*
 * Better is lower: the arena fills the lowest slabs first, and units are given back from the end. Blocks that
 * are cached come from anywhere, so the arena is asked.
 */
void *pmb_defrag(struct pmb_pool *pool, void *ptr)
{
        size_t size = pmb_usable_size(pool, ptr);
        int saved = errno;
        void *p = NULL;

        if (size > 0)
                p = arena_take_lower(pool->heap.arena, ptr, size);
        if (p) {
                memcpy(p, ptr, size);
                pmb_free(pool, ptr);
        }
        errno = saved;
        return p;
}
