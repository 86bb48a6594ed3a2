/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One jemalloc arena on one pool's memory. Its extents come from and go to the units of the pool through
 * hooks, and jemalloc keeps nothing that is free but what is dirty until arena_purge(); its metadata lie in
 * ordinary memory, so that no byte of the pool is spent on them and nothing of the pool is touched when it
 * is freed.
 *
 * `lock` protects the units. It is a leaf: the hooks take it with jemalloc's locks held, so nothing of
 * jemalloc may be called under it.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pmb_jemalloc.h"
#include "client/unit.h"

typedef struct Arena {
        extent_hooks_t hooks; /* jemalloc hands this back to the hooks: see from_hooks() */
        pthread_mutex_t lock;
        Units units;
        uint8_t *base;
        int flags;       /* for mallocx() and its kin */
        unsigned index;  /* jemalloc's number */
        bool open;       /* the jemalloc arena exists */
        bool closing;    /* extents come back for the last time */
        size_t purge[3]; /* mallctl names, looked up once */
        size_t small[5];
        size_t large[5];
} Arena;

/* Prepare the units for `reserved` bytes at `base`; none is backed. Returns 0 or -ENOMEM. */
int arena_init(Arena *a, void *base, uint64_t reserved, bool raw);

/* Make the heap. Returns 0, -ENOMEM, or -EMFILE when jemalloc has no more arenas (4094). */
int arena_open(Arena *a);

/* All blocks cease to exist. Takes what arena_init() prepared, opened or not. */
void arena_deinit(Arena *a);

/* Let jemalloc hand back what is dirty, merged as far as it goes. */
void arena_purge(Arena *a);

/* Bytes in live blocks, as usable sizes. */
uint64_t arena_allocated(Arena *a);

/* In a child, where another thread may have held the lock. */
void arena_forked(Arena *a);

static inline void arena_lock(Arena *a)
{
        (void)pthread_mutex_lock(&a->lock);
}

static inline void arena_unlock(Arena *a)
{
        (void)pthread_mutex_unlock(&a->lock);
}
