/* SPDX-License-Identifier: BSD-3-Clause */

/* Accounting by receipt. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/quota.h"
#include "core/refusal.h"
#include "core/tenant-internal.h"

/* A limit may have been lowered below what is in use; then nothing fits, and no subtraction may wrap. */
static bool fits(uint64_t asked, uint64_t limit, uint64_t used)
{
        return used <= limit && asked <= limit - used;
}

static Result check_bytes(
        const Tenant *tenant, const Store *store, uint64_t share, uint64_t bytes, Refusal *ret)
{
        const TenantConfig *config = &tenant->config;

        if (!fits(bytes, config->bytes_max, tenant->bytes))
                return refuse(
                        ret, RESULT_QUOTA_BYTES, bytes, config->bytes_max, tenant->bytes, config->name);
        if (config->percent > 0) {
                uint64_t limit = quota_percent_of(store->info.capacity, config->percent);

                if (!fits(bytes, limit, share))
                        return refuse(ret, RESULT_QUOTA_BYTES, bytes, limit, share, config->name);
        }
        if (bytes > store_free_bytes(store))
                return refuse(ret, RESULT_STORE_FULL, bytes, store->info.capacity, store->charged,
                        store->info.name);
        return RESULT_OK;
}

static Result check_pool_size(const Tenant *tenant, uint64_t size, Refusal *ret)
{
        if (size > tenant->config.pool_bytes_max)
                return refuse(ret, RESULT_QUOTA_POOL_SIZE, size, tenant->config.pool_bytes_max, 0,
                        tenant->config.name);
        return RESULT_OK;
}

static Share *share_new(Tenant *tenant, Store *store)
{
        Share *share = calloc(1, sizeof(*share));

        if (!share)
                return NULL;
        share->store = store;
        list_append(&tenant->shares, &share->share_link);
        return share;
}

static Share *share_free(Share *share)
{
        assert(share->n_pools == 0 && share->bytes == 0);
        list_unlink(&share->share_link);
        free(share);
        return NULL;
}

/* The share is never more than the tenant's total, so it cannot overflow before that does. */
int quota_charge_forced(Tenant *tenant, Store *store, uint64_t bytes, Charge *ret)
{
        Share *share;

        if (bytes > UINT64_MAX - tenant->bytes || bytes > UINT64_MAX - store->charged)
                return -EOVERFLOW;
        if (tenant->n_pools == UINT32_MAX || store->n_pools == UINT32_MAX)
                return -EOVERFLOW;

        share = tenant_find_share(tenant, store);
        if (!share)
                share = share_new(tenant, store);
        if (!share)
                return -ENOMEM;

        tenant->bytes += bytes;
        tenant->n_pools++;
        share->bytes += bytes;
        share->n_pools++;
        store->charged += bytes;
        store->n_pools++;
        *ret = (Charge){.tenant = tenant, .store = store, .share = share, .bytes = bytes};
        return 0;
}

Result quota_charge(Tenant *tenant, Store *store, uint64_t bytes, Charge *ret, Refusal *ret_refusal)
{
        const Share *share = tenant_find_share(tenant, store);
        Result result;
        int r;

        result = check_pool_size(tenant, bytes, ret_refusal);
        if (result != RESULT_OK)
                return result;
        if (tenant->n_pools >= tenant->config.pools_max)
                return refuse(ret_refusal, RESULT_QUOTA_POOLS, 1, tenant->config.pools_max, tenant->n_pools,
                        tenant->config.name);
        result = check_bytes(tenant, store, share ? share->bytes : 0, bytes, ret_refusal);
        if (result != RESULT_OK)
                return result;

        r = quota_charge_forced(tenant, store, bytes, ret);
        if (r < 0)
                return refuse_errno(ret_refusal, r);
        return RESULT_OK;
}

Result charge_grow(Charge *charge, uint64_t bytes, Refusal *ret_refusal)
{
        uint64_t size;
        Result result;

        assert(charge->share);
        if (__builtin_add_overflow(charge->bytes, bytes, &size))
                size = UINT64_MAX;
        result = check_pool_size(charge->tenant, size, ret_refusal);
        if (result != RESULT_OK)
                return result;
        result = check_bytes(charge->tenant, charge->store, charge->share->bytes, bytes, ret_refusal);
        if (result != RESULT_OK)
                return result;

        charge->tenant->bytes += bytes;
        charge->share->bytes += bytes;
        charge->store->charged += bytes;
        charge->bytes = size;
        return RESULT_OK;
}

void charge_shrink(Charge *charge, uint64_t bytes)
{
        assert(charge->share);
        assert(bytes <= charge->bytes);
        assert(bytes <= charge->tenant->bytes && bytes <= charge->share->bytes &&
                bytes <= charge->store->charged);
        charge->tenant->bytes -= bytes;
        charge->share->bytes -= bytes;
        charge->store->charged -= bytes;
        charge->bytes -= bytes;
}

int charge_set_forced(Charge *charge, uint64_t bytes)
{
        uint64_t more, sum;

        assert(charge->share);
        if (bytes <= charge->bytes) {
                charge_shrink(charge, charge->bytes - bytes);
                return 0;
        }
        more = bytes - charge->bytes;
        /* The share is part of the tenant's bytes, so that two sums show whether all fit. */
        if (__builtin_add_overflow(charge->tenant->bytes, more, &sum) ||
                __builtin_add_overflow(charge->store->charged, more, &sum))
                return -EOVERFLOW;
        charge->tenant->bytes += more;
        charge->share->bytes += more;
        charge->store->charged += more;
        charge->bytes = bytes;
        return 0;
}

void charge_release(Charge *charge)
{
        if (!charge->share)
                return;
        charge_shrink(charge, charge->bytes);
        assert(charge->tenant->n_pools > 0 && charge->share->n_pools > 0 && charge->store->n_pools > 0);
        charge->tenant->n_pools--;
        charge->store->n_pools--;
        charge->share->n_pools--;
        if (charge->share->n_pools == 0)
                share_free(charge->share);
        *charge = (Charge){0};
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
        return a < b ? a : b;
}

uint64_t quota_pool_max(const Tenant *tenant, const Store *store)
{
        const TenantConfig *config = &tenant->config;
        uint64_t max = lesser(store->info.capacity, lesser(config->bytes_max, config->pool_bytes_max));

        return config->percent > 0 ? lesser(max, quota_percent_of(store->info.capacity, config->percent))
                                   : max;
}

uint64_t quota_percent_of(uint64_t capacity, unsigned percent)
{
        if (percent >= 100)
                return capacity;
        return capacity / 100 * percent + capacity % 100 * percent / 100;
}
