/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The depot of a pool: free blocks on their way from threads that have too many to threads that have none.
 * They travel in batches, half of what a thread keeps, so that a producer and a consumer meet under a lock
 * once in many blocks, and nothing but pointers is copied. What nobody has asked for in a while goes back to
 * the arena (depot_end_period). And of a class there are no more than somebody has asked for in vain: a program
 * that lets blocks grow where they are frees other sizes than it allocates, and what is kept here of these
 * would keep it from using the same memory again.
 *
 * Pointers cost ordinary memory, so all batches together hold at most one for each DEPOT_BYTES_PER_BLOCK
 * bytes of the pool. How many bytes of the pool that is does not matter: all of it is taken back when the
 * pool is full.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/sizeclass.h"

#define DEPOT_BYTES_PER_BLOCK 512

typedef struct Batch Batch;
struct Batch {
        Batch *next;
        unsigned n;
        void *blocks[];
};

typedef struct DepotShelf {
        pthread_mutex_t lock;
        Batch *full;
        Batch *spare;        /* without blocks */
        atomic_uint n;       /* batches in `full` */
        unsigned n_lowest;   /* in this period */
        atomic_ulong wanted; /* blocks that were asked for when there was none; fewer when nobody asks */
        atomic_bool asked;   /* in this period */
        uint64_t n_blocks;
} DepotShelf;

typedef struct Depot {
        DepotShelf shelves[N_CLASSES];
        atomic_long room; /* blocks that still may be put here */
} Depot;

/* NULL when there is no memory. */
Depot *depot_new(void);
/* The blocks in it are forgotten. */
Depot *depot_free(Depot *d);

/* The pool has grown or shrunk by that many bytes. */
void depot_change_room(Depot *d, int64_t bytes);

/* That many blocks of the class had to come from the arena. */
void depot_want(Depot *d, unsigned class, unsigned n);

/* Put n blocks, at most sizeclass_batch(). False when there is no room for them, or nobody would want them. */
bool depot_put(Depot *d, unsigned class, void *const *blocks, unsigned n);

/* Take up to sizeclass_batch() blocks; returns how many there were. */
unsigned depot_take(Depot *d, unsigned class, void **blocks);

/*
 * End a period and begin a new one: how many batches of that class has nobody needed in all of it? Gives up
 * the memory of empty ones.
 */
unsigned depot_end_period(Depot *d, unsigned class);

/* How many blocks of that class there are. */
uint64_t depot_count(Depot *d, unsigned class);

/* In a child, where another thread may have held a lock: what is in it is lost. */
void depot_forked(Depot *d);
