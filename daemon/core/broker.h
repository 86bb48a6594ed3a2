/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The broker: every decision, no system call. It holds no fd, path, clock, socket or log; time, ids and
 * identities are given to it.
 *
 * Decide -> do -> record. A verb that needs the kernel comes in two halves: broker_reserve_*() checks,
 * charges and marks the pool busy; the edge has the provisioner do it; broker_commit_*() or broker_abort_*()
 * records how it went and gives back what was charged too much. Between the halves the pool refuses every
 * other operation as BUSY, but for the start of a release, which then waits for the commit or abort.
 *
 * Verbs return RESULT_OK or the code of the refusal, which then carries its numbers; on a refusal nothing
 * has changed. Running out of memory is RESULT_FAILED with ENOMEM. Misuse by the edge (committing what was
 * not reserved, or with a length that cannot be) is an assertion: what the provisioner answers is checked by
 * the edge.
 *
 * Tenants that are not configured any more and stores that are not served any more go with their last pool:
 * after broker_abort_create() and broker_finish_release() no pointer that came from the pool is good.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/policy.h"
#include "core/pool.h"
#include "core/store.h"
#include "core/tenant.h"
#include "proto/result.h"

typedef struct Broker Broker;

typedef struct BrokerFigures {
        uint32_t pools;
        uint32_t releasing;
        uint64_t bytes; /* charged */
        uint64_t refusals;
} BrokerFigures;

/* -------------------------------------------------------------------------------- life and configuration */

/* 0 or -ENOMEM. Until the first broker_set_stores() it is as after broker_stores_lost(). */
int broker_new(Broker **ret);
/* Frees all pools, owners, tenants and stores without any further ado. NULL-safe, returns NULL. */
Broker *broker_free(Broker *broker);

/*
 * Replace the tenants, matched in this order, first match wins; the strings are copied. Pools stay with the
 * tenant of the same name; a tenant that is no longer configured stays, takes nothing new, and goes with its
 * last pool. Duplicate names are the caller's mistake (asserted). -ENOMEM changes nothing.
 */
int broker_set_tenants(Broker *broker, const TenantConfig *tenants, size_t n);

/*
 * What the provisioner serves now. Matched by name; a store that is gone and still has pools stays,
 * unavailable and with index STORE_INDEX_NONE, until its last pool goes. Duplicate names are asserted.
 * -ENOMEM changes nothing.
 */
int broker_set_stores(Broker *broker, const StoreInfo *stores, size_t n);
/* The provisioner is away: every store is unavailable until the next broker_set_stores(); creates are
 * refused with RESULT_RETRY. */
void broker_stores_lost(Broker *broker);
/* One store is not available for now, or still not but for another reason. */
void broker_set_unavailable(Broker *broker, const char *store, const char *reason);

/* No new pools for the store, or new ones again. STORE_UNKNOWN. */
Result broker_drain_store(Broker *broker, const char *store, bool drained, Refusal *ret_refusal);
/* What the configuration says about that. It counts when it is another than before; what was said at run time stays until
 * then. A store that is not known is left alone. */
void broker_configure_drained(Broker *broker, const char *store, bool drained);
/* Other limits than the configured ones for a tenant that is configured: see tenant.h. TENANT_UNKNOWN, and INVALID for
 * limits that no configuration could have, or bits that are none or in both. */
Result broker_override_limits(Broker *broker, const char *tenant, unsigned set, unsigned clear,
        const TenantLimits *limits, Refusal *ret_refusal);
/* What bytes_max and percent come to over the stores that are available now; UINT64_MAX: no limit. */
uint64_t broker_bytes_limit(const Broker *broker, const Tenant *tenant);

const List *broker_stores(const Broker *broker);  /* Store.store_link */
const List *broker_tenants(const Broker *broker); /* see broker_tenant_from_link(), configuration order */
Tenant *broker_tenant_from_link(const List *link);
const List *broker_pools(const Broker *broker);  /* Pool.broker_link, ascending seq */
const List *broker_owners(const Broker *broker); /* Owner.owner_link */
BrokerFigures broker_figures(const Broker *broker);
Store *broker_find_store(const Broker *broker, const char *name);
Pool *broker_find_pool(const Broker *broker, uint64_t id); /* NULL if there is none */

/* ------------------------------------------------------------------------------------------------ owners */

/* The owner of this process, made if there is none; counts a session (broker_owner_detach() takes it back).
 * For pid 0 `connection` (non-zero) makes the owner that connection's alone; otherwise it is ignored.
 * -ENOMEM. */
int broker_owner_attach(
        Broker *broker, const PeerIdentity *peer, uint64_t connection, const char *command, Owner **ret);
/* A session ended. The owner goes when it has no pools left either. Returns true if the owner still exists
 * (it then has alone_since = now when that was its last session). */
bool broker_owner_detach(Broker *broker, Owner *owner, uint64_t now_usec);
/* Its process has ended. Whoever comes now is somebody else, also with the same pid and, since start times are told in
 * ticks of 10 ms, the same start time. */
void broker_owner_gone(Broker *broker, Owner *owner);
/* Called after pools went: frees an owner without sessions and pools; true if it did. */
bool broker_owner_collect(Broker *broker, Owner *owner);

/* ------------------------------------------------------------------------------------------------ create */

/* CreateRequest.max: as much as the tenant may ever have in one pool of the store that is chosen. */
#define BROKER_MAX_OF_QUOTA UINT64_MAX

