/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The back end of a heap: one jemalloc arena on one pool's memory. Its extents come from and go to the units
 * of the pool through hooks, and jemalloc keeps nothing that is free but what is dirty until arena_purge();
 * its metadata lie in ordinary memory, so that no byte of the pool is spent on them and nothing of the pool
 * is touched when it is freed.
 *
 * Blocks go out and come back in batches, of one class each, through one jemalloc cache that belongs to the
 * arena and to no thread: so no thread has to be asked when the arena ends. The page map says whose class a
 * block is; `n_out` counts what is out, so that figures need no help from jemalloc.
 *
 * Two locks. `heap_lock` is held for every call into jemalloc that concerns this arena. `lock` protects the
 * units; it is a leaf: the hooks take it with jemalloc's locks held, so nothing of jemalloc may be called
 * under it.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pmb_jemalloc.h"
#include "client/pagemap.h"
#include "client/sizeclass.h"
#include "client/unit.h"

#define ARENAS_MAX 4096 /* jemalloc has fewer */

typedef struct Arena {
        extent_hooks_t hooks; /* jemalloc hands this back to the hooks: see from_hooks() */
        pthread_mutex_t lock;
        Units units;
        uint8_t *base;
        uint64_t reserved; /* bytes of addresses */
        PageClass *map;    /* NULL for a raw pool */

        pthread_mutex_t heap_lock;
        unsigned index;  /* jemalloc's number, below ARENAS_MAX */
        unsigned cache;  /* and that of its cache */
        bool open;       /* the jemalloc arena exists */
        bool closing;    /* extents come back for the last time */
        uint64_t hidden; /* nothing from here on was ever hidden (watch.h) */
        size_t purge[3]; /* a mallctl name, looked up once */
        /* Blocks that somebody has. For CLASS_HUGE it is bytes; their number is CLASS_NONE's. */
        uint64_t n_out[N_CLASSES];
} Arena;

/* Prepare the units for `reserved` bytes at `base`; none is backed. Returns 0 or -ENOMEM. */
int arena_init(Arena *a, void *base, uint64_t reserved, bool raw);

/* Make the heap. Returns 0, -ENOMEM, or -EMFILE when jemalloc has no more arenas (4094). */
int arena_open(Arena *a);

/* All blocks cease to exist. Takes what arena_init() prepared, opened or not. */
void arena_deinit(Arena *a);

/*
 * Take up to `n` blocks of a class other than CLASS_HUGE; returns how many there were.
 */
unsigned arena_take(Arena *a, unsigned class, void **blocks, unsigned n);

/* Put back blocks of a class other than CLASS_HUGE. */
void arena_put(Arena *a, unsigned class, void *const *blocks, unsigned n);

/* Take one block of any size, with flags of mallocx() (alignment, zero). Returns NULL when there is none. */
void *arena_take_one(Arena *a, size_t size, int flags);

/* The same below that address alone; `size` is that of a class, or of a block of CLASS_HUGE. */
void *arena_take_lower(Arena *a, const void *than, size_t size);

/* Put back a block of CLASS_HUGE. False if it is none (any more). */
bool arena_put_huge(Arena *a, void *block);

/*
 * Take a page from the units themselves, behind jemalloc's back: what is free may be pages between slabs of other
 * blocks, and too few in a row for a slab of pages. Of CLASS_PAGE in the page map; it is counted as one of its size.
 */
void *arena_take_page(Arena *a);

/* Put it back. False if it is none (any more). */
bool arena_put_page(Arena *a, void *block);

/*
 * Let a block of LARGE_SIZE_MIN or more become one of `size`, which is not less either, where it is. False
 * if that cannot be done; otherwise its class is what the page map says.
 */
bool arena_resize(Arena *a, void *block, size_t size);

/* All of n_out, of one moment. */
void arena_count(Arena *a, uint64_t n_out[N_CLASSES]);

/* Bytes in a block of CLASS_HUGE, 0 if it is none. */
size_t arena_size_huge(Arena *a, const void *block);

/* Let jemalloc hand back what is free, merged as far as it goes. */
void arena_purge(Arena *a);

/* Nothing of it is hidden any more (watch.h). */
void arena_show(Arena *a);

/*
 * Around fork(): no call into jemalloc is under way. In the child another thread may have held `lock`, which
 * is made anew.
 */
void arena_before_fork(Arena *a);
void arena_after_fork(Arena *a);
void arena_forked(Arena *a);

static inline void arena_lock(Arena *a)
{
        (void)pthread_mutex_lock(&a->lock);
}

static inline void arena_unlock(Arena *a)
{
        (void)pthread_mutex_unlock(&a->lock);
}
