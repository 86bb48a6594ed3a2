/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What is inside a broker; its verbs are spread over broker*.c and owner.c by noun. */

#define HASH_NONFATAL_OOM 1 /* an entry that could not be added has by_*.tbl NULL */
#include <uthash.h>

#include "core/broker.h"
#include "core/tenant-internal.h"

typedef struct PoolEntry {
        Pool pool;
        UT_hash_handle by_id;
} PoolEntry;

/* One process, or for pid 0 one connection. Without padding: it is hashed and compared as bytes. */
typedef struct OwnerKey {
        uint64_t start_time;
        uint64_t connection;
        uint32_t uid;
        uint32_t pid;
} OwnerKey;
_Static_assert(sizeof(OwnerKey) == 24, "no padding");

typedef struct OwnerEntry {
        Owner owner;
        OwnerKey key;
        UT_hash_handle by_key;
} OwnerEntry;

struct Broker {
        List tenants; /* Tenant.tenant_link: as configured, then the retired ones */
        List stores;  /* Store.store_link: as configured, then those that are gone */
        List pools;   /* Pool.broker_link */
        List owners;  /* Owner.owner_link */
        PoolEntry *pools_by_id;
        OwnerEntry *owners_by_key;
        uint64_t last_seq;
        uint64_t last_account;
        uint64_t refusals;
        bool stores_lost; /* the provisioner is away, or has not come yet */
};

/* Counts refusals on their way out, for the tenant too (NULL: not known). */
Result broker_answer(Broker *broker, Tenant *tenant, Result result);

Tenant *broker_find_tenant(const Broker *broker, const char *name);

/* A pool without tenant, store and charge, in state RESERVED; NULL when out of memory. */
Pool *broker_add_pool(Broker *broker, uint64_t id, Owner *owner, const char *name);
/* Gives its charge back and frees it, and with it a retired tenant or a store that is gone, if it was
 * their last. */
void broker_remove_pool(Broker *broker, Pool *pool);

/* NULL-safe like all destructors; the owner has no pools. */
Owner *broker_free_owner(Broker *broker, Owner *owner);
