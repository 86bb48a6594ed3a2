/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The slow half of the caches of threads: how they come to be, are filled and emptied, and end.
 *
 * `owners_lock` is held by whoever follows a cache to its heap without being a user of the heap: a thread
 * that ends and gives back what it has, against the end of the heap, which makes `heap` NULL under the same
 * lock.
 */

#include "client/cache.h"

#include <stddef.h>
#include <string.h>

#include "client/internal.h"
#include "client/steal.h"
#include "client/watch.h"

static Cache no_cache; /* matches no heap */

static Cache *no_caches[ARENAS_MAX];

__thread ThreadCaches thread_caches = {.current = &no_cache, .by_slot = no_caches};

static pthread_mutex_t owners_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t exit_key;
static bool has_exit_key;

/* ------------------------------------------------------------------------------------------------ blocks */

/* Oldest first, to the depot while it has room. */
static void give_away(Heap *h, unsigned class, void **blocks, unsigned n)
{
        unsigned batch = sizeclass_batch(class);

        while (n > 0) {
                unsigned k = n < batch ? n : batch;

                if (!depot_put(h->depot, class, blocks, k))
                        arena_put(h->arena, class, blocks, k);
                blocks += k;
                n -= k;
        }
}

static unsigned room(const Cache *c, unsigned class)
{
        return (unsigned)(c->ends[class] - c->firsts[class]);
}

/* Single blocks of the sizes that memory is short of first; otherwise half a bin. */
static unsigned refill_count(const Cache *c, unsigned class)
{
        unsigned half = room(c, class) / 2, batch = sizeclass_batch(class);

        if (class_sizes[class] > LARGE_SIZE_MIN || half == 0)
                return 1;
        return half < batch ? half : batch;
}

/* So that using it after it was freed is seen for as long as possible. */
static void *take_oldest(Cache *c, unsigned class)
{
        void **first = c->firsts[class], *block = *first;

        c->tops[class]--;
        memmove(first, first + 1, cache_count(c, class) * sizeof(*first));
        return block;
}

void *cache_take(Cache *c, Heap *h, unsigned class)
{
        if (!cache_last(c, class)) {
                unsigned n = depot_take(h->depot, class, c->tops[class]);

                if (n == 0) {
                        n = arena_take(h->arena, class, c->tops[class], refill_count(c, class));
                        if (n == 0)
                                return NULL;
                        depot_want(h->depot, class, n);
                }
                c->tops[class] += n;
        }
        return watch_is_on ? take_oldest(c, class) : *--c->tops[class];
}

void cache_put(Cache *c, Heap *h, unsigned class, void *block)
{
        if (c->tops[class] >= c->ends[class]) {
                unsigned n = cache_count(c, class), half = n - n / 2;
                void **first = c->firsts[class];

                if (room(c, class) == 0) {
                        give_away(h, class, first, n);
                        c->tops[class] = first;
                        give_away(h, class, &block, 1);
                        return;
                }
                give_away(h, class, first, half);
                memmove(first, first + half, (n - half) * sizeof(*first));
                c->tops[class] -= half;
        }
        *c->tops[class]++ = block;
}

void cache_flush(Cache *c, Heap *h)
{
        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++) {
                unsigned n = cache_count(c, k);

                if (n > 0)
                        arena_put(h->arena, k, c->firsts[k], n);
                c->tops[k] = c->firsts[k];
        }
}

void cache_fit(Cache *c, Heap *h)
{
        uint64_t size = atomic_load_explicit(&h->size, memory_order_relaxed);
        bool shut = heap_is_shut(h);

        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++)
                c->ends[k] = c->firsts[k] + (shut ? 0 : sizeclass_capacity(k, size));
        c->fitted = size;
        c->shut = shut;
}

/* -------------------------------------------------------------------------------------------------- life */

/*
 * Where in its page a cache begins. The processor first tells lines apart by their place in a page. Were what
 * every call looks at in the heap, or in the thread, at the same place as what it looks at in the cache, then
 * calls would take 4 % longer, and 1.7 times as long in one process of twenty, after what addresses it got.
 * One that serves another heap later stays where it is.
 */
#define PAGE ((size_t)4096)
#define LINE ((size_t)64)
#define USED ((offsetof(Cache, firsts) + LINE - 1) / LINE * LINE) /* by every call; less than half a page */

static bool would_meet(size_t place, const void *other)
{
        return ((uintptr_t)other / LINE * LINE - place) % PAGE < USED;
}

static size_t place_in_page(const Heap *h)
{
        size_t place = internal_stagger();

        while (would_meet(place, h) || would_meet(place, &thread_caches))
                place = (place + LINE) % PAGE;
        return place;
}

/* With places for as much as any heap allows. */
static Cache *cache_new(const Heap *h)
{
        size_t places = 0;
        static void *nothing[1];
        void **end = nothing + 1, **place;
        uint8_t *memory;
        Cache *c;

        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++)
                places += 1 + sizeclass_room(k);
        /* Not zeroed: most places are never used. */
        memory = internal_alloc_dirty(PAGE + sizeof(*c) + places * sizeof(*place));
        if (!memory)
                return NULL;
        c = (Cache *)(void *)(memory + place_in_page(h));
        *c = (Cache){
                .tops = {[CLASS_NONE] = end, [CLASS_HUGE] = end, [CLASS_PAGE] = end},
                .ends = {[CLASS_NONE] = end, [CLASS_HUGE] = end, [CLASS_PAGE] = end},
                .busy = &thread_caches.busy,
                .memory = memory,
        };
        place = (void **)(void *)(c + 1);
        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++) {
                *place++ = NULL;
                c->tops[k] = c->ends[k] = c->firsts[k] = place;
                place += sizeclass_room(k);
        }
        list_init(&c->cache_link);
        return c;
}

