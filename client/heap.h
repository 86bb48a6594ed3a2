/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The heap of a pool: caches of threads in front (cache.h), a depot between them (depot.h), one arena behind
 * (arena.h). This is what they share.
 *
 * A heap has a number that no other heap of the process ever has, and a cache carries the number of the heap
 * that its blocks are of. Fast paths compare the two and look at nothing else: a heap that has ended, is
 * revoked, or was inherited through fork() has HEAP_ID_NEVER from then on and is not matched by any cache,
 * and a cache that another thread has stopped (steal.h) has 0 and matches no heap.
 *
 * A full heap. When not even taking back what all threads have cached was enough, the same request is bound
 * to fail again until something is freed, and shall fail at once. So that the next free is noticed at no
 * cost to the others, the caches are shut: they have room for nothing, every free takes the slow path, and
 * the first one that does counts up `supply`.
 *
 * Locks, from the outside in: the owners' (cache.c), `caches_lock`, those of depot and arena.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "client/arena.h"
#include "client/depot.h"

#define HEAP_ID_NEVER UINT64_MAX

typedef struct Heap {
        /* What fast paths look at: one cache line. */
        _Atomic uint64_t id; /* that a cache must have to be used without asking; HEAP_ID_NEVER for none */
        uint8_t *base;
        uint64_t reserved; /* bytes of addresses */
        PageClass *map;
        uint64_t cache_id; /* that caches get */
        unsigned slot;     /* no other open heap of the process has it: the arena's index */
        atomic_int refuse; /* errno of allocations: 0, EINVAL for a raw pool, ESTALE for a dead one */

        Arena *arena;
        Depot *depot;
        _Atomic uint64_t size; /* bytes of memory: what a cache may hold depends on it */

        pthread_mutex_t caches_lock;
        List caches;
        unsigned n_caches;

        atomic_ulong supply;     /* counts up with whatever may let a refused request succeed */
        atomic_ulong full_since; /* the supply at that moment */
        atomic_size_t full_size; /* what was refused; SIZE_MAX: nothing was */

        atomic_uint ticks;           /* slow paths, to look at the clock now and then */
        _Atomic uint64_t period_end; /* of the depot */
        atomic_ulong n_steals;
} Heap;

/* A heap on an arena that is prepared and not yet open. Returns 0 or -ENOMEM. */
int heap_init(Heap *h, Arena *arena);

/* Open the arena, and be ready for allocations. Returns 0 or a negative errno, see arena_open(). */
int heap_open(Heap *h);

/* Forget all blocks, those in caches of other threads included. Takes what was initialised, open or not. */
void heap_deinit(Heap *h);

/* From now on every allocation fails with `error`, and nothing is ever freed. */
void heap_refuse(Heap *h, int error);

/* The pool has this much memory now. */
void heap_change_size(Heap *h, uint64_t size);

/* Something is there that was not before. */
static inline void heap_add_supply(Heap *h)
{
        (void)atomic_fetch_add_explicit(&h->supply, 1, memory_order_relaxed);
}

/* Was a request for that much refused, and nothing has changed since? */
static inline bool heap_is_full(Heap *h, size_t size)
{
        return size >= atomic_load_explicit(&h->full_size, memory_order_relaxed) &&
               atomic_load_explicit(&h->full_since, memory_order_relaxed) ==
                       atomic_load_explicit(&h->supply, memory_order_relaxed);
}

/* May caches not keep anything now? */
static inline bool heap_is_shut(Heap *h)
{
        return heap_is_full(h, SIZE_MAX - 1);
}

static inline uint64_t heap_offset(const Heap *h, const void *ptr)
{
        return (uint64_t)(uintptr_t)ptr - (uint64_t)(uintptr_t)h->base;
}

/* CLASS_NONE for what is certainly not a block. */
static inline unsigned heap_class_of(Heap *h, const void *ptr)
{
        uint64_t offset = heap_offset(h, ptr);

        return offset < h->reserved ? pagemap_get(h->map, offset) : CLASS_NONE;
}

/* Bytes in a block; 0 if it is none that the page map knows, or the heap is dead. */
size_t heap_block_size(Heap *h, const void *ptr);

/* Take back all that is cached anywhere, and have it merged. */
void heap_collect(Heap *h);

/* The same for the depot alone, and for what nobody needed for a while in it. Not merged. */
void heap_drain(Heap *h);
void heap_decay(Heap *h);

/* Called by slow paths, not busy: looks at a clock now and then. True when something was given up. */
bool heap_tick(Heap *h);

/*
 * Around fork(). One that shall live on in the child is emptied first, so that no thread that will not be
 * there has anything of it, and filled again last. That is done to all of those before the first heap is
 * locked: a busy thread may be busy with another.
 */
void heap_stop_for_fork(Heap *h);
void heap_before_fork(Heap *h);
void heap_after_fork(Heap *h);
void heap_resume_after_fork(Heap *h);
void heap_forked(Heap *h, bool lives_on);
