/* SPDX-License-Identifier: BSD-3-Clause */
/* What concerns a heap as a whole. */

#include "client/heap.h"

#include <errno.h>
#include <time.h>

#include "base/parse.h"
#include "client/cache.h"
#include "client/steal.h"
#include "client/watch.h"

/* What nobody needs for this long goes back to the arena. */
#define PERIOD_USEC (10 * USEC_PER_SEC)

/* One look at the clock in so many slow paths. */
#define TICKS_PER_LOOK 256

int heap_init(Heap *h, Arena *arena)
{
        *h = (Heap){
                .id = HEAP_ID_NEVER,
                .base = arena->base,
                .reserved = arena->reserved,
                .map = arena->map,
                .refuse = EINVAL,
                .arena = arena,
                .full_size = SIZE_MAX,
        };
        list_init(&h->caches);
        (void)pthread_mutex_init(&h->caches_lock, NULL);
        if (!arena->map)
                return 0;
        h->depot = depot_new();
        return h->depot ? 0 : -ENOMEM;
}

int heap_open(Heap *h)
{
        static _Atomic uint64_t last_id;
        bool fast = steal_init(), watched = watch_init();
        int r = arena_open(h->arena);

        if (r < 0)
                return r;
        watch_begin(h);
        h->slot = h->arena->index;
        h->cache_id = atomic_fetch_add(&last_id, 1) + 1;
        atomic_store(&h->refuse, 0);
        if (fast && !watched)
                atomic_store(&h->id, h->cache_id);
        return 0;
}

void heap_deinit(Heap *h)
{
        heap_refuse(h, ESTALE);
        if (h->arena->open) {
                caches_forget(h);
                watch_end(h);
        }
        h->depot = depot_free(h->depot);
        (void)pthread_mutex_destroy(&h->caches_lock);
}

void heap_refuse(Heap *h, int error)
{
        atomic_store(&h->refuse, error);
        atomic_store(&h->id, HEAP_ID_NEVER);
}

void heap_change_size(Heap *h, uint64_t size)
{
        uint64_t before = atomic_exchange(&h->size, size);

        if (h->depot)
                depot_change_room(h->depot, (int64_t)(size - before));
        heap_add_supply(h);
}

size_t heap_block_size(Heap *h, const void *ptr)
{
        unsigned class;

        if (atomic_load_explicit(&h->refuse, memory_order_relaxed) != 0)
                return 0;
        class = heap_class_of(h, ptr);
        return class == CLASS_HUGE ? arena_size_huge(h->arena, ptr) : class_sizes[class];
}

static void drain_class(Heap *h, unsigned class, unsigned n_batches)
{
        void *blocks[128];
        unsigned n;

        while (n_batches-- > 0 && (n = depot_take(h->depot, class, blocks)) > 0)
                arena_put(h->arena, class, blocks, n);
}

void heap_drain(Heap *h)
{
        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++)
                drain_class(h, k, UINT32_MAX);
}

void heap_collect(Heap *h)
{
        if (!h->arena->open)
                return;
        steal_stop(h);
        list_for_each (it, &h->caches)
                cache_flush(list_entry(it, Cache, cache_link), h);
        heap_drain(h);
        arena_purge(h->arena);
        steal_resume(h);
}

/* ------------------------------------------------------------------------------------------------- disuse */

static uint64_t coarse_usec(void)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
        return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

void heap_decay(Heap *h)
{
        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++)
                drain_class(h, k, depot_end_period(h->depot, k));
        arena_purge(h->arena);
}

bool heap_tick(Heap *h)
{
        unsigned ticks = atomic_load_explicit(&h->ticks, memory_order_relaxed) + 1;
        uint64_t end, now;

        /* Threads may overlook each other's ticks: that does not matter. */
        atomic_store_explicit(&h->ticks, ticks, memory_order_relaxed);
        if (ticks % TICKS_PER_LOOK != 0)
                return false;
        now = coarse_usec();
        end = atomic_load(&h->period_end);
        if (now < end || !atomic_compare_exchange_strong(&h->period_end, &end, now + PERIOD_USEC))
                return false;
        if (end == 0)
                return false;
        heap_decay(h);
        return true;
}

/* --------------------------------------------------------------------------------------------------- fork */

void heap_stop_for_fork(Heap *h)
{
        steal_stop(h);
        if (!h->arena->open)
                return;
        list_for_each (it, &h->caches)
                cache_flush(list_entry(it, Cache, cache_link), h);
        heap_drain(h);
}

void heap_resume_after_fork(Heap *h)
{
        steal_resume(h);
}

void heap_before_fork(Heap *h)
{
        arena_before_fork(h->arena);
}

void heap_after_fork(Heap *h)
{
        arena_after_fork(h->arena);
}

void heap_forked(Heap *h, bool lives_on)
{
        if (!lives_on)
                heap_refuse(h, ESTALE);
        arena_forked(h->arena);
        if (h->depot)
                depot_forked(h->depot);
        caches_forked(h);
}