/* What is in it belongs to the heap, or to one that has ended. */
static void cache_link(Cache *c, Heap *h)
{
        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++)
                c->tops[k] = c->firsts[k];
        cache_fit(c, h);
        (void)pthread_mutex_lock(&h->caches_lock);
        atomic_store_explicit(&c->heap, h, memory_order_relaxed);
        atomic_store_explicit(&c->id, h->cache_id, memory_order_release);
        list_append(&h->caches, &c->cache_link);
        h->n_caches++;
        (void)pthread_mutex_unlock(&h->caches_lock);
}

static bool thread_can_leave(ThreadCaches *t);

static bool attach(ThreadCaches *t, Heap *h)
{
        Cache *c;

        if (t->leaving)
                return false;
        if (t->by_slot == no_caches) {
                Cache **by_slot = internal_alloc(ARENAS_MAX * sizeof(*by_slot));

                if (!by_slot)
                        return false;
                t->by_slot = by_slot;
                if (!thread_can_leave(t)) {
                        t->by_slot = no_caches;
                        internal_free(by_slot);
                        return false;
                }
        }
        c = t->by_slot[h->slot];
        if (!c)
                c = cache_new(h);
        if (!c)
                return false;
        cache_link(c, h);
        t->by_slot[h->slot] = c;
        return true;
}

Cache *cache_enter(Heap *h)
{
        ThreadCaches *t = &thread_caches;

        for (;;) {
                Cache *c = t->by_slot[h->slot];

                if (atomic_load_explicit(&h->refuse, memory_order_relaxed) != 0)
                        return NULL;
                if (c && atomic_load_explicit(&c->heap, memory_order_relaxed) == h) {
                        t->current = c;
                        cache_begin(t);
                        steal_fence();
                        if (cache_id(c) == h->cache_id) {
                                if (c->fitted != atomic_load_explicit(&h->size, memory_order_relaxed) ||
                                        (c->shut && !heap_is_shut(h)))
                                        cache_fit(c, h);
                                return c;
                        }
                        cache_end(t);
                        /* Somebody has stopped it: wait until he is done. */
                        (void)pthread_mutex_lock(&h->caches_lock);
                        (void)pthread_mutex_unlock(&h->caches_lock);
                        continue;
                }
                if (!attach(t, h))
                        return NULL;
        }
}

/* ------------------------------------------------------------------------------------------------ leaving */

/* Blocks go where other threads find them; the heap may end in the very moment. */
static void cache_leave(Cache *c)
{
        Heap *h = atomic_load_explicit(&c->heap, memory_order_relaxed);

        if (h) {
                (void)pthread_mutex_lock(&h->caches_lock);
                for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++)
                        give_away(h, k, c->firsts[k], cache_count(c, k));
                list_unlink(&c->cache_link);
                h->n_caches--;
                (void)pthread_mutex_unlock(&h->caches_lock);
        }
        internal_free(c->memory);
}

/* Destructors that run after this one may allocate and free: without a cache, so that nothing is left. */
static void on_thread_exit(void *userdata)
{
        ThreadCaches *t = userdata;

        t->leaving = true;
        t->current = &no_cache;
        (void)pthread_mutex_lock(&owners_lock);
        for (unsigned i = 0; i < ARENAS_MAX; i++)
                if (t->by_slot[i])
                        cache_leave(t->by_slot[i]);
        (void)pthread_mutex_unlock(&owners_lock);
        internal_free(t->by_slot);
        t->by_slot = no_caches;
}

static void make_exit_key(void)
{
        has_exit_key = pthread_key_create(&exit_key, on_thread_exit) == 0;
}

static bool thread_can_leave(ThreadCaches *t)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void)pthread_once(&once, make_exit_key);
        return has_exit_key && pthread_setspecific(exit_key, t) == 0;
}

void caches_forget(Heap *h)
{
        ThreadCaches *t = &thread_caches;
        Cache *own = t->by_slot[h->slot];

        (void)pthread_mutex_lock(&owners_lock);
        (void)pthread_mutex_lock(&h->caches_lock);
        if (own && atomic_load_explicit(&own->heap, memory_order_relaxed) != h)
                own = NULL;
        list_for_each_safe (it, &h->caches) {
                Cache *c = list_entry(it, Cache, cache_link);

                atomic_store_explicit(&c->id, 0, memory_order_relaxed);
                atomic_store_explicit(&c->heap, NULL, memory_order_relaxed);
                list_unlink(it);
        }
        h->n_caches = 0;
        (void)pthread_mutex_unlock(&h->caches_lock);
        (void)pthread_mutex_unlock(&owners_lock);
        if (own) {
                t->by_slot[h->slot] = NULL;
                if (t->current == own)
                        t->current = &no_cache;
                internal_free(own->memory);
        }
}

/* -------------------------------------------------------------------------------------------------- fork */

void caches_before_fork(void)
{
        (void)pthread_mutex_lock(&owners_lock);
}

void caches_after_fork(void)
{
        (void)pthread_mutex_unlock(&owners_lock);
}

void caches_forked(Heap *h)
{
        ThreadCaches *t = &thread_caches;
        Cache *own = t->by_slot[h->slot];

        (void)pthread_mutex_init(&h->caches_lock, NULL);
        list_init(&h->caches);
        h->n_caches = 0;
        if (own && atomic_load_explicit(&own->heap, memory_order_relaxed) == h) {
                atomic_store_explicit(&own->id, 0, memory_order_relaxed);
                atomic_store_explicit(&own->heap, NULL, memory_order_relaxed);
                list_init(&own->cache_link);
        }
}
