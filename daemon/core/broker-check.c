/* SPDX-License-Identifier: BSD-3-Clause */

/* Adding everything up again from the pools: what the receipts left behind must be the same. */

#include "core/broker-internal.h"

static bool pool_is_consistent(const Broker *broker, const Pool *pool)
{
        uint64_t bytes = pool->size;

        if (pool->busy && pool->pending > pool->size)
                bytes = pool->pending;
        if (broker_find_pool(broker, pool->id) != pool || pool->seq > broker->last_seq)
                return false;
        if (pool->charge.tenant != pool->tenant || pool->charge.store != pool->store)
                return false;
        if (!pool->charge.share || pool->charge.share != tenant_find_share(pool->tenant, pool->store))
                return false;
        if (pool->charge.bytes != bytes || pool->busy != (pool->pending != 0))
                return false;
        switch (pool->state) {
        case POOL_RESERVED:
                return pool->busy && pool->pending == pool->size && pool->length == 0 && pool->target == 0;
        case POOL_READY:
                return !pool->busy && pool->length >= pool->size && pool->target == 0;
        case POOL_RESIZING:
                return (pool->busy || pool->target != 0) && pool->length >= pool->size;
        case POOL_RELEASING:
                return pool->target == 0;
        case _POOL_STATE_MAX:
                break;
        }
        return false;
}

static bool store_is_consistent(const Broker *broker, const Store *store)
{
        uint64_t bytes = 0;
        uint32_t n = 0;

        list_for_each (it, &broker->pools) {
                const Pool *pool = list_entry(it, Pool, broker_link);

                if (pool->store != store)
                        continue;
                bytes += pool->charge.bytes;
                n++;
        }
        if (store->gone && (n == 0 || store->info.available))
                return false;
        return store->charged == bytes && store->n_pools == n;
}

static bool share_is_consistent(const Broker *broker, const Tenant *tenant, const Share *share)
{
        uint64_t bytes = 0;
        uint32_t n = 0;

        list_for_each (it, &broker->pools) {
                const Pool *pool = list_entry(it, Pool, broker_link);

                if (pool->tenant != tenant || pool->store != share->store)
                        continue;
                bytes += pool->charge.bytes;
                n++;
        }
        return n > 0 && share->bytes == bytes && share->n_pools == n;
}

/* Every pool is in one share, and each share holds its own pools: then the tenant's total is their sum. */
static bool tenant_is_consistent(const Broker *broker, const Tenant *tenant)
{
        uint64_t bytes = 0;
        uint32_t n = 0;

        list_for_each (it, &tenant->shares) {
                const Share *share = list_entry(it, Share, share_link);

                if (!share_is_consistent(broker, tenant, share))
                        return false;
                bytes += share->bytes;
                n += share->n_pools;
        }
        if (tenant->retired && n == 0)
                return false;
        return tenant->bytes == bytes && tenant->n_pools == n;
}

static bool owner_is_consistent(const Owner *owner, size_t *n_pools)
{
        uint64_t seq = 0;
        size_t n = 0;

        list_for_each (it, &owner->pools) {
                const Pool *pool = list_entry(it, Pool, owner_link);

                if (pool->owner != owner || pool->seq <= seq)
                        return false;
                seq = pool->seq;
                n++;
        }
        *n_pools += n;
        return owner->n_sessions > 0 ? owner->alone_since == 0 : n > 0;
}

bool broker_is_consistent(const Broker *broker)
{
        size_t n_pools = 0, n_owned = 0;
        uint64_t seq = 0;

        list_for_each (it, &broker->pools) {
                const Pool *pool = list_entry(it, Pool, broker_link);

                if (pool->seq <= seq || !pool_is_consistent(broker, pool))
                        return false;
                seq = pool->seq;
                n_pools++;
        }
        list_for_each (it, &broker->stores)
                if (!store_is_consistent(broker, list_entry(it, Store, store_link)))
                        return false;
        list_for_each (it, &broker->tenants)
                if (!tenant_is_consistent(broker, list_entry(it, Tenant, tenant_link)))
                        return false;
        list_for_each (it, &broker->owners)
                if (!owner_is_consistent(list_entry(it, Owner, owner_link), &n_owned))
                        return false;
        return n_pools == n_owned && n_pools == HASH_CNT(by_id, broker->pools_by_id);
}
