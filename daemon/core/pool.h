/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One client's volatile memory, as the core sees it: an id, an owner, a tenant, a store, and the receipts
 * for what it is charged. RESERVED -> READY <-> RESIZING -> RELEASING -> gone; pool_set_state() asserts each
 * step.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/quota.h"
#include "core/store.h"
#include "core/tenant.h"

#define POOL_UNIT (UINT64_C(2) << 20) /* bytes */
/* Far above any memory, far below any overflow: 2^46 bytes = 64 TiB. */
#define POOL_BYTES_MAX (UINT64_C(1) << 46)

typedef enum PoolState {
        POOL_RESERVED,
        POOL_READY,
        POOL_RESIZING,
        POOL_RELEASING,
        _POOL_STATE_MAX,
} PoolState;

bool pool_state_may_follow(PoolState from, PoolState to);

typedef struct Owner Owner;
typedef struct Pool Pool;

/* The process that pools belong to; it exists while it has pools or sessions. */
struct Owner {
        uint32_t uid;
        uint32_t gid;
        uint32_t pid;
        uint64_t start_time;
        uint64_t connection; /* with pid 0: the connection that the pools live with; else 0 */
        char command[16];
        uint32_t n_sessions;
        uint64_t alone_since; /* usec: when the last session went; 0 while there is one */
        bool gone;            /* the process has ended */
        List pools;           /* Pool.owner_link */
        List owner_link;      /* Broker.owners */
        void *userdata;       /* the edge's: its pidfd watch */
};

struct Pool {
        uint64_t id;
        uint64_t seq; /* creation order within this broker object: the cursor of lists */
        char name[RESULT_SUBJECT_MAX];
        Owner *owner;
        Tenant *tenant;
        Store *store;
        PoolState state;
        uint64_t size;    /* bytes backed: what is committed; while RESERVED: what was asked for */
        uint64_t pending; /* size that the operation under way makes of it; 0: there is none */
        Charge charge;    /* charge.bytes: size, or more while the pool grows */
        uint64_t length;  /* bytes of the file */
        uint64_t max;
        uint64_t target;       /* of a shrink that waits for the owner; 0: none */
        uint64_t target_since; /* usec: when the owner last gave something back */
        uint64_t created;      /* usec */
        uint64_t request_id;
        uint32_t gifts; /* give-backs committed, and 1; anything after an adoption without count; never 0 */
        uint64_t in_doubt; /* size that a lost give-back would have made; 0: none */
        uint64_t bad;      /* bytes that cannot be read any more, as the edge knows */
        bool busy;         /* pending is set: an operation is reserved and neither committed nor aborted */
        bool lost;         /* revoked, truncated or the like: the owner was or is to be told */
        uint64_t release_attempts;
        List owner_link;
        List broker_link; /* Broker.pools, by seq */
        void *userdata;
};

/* The step that is taken is one of RESERVED -> READY <-> RESIZING -> RELEASING; anything may be released. */
void pool_set_state(Pool *pool, PoolState state);

/* A size of whole units, at least one, at most POOL_BYTES_MAX. */
bool pool_size_is_valid(uint64_t size);

/* The file length that growing to `size` needs: the current length, or more when there are no holes left. */
uint64_t pool_length_for(const Pool *pool, uint64_t size);

/* For the core alone: an operation that makes the pool's size `pending` begins and ends. Ending it leads
 * from RESIZING back to READY, unless a target is still to be reached. */
void pool_begin(Pool *pool, uint64_t pending);
void pool_end(Pool *pool);
