/* SPDX-License-Identifier: BSD-3-Clause */

/* What administrators set at run time: stores that take nothing new, limits other than the configured ones. */

#include "core/broker-internal.h"
#include "core/refusal.h"

Result broker_drain_store(Broker *broker, const char *name, bool drained, Refusal *ret_refusal)
{
        Store *store = broker_find_store(broker, name);

        if (!store || store->gone)
                return refuse_plain(ret_refusal, RESULT_STORE_UNKNOWN, "");
        store->drained = drained;
        return RESULT_OK;
}

void broker_configure_drained(Broker *broker, const char *name, bool drained)
{
        Store *store = broker_find_store(broker, name);

        if (store && !store->gone && store->drained_configured != drained)
                store->drained = store->drained_configured = drained;
}

static bool limits_are_valid(unsigned set, const TenantLimits *limits)
{
        if ((set & OVERRIDE_BYTES) && limits->percent > 100)
                return false;
        if ((set & OVERRIDE_BYTES) && limits->bytes_max != UINT64_MAX && limits->bytes_max > POOL_BYTES_MAX)
                return false;
        if ((set & OVERRIDE_POOL_BYTES) && limits->pool_bytes_max != UINT64_MAX &&
                (limits->pool_bytes_max < POOL_UNIT || limits->pool_bytes_max > POOL_BYTES_MAX))
                return false;
        return true;
}

Result broker_override_limits(Broker *broker, const char *name, unsigned set, unsigned clear,
        const TenantLimits *limits, Refusal *ret_refusal)
{
        Tenant *tenant = broker_find_tenant(broker, name);

        if (!tenant || tenant->retired)
                return refuse_plain(ret_refusal, RESULT_TENANT_UNKNOWN, "");
        if (((set | clear) & ~(unsigned)_OVERRIDE_ALL) || (set & clear) || !limits_are_valid(set, limits))
                return refuse_plain(ret_refusal, RESULT_INVALID, "");
        tenant_override(tenant, set, clear, limits);
        return RESULT_OK;
}

uint64_t broker_bytes_limit(const Broker *broker, const Tenant *tenant)
{
        uint64_t sum = 0;

        if (tenant->config.percent == 0)
                return tenant->config.bytes_max;
        list_for_each (it, &broker->stores) {
                const Store *store = list_entry(it, Store, store_link);
                uint64_t share = quota_percent_of(store->info.capacity, tenant->config.percent);

                if (!store->info.available || !tenant_may_use(tenant, store))
                        continue;
                if (__builtin_add_overflow(sum, share, &sum))
                        sum = UINT64_MAX;
        }
        return sum < tenant->config.bytes_max ? sum : tenant->config.bytes_max;
}
