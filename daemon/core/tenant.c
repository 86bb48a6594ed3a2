/* SPDX-License-Identifier: BSD-3-Clause */

/* The identity that is charged: its configuration, and whom and what that admits. Counting is quota.c's. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/tenant-internal.h"

static void config_clear(TenantConfig *config)
{
        for (size_t i = 0; i < config->n_matches; i++)
                free((char *)config->matches[i].glob);
        free((Match *)config->matches);
        config->matches = NULL;
        config->n_matches = 0;

        for (size_t i = 0; i < config->n_stores; i++)
                free((char *)config->stores[i]);
        free((char **)config->stores);
        config->stores = NULL;
        config->n_stores = 0;
}

static bool copy_matches(TenantConfig *to, const TenantConfig *from)
{
        Match *matches;

        if (from->n_matches == 0)
                return true;
        matches = calloc(from->n_matches, sizeof(*matches));
        if (!matches)
                return false;
        to->matches = matches;
        for (size_t i = 0; i < from->n_matches; i++) {
                matches[i] = from->matches[i];
                matches[i].glob = NULL;
                to->n_matches = i + 1;
                if (!from->matches[i].glob)
                        continue;
                matches[i].glob = strdup(from->matches[i].glob);
                if (!matches[i].glob)
                        return false;
        }
        return true;
}

static bool copy_stores(TenantConfig *to, const TenantConfig *from)
{
        char **stores;

        /* An empty list is not the same as none: it admits no store. */
        if (!from->stores)
                return true;
        stores = calloc(from->n_stores + 1, sizeof(*stores));
        if (!stores)
                return false;
        to->stores = (const char *const *)stores;
        for (size_t i = 0; i < from->n_stores; i++) {
                stores[i] = strdup(from->stores[i]);
                if (!stores[i])
                        return false;
                to->n_stores = i + 1;
        }
        return true;
}

static TenantLimits limits_of(const TenantConfig *config)
{
        return (TenantLimits){
                .bytes_max = config->bytes_max,
                .percent = config->percent,
                .pools_max = config->pools_max,
                .pool_bytes_max = config->pool_bytes_max,
        };
}

Tenant *tenant_new(const TenantConfig *config, uint64_t account)
{
        _cleanup_(cleanup_tenant_free) Tenant *tenant = NULL;

        assert(config->name[0] != '\0');
        assert(memchr(config->name, '\0', sizeof(config->name)));

        tenant = calloc(1, sizeof(*tenant));
        if (!tenant)
                return NULL;
        list_init(&tenant->shares);
        list_init(&tenant->tenant_link);
        tenant->account = account;
        tenant->config = *config;
        tenant->configured = limits_of(config);
        tenant->config.matches = NULL;
        tenant->config.n_matches = 0;
        tenant->config.stores = NULL;
        tenant->config.n_stores = 0;
        if (!copy_matches(&tenant->config, config) || !copy_stores(&tenant->config, config))
                return NULL;
        return TAKE_PTR(tenant);
}

Tenant *tenant_new_retired(const char *name, uint64_t account)
{
        TenantConfig config = {0};
        size_t length = strlen(name);
        Tenant *tenant;

        assert(length < sizeof(config.name));
        memcpy(config.name, name, length);
        tenant = tenant_new(&config, account);
        if (tenant)
                tenant_retire(tenant);
        return tenant;
}

Tenant *tenant_free(Tenant *tenant)
{
        if (!tenant)
                return NULL;
        assert(tenant->n_pools == 0 && tenant->bytes == 0);
        assert(list_is_empty(&tenant->shares));
        list_unlink(&tenant->tenant_link);
        config_clear(&tenant->config);
        free(tenant);
        return NULL;
}

void tenant_reconfigure(Tenant *tenant, Tenant *from)
{
        TenantConfig old = tenant->config;

        assert(strcmp(old.name, from->config.name) == 0);
        tenant->config = from->config;
        tenant->configured = from->configured;
        from->config = old;
        tenant->retired = false;
        tenant_override(tenant, 0, 0, &tenant->override);
}

static void put_in_force(Tenant *tenant, unsigned which, const TenantLimits *limits)
{
        TenantConfig *config = &tenant->config;

        if (which & OVERRIDE_BYTES) {
                config->bytes_max = limits->bytes_max;
                config->percent = limits->percent;
        }
        if (which & OVERRIDE_POOLS)
                config->pools_max = limits->pools_max;
        if (which & OVERRIDE_POOL_BYTES)
                config->pool_bytes_max = limits->pool_bytes_max;
}

void tenant_override(Tenant *tenant, unsigned set, unsigned clear, const TenantLimits *limits)
{
        TenantLimits *override = &tenant->override;

        assert(!tenant->retired && (set & clear) == 0);
        if (set & OVERRIDE_BYTES) {
                override->bytes_max = limits->bytes_max;
                override->percent = limits->percent;
        }
        if (set & OVERRIDE_POOLS)
                override->pools_max = limits->pools_max;
        if (set & OVERRIDE_POOL_BYTES)
                override->pool_bytes_max = limits->pool_bytes_max;
        tenant->overridden = (tenant->overridden | set) & ~clear;
        put_in_force(tenant, _OVERRIDE_ALL, &tenant->configured);
        put_in_force(tenant, tenant->overridden, override);
}

void tenant_retire(Tenant *tenant)
{
        tenant->retired = true;
        tenant->overridden = 0;
        /* The refusal that a growing pool meets then: so many bytes in use, of none. */
        tenant->config.bytes_max = 0;
        tenant->config.percent = 0;
        tenant->config.pools_max = 0;
        tenant->config.pool_bytes_max = UINT64_MAX;
}

const char *tenant_name(const Tenant *tenant)
{
        return tenant->config.name;
}

const TenantConfig *tenant_config(const Tenant *tenant)
{
        return &tenant->config;
}

TenantFigures tenant_figures(const Tenant *tenant)
{
        return (TenantFigures){
                .bytes = tenant->bytes,
                .pools = tenant->n_pools,
                .overridden = tenant->overridden,
                .created = tenant->created,
                .released = tenant->released,
                .refused = tenant->refused,
        };
}

uint64_t tenant_account(const Tenant *tenant)
{
        return tenant->account;
}

bool tenant_matches(const Tenant *tenant, const PeerIdentity *peer)
{
        if (tenant->retired)
                return false;
        if (tenant->config.n_matches == 0)
                return true;
        for (size_t i = 0; i < tenant->config.n_matches; i++)
                if (match_peer(&tenant->config.matches[i], peer))
                        return true;
        return false;
}

bool tenant_may_use(const Tenant *tenant, const Store *store)
{
        if (!tenant->config.stores)
                return true;
        for (size_t i = 0; i < tenant->config.n_stores; i++)
                if (strcmp(tenant->config.stores[i], store->info.name) == 0)
                        return true;
        return false;
}

Share *tenant_find_share(const Tenant *tenant, const Store *store)
{
        list_for_each (it, &tenant->shares) {
                Share *share = list_entry(it, Share, share_link);

                if (share->store == store)
                        return share;
        }
        return NULL;
}