typedef struct CreateRequest {
        const PeerIdentity *peer;
        Owner *owner;
        uint64_t id; /* random, non-zero, unused (the edge asks broker_find_pool() first) */
        uint64_t size;
        uint64_t max;      /* 0: size; BROKER_MAX_OF_QUOTA */
        const char *store; /* "": any permitted one, the one with the most free bytes first */
        const char *name;  /* "" or a valid label */
        uint64_t request_id;
        uint64_t now_usec;
} CreateRequest;

/* INVALID (size or max out of range or no multiple of a unit, max < size), NO_TENANT, STORE_UNKNOWN,
 * STORE_UNAVAILABLE, STORE_DRAINED, RETRY (instead of UNAVAILABLE, and of STORE_UNKNOWN while no store is known at all, when the
 * provisioner is away), QUOTA_POOL_SIZE, QUOTA_POOLS, QUOTA_BYTES, STORE_FULL; checked in this order. When
 * no store was named and none has room, the refusal is that of the one with the most free bytes. */
Result broker_reserve_create(Broker *broker, const CreateRequest *request, Pool **ret, Refusal *ret_refusal);
/* The owner's pool that was made, or is being made, by this request (non-zero), unless it is being released;
 * NULL if there is none. */
Pool *broker_find_request(const Owner *owner, uint64_t request_id);
/* The pool exists: length, at least its size, is its file's. */
void broker_commit_create(Broker *broker, Pool *pool, uint64_t length);
/* It could not be made; the pool is freed, even if its release was begun meanwhile. */
void broker_abort_create(Broker *broker, Pool *pool);

/* ------------------------------------------------------------------------------------------------ resize */

/* Grow to `size` (absolute). Equal to the current size: RESULT_OK with *ret_noop true and nothing reserved.
 * INVALID (no valid size), POOL_MAX, BUSY (another operation, or a shrink target is set), INVALID (below the
 * current size), STORE_UNKNOWN (the tenant may not use the store any more), STORE_UNAVAILABLE or RETRY,
 * QUOTA_POOL_SIZE, QUOTA_BYTES, STORE_FULL; checked in this order. */
Result broker_reserve_grow(Broker *broker, Pool *pool, uint64_t size, bool *ret_noop, Refusal *ret_refusal);
/* length: of the file now, at least the new size. */
void broker_commit_grow(Broker *broker, Pool *pool, uint64_t length);
void broker_abort_grow(Broker *broker, Pool *pool);

/* The owner gives `units` units back (the edge has checked the ranges against the length). INVALID when
 * fewer than one unit would stay backed, BUSY. The charge shrinks at the commit only. */
Result broker_reserve_shrink(Broker *broker, Pool *pool, uint64_t units, Refusal *ret_refusal);
void broker_commit_shrink(Broker *broker, Pool *pool, uint64_t now_usec);
void broker_abort_shrink(Broker *broker, Pool *pool);
/* As abort; but perhaps it was done: the next broker_correct() finds out by the size, as nothing else has
 * changed it. */
void broker_lose_shrink(Broker *broker, Pool *pool);

/* An administrator wants the pool at `size` < its size: the pool is RESIZING until that is reached or
 * broker_end_target(). INVALID, BUSY. */
Result broker_set_target(Broker *broker, Pool *pool, uint64_t size, uint64_t now_usec, Refusal *ret_refusal);
/* Reached (size <= target) or given up: back to READY, or after the running give-back; nothing if there is
 * none. */
void broker_end_target(Broker *broker, Pool *pool);

/* ----------------------------------------------------------------------------------------------- release */

/* Begin to release: state RELEASING, still charged, no target any more. True if the edge may have it done at
 * once, false if it must wait for the commit or abort of a running operation (broker_release_is_due() says
 * so then) or it was begun before. */
bool broker_begin_release(Broker *broker, Pool *pool);
/* RELEASING and not busy. */
bool broker_release_is_due(const Pool *pool);
/* The memory is back: uncharge and free the pool. The owner is not collected: see broker_owner_collect(). */
void broker_finish_release(Broker *broker, Pool *pool);

/* ------------------------------------------------------------------------------------------------- adopt */

/* What the broker of before wrote down, and what the kernel knows: a pool found after a restart. */
typedef struct AdoptRequest {
        uint64_t id;
        const char *store;
        const char *tenant; /* name; a tenant that is not configured any more is kept as one that takes
                               nothing new */
        const char *name;
        uint64_t size;
        uint64_t length;
        uint64_t max;
        uint64_t created;
        uint64_t request_id;
        uint32_t gifts; /* as counted before; non-zero */
        Owner *owner;
        bool releasing;
} AdoptRequest;

/* Charges without asking: what exists is charged, even beyond a limit that was lowered meanwhile, and of a
 * pool whose release was interrupted any size and length is believed. -EINVAL, -EEXIST, -ENOENT (store),
 * -ENOMEM, -EOVERFLOW (numbers that cannot be). */
int broker_adopt(Broker *broker, const AdoptRequest *request, Pool **ret);

/* After a restart of the provisioner the kernel's figures count: an operation that was cut off may have been
 * carried out or not. The pool is not busy. Charged without asking, as adopted pools are. -EINVAL for
 * figures that no pool can have, -EOVERFLOW; then nothing has changed. */
int broker_correct(Broker *broker, Pool *pool, uint64_t size, uint64_t length);

/* For tests and debugging: true if every charge adds up (pools against tenants, stores and counts). */
bool broker_is_consistent(const Broker *broker);
