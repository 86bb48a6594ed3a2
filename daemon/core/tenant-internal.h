/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What is inside a tenant: for quota.c, which counts, and for the broker, which makes and replaces
 * tenants. */

#include <stdbool.h>

#include "base/cleanup.h"
#include "core/store.h"
#include "core/tenant.h"

/* What a tenant has of one store; it exists while that is at least one pool. */
typedef struct Share {
        Store *store;
        uint64_t bytes;
        uint32_t n_pools;
        List share_link; /* Tenant.shares */
} Share;

struct Tenant {
        TenantConfig config;     /* a deep copy; the limits in it are those in force */
        TenantLimits configured; /* those of the configuration */
        TenantLimits override;
        unsigned overridden; /* which of the override's are in force: OVERRIDE_* */
        uint64_t account;
        bool retired; /* not configured any more: matches nobody, takes nothing new */
        uint64_t bytes;
        uint32_t n_pools;
        uint64_t created, released, refused;
        List shares;      /* Share.share_link */
        List tenant_link; /* Broker.tenants */
};

/* NULL when out of memory. */
Tenant *tenant_new(const TenantConfig *config, uint64_t account);
/* One that is known by its name only, as it is found written in a pool's record. */
Tenant *tenant_new_retired(const char *name, uint64_t account);
/* A tenant that is freed has no pools. */
Tenant *tenant_free(Tenant *tenant);
DEFINE_CLEANUP(Tenant, tenant_free);

/* Take the configuration of `from`, which gets the old one, and serve again if it was retired. */
void tenant_reconfigure(Tenant *tenant, Tenant *from);
void tenant_retire(Tenant *tenant);
/* The limits that `set` names are those of `limits`, those that `clear` names the configured ones again. */
void tenant_override(Tenant *tenant, unsigned set, unsigned clear, const TenantLimits *limits);

bool tenant_matches(const Tenant *tenant, const PeerIdentity *peer);
bool tenant_may_use(const Tenant *tenant, const Store *store);
/* NULL if there is none. */
Share *tenant_find_share(const Tenant *tenant, const Store *store);
