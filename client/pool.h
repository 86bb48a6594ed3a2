/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A pool: the mapping, the arena on it, and what the daemon has said about it.
 *
 * Locks, from the outside in: `change_lock` (one change of size at a time; held while the daemon works), the
 * lock of the connection, those of the heap (heap.h), the lock of the arena.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/arena.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "client/connection.h"
#include "client/heap.h"
#include "client/mapping.h"
#include "pmbroker.h"
#include "proto/result.h"
#include "proto/wire.h"

/* Why the last allocation failed; the figures are those of that moment. */
typedef struct HeapFull {
        uint64_t asked; /* bytes; 0: nothing failed since the last refusal of the daemon */
        uint64_t size;  /* of the pool */
        uint64_t taken; /* by live blocks, after all that was cached was taken back */
        uint64_t available;
        uint64_t largest; /* free range */
} HeapFull;

/* What somebody has to do about the pool, outside of locks. */
enum {
        POOL_RESIZED = 1u << 0,
        POOL_RECLAIM = 1u << 1,
        POOL_REVOKED = 1u << 2,
        POOL_SETTLE = 1u << 3,
        POOL_IDLE = 1u << 4,
        POOL_REVOKING = 1u << 5,
        POOL_DAMAGED = 1u << 6,
};

/* What becomes of a pool in a child. */
typedef enum OnFork {
        ON_FORK_DIE,
        ON_FORK_COPY,    /* lives on in a copy ... */
        ON_FORK_INHERIT, /* ... which is ordinary memory, and lives on by itself in further children */
        ON_FORK_SHARE,   /* raw: the same memory */
} OnFork;

struct pmb_pool {
        Heap heap; /* first: its first line is what fast paths look at */
        Arena arena;
        Mapping mapping; /* under the lock of the connection, where it changes */
        struct pmb_client *client;

        bool raw;
        OnFork on_fork; /* set before pool_attach() */
        atomic_bool closing;

        uint64_t id;
        uint64_t max_size;
        uint64_t page_size;
        char store[WIRE_STRING_MAX + 1];
        char tenant[WIRE_STRING_MAX + 1];
        char name[WIRE_STRING_MAX + 1];

        /* Under the lock of the connection, and atomic for those who only look. */
        List pool_link;
        bool ready;    /* the application has it: it may be told about it */
        unsigned pins; /* the dispatcher is at it: closing waits */
        unsigned todo;
        uint64_t reclaim_target;
        uint64_t grace_usec;   /* of POOL_REVOKING: as the daemon told it */
        uint64_t damaged_at;   /* of POOL_DAMAGED, likewise */
        _Atomic uint64_t size; /* as the daemon last said */
        _Atomic uint64_t length;
        uint64_t growing_to; /* a request of our own is under way: reaching that is no news; 0: none */
        uint32_t gifts;      /* as the daemon last counted; 0: it does not. Under change_lock */

        bool grows;                           /* by itself: see grow.h */
        uint64_t grow_pause_usec;             /* change_lock */
        uint64_t idle_bytes;                  /* change_lock: what was free at the last look */
        atomic_uint_fast64_t grow_not_before; /* usec: after a refusal */

        pthread_mutex_t change_lock;
        struct {
                atomic_uint_fast64_t full, shape, size, misuse, dead;
        } refused; /* allocations, by cause */
        atomic_uint_fast64_t given_back;

        pthread_mutex_t refusal_lock;
        Refusal refusal; /* the daemon's last one */
        HeapFull full;
};

/*
 * Make a pool without memory: reserve `max_size` bytes of addresses, or less, but not less than `size`. If
 * that is 0, pool_reserve() does it later. `client` may be NULL, then the pool is never known to a daemon;
 * otherwise it takes a reference. Returns 0 or a negative errno.
 */
int pool_new(struct pmb_client *client, uint64_t size, uint64_t max_size, bool raw, struct pmb_pool **ret);
int pool_reserve(struct pmb_pool *pool, uint64_t size, uint64_t max_size);

/* Release it here; says nothing to the daemon. Returns NULL. */
struct pmb_pool *pool_free(struct pmb_pool *pool);

DEFINE_CLEANUP(struct pmb_pool, pool_free);

/* Give it its memory: a file of `length` bytes of which the first `size` are backed. Owns `fd`. */
int pool_attach(struct pmb_pool *pool, int fd, uint64_t size, uint64_t length);

/* The daemon has said how large the pool is now. Lock of the connection held, if there is one. */
void pool_told_size(struct pmb_pool *pool, uint64_t size, uint64_t length);

/* Remember why the daemon refused. Takes a refusal that is none. */
void pool_note_refusal(struct pmb_pool *pool, const Refusal *refusal);

/* Closed pools that are still known as such. */
#define POOLS_BURIED 64

/* Dead in this process: revoked, inherited, or closed. */
static inline bool pool_is_dead(struct pmb_pool *pool)
{
        return atomic_load(&pool->heap.refuse) == ESTALE;
}

/* The number of backed units has changed, under no lock of the arena. */
void pool_units_changed(struct pmb_pool *pool);

/* The heap has given up what nobody needed for a while. */
void pool_idle(struct pmb_pool *pool);

/*
 * Give back free units until the size is `target`, as far as there are any. Returns the bytes given back or
 * an errno.
 */
int64_t pool_give_back_to(struct pmb_pool *pool, uint64_t target);

static inline void pool_unlock_change(pthread_mutex_t **m)
{
        (void)pthread_mutex_unlock(*m);
}

/* One change of size at a time, to the end of the block. */
#define HOLD_CHANGE_LOCK(pool)                                                                   \
        _cleanup_(pool_unlock_change) pthread_mutex_t *change_lock_held_ = &(pool)->change_lock; \
        (void)pthread_mutex_lock(change_lock_held_)

/* Give back what was free at the last look and still is, if it is much. */
void pool_give_back_idle(struct pmb_pool *pool);

/* Tell the daemon that a pool is not wanted; one that is gone already is a success. */
int pool_destroy_id(struct pmb_client *client, uint64_t id, unsigned call_flags);

/* Are there units whose giving back was never answered? Ask again about them. */
bool pool_has_unsettled(struct pmb_pool *pool);
void pool_settle(struct pmb_pool *pool);

/* In a child. Where `may_copy` is not set, what would be copied dies. */
void pool_forked(struct pmb_pool *pool, bool may_copy);
