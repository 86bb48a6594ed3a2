/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The front of a heap: for each thread and each pool that it uses, an array of free blocks per size class.
 * Allocating takes from the end of an array and freeing adds to it; no lock, no atomic operation, and the
 * blocks themselves are not touched.
 *
 * A thread finds its caches by the slots of the heaps, and the one that it used last at once. A cache belongs
 * to its thread: nobody else frees it. When its heap ends it becomes stale, and serves the next heap that
 * gets the slot.
 *
 * Whoever uses a cache says so (`busy`), since others may want to empty it: see steal.h. The flag is set and
 * cleared by plain stores; it is membarrier() on the other side that makes them seen. While a thread is busy
 * it takes no lock but those of the depot and the arena, so that waiting for it is short.
 *
 * In each array there is a NULL before the first place. So a thread that takes the last block sees whether
 * there was one, and who frees a block can compare it with the last one without looking whether there is one.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/heap.h"

/*
 * The arrays by class; those of classes that nobody caches are empty and full. What belongs to a class is not
 * together in a structure of its own, since the processor finds a pointer by the class without arithmetic.
 */
typedef struct Cache {
        _Atomic uint64_t id;      /* of the heap; 0: stopped, or stale */
        void **tops[N_CLASSES];   /* behind the last block */
        void **ends[N_CLASSES];   /* no blocks from here on, unless a batch is larger */
        void **firsts[N_CLASSES]; /* the first places */
        Heap *_Atomic heap;       /* NULL when stale */
        const atomic_int *busy;
        List cache_link;
        uint64_t fitted; /* the size of the heap that there is room for */
        bool shut;       /* there is room for nothing */
        void *memory;    /* that it lies in */
} Cache;

typedef struct ThreadCaches {
        atomic_int busy;
        bool leaving;    /* this thread has ended, but for its destructors */
        Cache *current;  /* never NULL */
        Cache **by_slot; /* ARENAS_MAX of them; never NULL */
} ThreadCaches;

/* Small, and found without a call: the library stays loadable by dlopen() as long as all of it is so little. */
extern __thread ThreadCaches thread_caches __attribute__((visibility("hidden"), tls_model("initial-exec")));

/* What is between the two may be seen by one thread at a time: this one, or one that has stopped it. */
static inline void cache_begin(ThreadCaches *t)
{
        atomic_store_explicit(&t->busy, 1, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
}

static inline void cache_end(ThreadCaches *t)
{
        atomic_store_explicit(&t->busy, 0, memory_order_release);
}

static inline uint64_t cache_id(Cache *c)
{
        return atomic_load_explicit(&c->id, memory_order_acquire);
}

/* The block on top, NULL when there is none. */
static inline void *cache_last(const Cache *c, unsigned class)
{
        return c->tops[class][-1];
}

static inline unsigned cache_count(const Cache *c, unsigned class)
{
        return (unsigned)(c->tops[class] - c->firsts[class]);
}

/*
 * This thread's cache for the heap, made if there is none; busy from then on until cache_end(). NULL, and
 * not busy, when the heap is dead, the thread has ended, or there is no memory.
 */
Cache *cache_enter(Heap *h);

/* A block of that class from the cache, the depot or the arena, in this order; NULL when there is none. */
void *cache_take(Cache *c, Heap *h, unsigned class);

/* Into the cache; what is oldest in it makes room if need be. */
void cache_put(Cache *c, Heap *h, unsigned class, void *block);

/* All blocks back to the arena. By its thread, or one that has stopped it. */
void cache_flush(Cache *c, Heap *h);

/* Make the room that the heap allows. */
void cache_fit(Cache *c, Heap *h);

/* The heap ends: make all its caches stale. */
void caches_forget(Heap *h);

/* Around fork(), outside of the locks of the heaps. */
void caches_before_fork(void);
void caches_after_fork(void);
/* In the child: threads are gone with what they had; our own forgets this heap. */
void caches_forked(Heap *h);
