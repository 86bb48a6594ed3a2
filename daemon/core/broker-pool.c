/* SPDX-License-Identifier: BSD-3-Clause */

/* How pools come and go: create, adopt, release. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/broker-internal.h"
#include "core/placement.h"
#include "core/refusal.h"

Pool *broker_add_pool(Broker *broker, uint64_t id, Owner *owner, const char *name)
{
        PoolEntry *entry = calloc(1, sizeof(*entry));
        Pool *pool;
        size_t length = strlen(name);

        if (!entry)
                return NULL;
        pool = &entry->pool;
        assert(id != 0 && length < sizeof(pool->name));
        pool->id = id;
        memcpy(pool->name, name, length);
        pool->owner = owner;
        pool->state = POOL_RESERVED;

        HASH_ADD(by_id, broker->pools_by_id, pool.id, sizeof(pool->id), entry);
        if (!entry->by_id.tbl) {
                free(entry);
                return NULL;
        }
        pool->seq = ++broker->last_seq;
        list_append(&broker->pools, &pool->broker_link);
        list_append(&owner->pools, &pool->owner_link);
        return pool;
}

void broker_remove_pool(Broker *broker, Pool *pool)
{
        PoolEntry *entry = CONTAINER_OF(pool, PoolEntry, pool);

        charge_release(&pool->charge);
        if (pool->tenant && pool->tenant->retired && pool->tenant->n_pools == 0)
                tenant_free(pool->tenant);
        if (pool->store && pool->store->gone && pool->store->n_pools == 0)
                store_free(pool->store);
        list_unlink(&pool->owner_link);
        list_unlink(&pool->broker_link);
        HASH_DELETE(by_id, broker->pools_by_id, entry);
        free(entry);
}

/* ------------------------------------------------------------------------------------------------ create */

static Tenant *match_tenant(const Broker *broker, const PeerIdentity *peer)
{
        list_for_each (it, &broker->tenants) {
                Tenant *tenant = list_entry(it, Tenant, tenant_link);

                if (tenant_matches(tenant, peer))
                        return tenant;
        }
        return NULL;
}

static Result unavailable(const Broker *broker, const char *store, Refusal *ret_refusal)
{
        return refuse_plain(
                ret_refusal, broker->stores_lost ? RESULT_RETRY : RESULT_STORE_UNAVAILABLE, store);
}

/* A store that is not there and one that the tenant may not use get the same answer, or else the stores
 * of others could be found out by their names. */
static Result charge_named(const Broker *broker, Tenant *tenant, const CreateRequest *request, Charge *ret,
        Refusal *ret_refusal)
{
        Store *store = broker_find_store(broker, request->store);

        if (!store || !tenant_may_use(tenant, store)) {
                /* Before the provisioner has come for the first time, nobody knows what there will be. */
                if (broker->stores_lost && list_is_empty(&broker->stores))
                        return refuse_plain(ret_refusal, RESULT_RETRY, "");
                return refuse_plain(ret_refusal, RESULT_STORE_UNKNOWN, "");
        }
        if (!store->info.available)
                return unavailable(broker, store->info.name, ret_refusal);
        if (store->drained)
                return refuse_plain(ret_refusal, RESULT_STORE_DRAINED, store->info.name);
        return quota_charge(tenant, store, request->size, ret, ret_refusal);
}

/* When none of the candidates has room, the refusal is that of the best one: its numbers are the nearest
 * miss. */
static Result charge_any(const Broker *broker, Tenant *tenant, const CreateRequest *request, Charge *ret,
        Refusal *ret_refusal)
{
        Refusal best = {0};

        for (Store *store = NULL; (store = placement_next(&broker->stores, tenant, store));) {
                Refusal refusal;
                Result result = quota_charge(tenant, store, request->size, ret, &refusal);

                if (result == RESULT_OK)
                        return RESULT_OK;
                if (best.code == RESULT_OK || result == RESULT_FAILED)
                        best = refusal;
                if (result == RESULT_FAILED)
                        break;
        }
        if (best.code == RESULT_OK)
                return unavailable(broker, "", ret_refusal);
        *ret_refusal = best;
        return best.code;
}

/* What was charged fits, so that this is not less. */
static uint64_t max_of_quota(const Charge *charge)
{
        uint64_t max = quota_pool_max(charge->tenant, charge->store) / POOL_UNIT * POOL_UNIT;

        assert(max >= charge->bytes);
        return max < POOL_BYTES_MAX ? max : POOL_BYTES_MAX;
}

static Result reserve_create(
        Broker *broker, const CreateRequest *request, Tenant *tenant, Pool **ret, Refusal *ret_refusal)
{
        uint64_t max = request->max != 0 ? request->max : request->size;
        Charge charge = {0};
        Result result;
        Pool *pool;

        assert(!broker_find_pool(broker, request->id));
        if (!pool_size_is_valid(request->size))
                return refuse_invalid(ret_refusal, request->size);
        if (max != BROKER_MAX_OF_QUOTA && (!pool_size_is_valid(max) || max < request->size))
                return refuse_invalid(ret_refusal, max);
        if (!tenant)
                return refuse_plain(ret_refusal, RESULT_NO_TENANT, "");

        if (request->store && request->store[0] != '\0')
                result = charge_named(broker, tenant, request, &charge, ret_refusal);
        else
                result = charge_any(broker, tenant, request, &charge, ret_refusal);
        if (result != RESULT_OK)
                return result;

        pool = broker_add_pool(broker, request->id, request->owner, request->name ? request->name : "");
        if (!pool) {
                charge_release(&charge);
                return refuse_errno(ret_refusal, -ENOMEM);
        }
        pool->tenant = tenant;
        pool->store = charge.store;
        pool->charge = charge;
        pool->size = request->size;
        pool->max = max == BROKER_MAX_OF_QUOTA ? max_of_quota(&charge) : max;
        pool->created = request->now_usec;
        pool->request_id = request->request_id;
        pool->gifts = 1;
        pool_begin(pool, request->size);
        *ret = pool;
        return RESULT_OK;
}

Result broker_reserve_create(Broker *broker, const CreateRequest *request, Pool **ret, Refusal *ret_refusal)
{
        Tenant *tenant = match_tenant(broker, request->peer);

        return broker_answer(broker, tenant, reserve_create(broker, request, tenant, ret, ret_refusal));
}

Pool *broker_find_request(const Owner *owner, uint64_t request_id)
{
        list_for_each (it, &owner->pools) {
                Pool *pool = list_entry(it, Pool, owner_link);

                if (pool->request_id == request_id && request_id != 0 && pool->state != POOL_RELEASING)
                        return pool;
        }
        return NULL;
}

/* Every other operation changes the size. */
static bool is_being_created(const Pool *pool)
{
        return pool->busy && pool->pending == pool->size;
}

void broker_commit_create(Broker *broker, Pool *pool, uint64_t length)
{
        (void)broker;
        assert(is_being_created(pool));
        assert(length >= pool->size);
        pool->length = length;
        pool->tenant->created++;
        pool->store->created++;
        pool_end(pool);
        if (pool->state == POOL_RESERVED)
                pool_set_state(pool, POOL_READY);
}

void broker_abort_create(Broker *broker, Pool *pool)
{
        assert(is_being_created(pool));
        broker_remove_pool(broker, pool);
}

/* ------------------------------------------------------------------------------------------------- adopt */

/* A release may have been interrupted anywhere, so of such a pool any figures are believed. */
static bool adopt_is_valid(const AdoptRequest *request)
{
        if (request->id == 0 || strlen(request->name) >= RESULT_SUBJECT_MAX)
                return false;
        if (request->tenant[0] == '\0' || strlen(request->tenant) >= RESULT_SUBJECT_MAX)
                return false;
        if (request->releasing)
                return request->size <= POOL_BYTES_MAX;
        return pool_size_is_valid(request->size) && pool_size_is_valid(request->length) &&
               request->length >= request->size && pool_size_is_valid(request->max) &&
               request->max >= request->size;
}

int broker_adopt(Broker *broker, const AdoptRequest *request, Pool **ret)
{
        _cleanup_(cleanup_tenant_free) Tenant *made = NULL;
        Charge charge = {0};
        Tenant *tenant;
        Store *store;
        Pool *pool;
        int r;

        if (!adopt_is_valid(request))
                return -EINVAL;
        if (broker_find_pool(broker, request->id))
                return -EEXIST;
        store = broker_find_store(broker, request->store);
        if (!store)
                return -ENOENT;
        tenant = broker_find_tenant(broker, request->tenant);
        if (!tenant) {
                tenant = made = tenant_new_retired(request->tenant, broker->last_account + 1);
                if (!made)
                        return -ENOMEM;
        }
        r = quota_charge_forced(tenant, store, request->size, &charge);
        if (r < 0)
                return r;
        pool = broker_add_pool(broker, request->id, request->owner, request->name);
        if (!pool) {
                charge_release(&charge);
                return -ENOMEM;
        }
        if (made) {
                broker->last_account++;
                list_append(&broker->tenants, &TAKE_PTR(made)->tenant_link);
        }

        pool->tenant = tenant;
        pool->store = store;
        pool->charge = charge;
        pool->size = request->size;
        pool->length = request->length;
        pool->max = request->max;
        pool->created = request->created;
        pool->request_id = request->request_id;
        pool->gifts = request->gifts;
        pool_set_state(pool, request->releasing ? POOL_RELEASING : POOL_READY);
        *ret = pool;
        return 0;
}

/* ----------------------------------------------------------------------------------------------- release */

bool broker_begin_release(Broker *broker, Pool *pool)
{
        (void)broker;
        if (pool->state == POOL_RELEASING)
                return false;
        pool->target = 0;
        pool_set_state(pool, POOL_RELEASING);
        return !pool->busy;
}

bool broker_release_is_due(const Pool *pool)
{
        return pool->state == POOL_RELEASING && !pool->busy;
}

void broker_finish_release(Broker *broker, Pool *pool)
{
        assert(broker_release_is_due(pool));
        pool->tenant->released++;
        pool->store->released++;
        broker_remove_pool(broker, pool);
}
