/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A tenant is the identity that is charged. Its limits are absolute (bytes over all stores) or relative (a
 * percentage of each store's capacity, held per store); both when both are set.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/policy.h"
#include "proto/result.h"

typedef struct TenantConfig {
        char name[RESULT_SUBJECT_MAX];
        const Match *matches; /* none: matches everybody (the built-in default) */
        size_t n_matches;
        uint64_t bytes_max;        /* UINT64_MAX: no absolute limit */
        unsigned percent;          /* of each store; 0: no relative limit */
        uint32_t pools_max;        /* UINT32_MAX: no limit */
        uint64_t pool_bytes_max;   /* the largest pool; UINT64_MAX: no limit */
        const char *const *stores; /* names; NULL: all */
        size_t n_stores;
} TenantConfig;

/* Limits that an administrator has set at run time, in place of those configured. */
enum {
        OVERRIDE_BYTES = 1 << 0, /* bytes_max and percent */
        OVERRIDE_POOLS = 1 << 1,
        OVERRIDE_POOL_BYTES = 1 << 2,
        _OVERRIDE_ALL = OVERRIDE_BYTES | OVERRIDE_POOLS | OVERRIDE_POOL_BYTES,
};

typedef struct TenantLimits {
        uint64_t bytes_max;
        unsigned percent;
        uint32_t pools_max;
        uint64_t pool_bytes_max;
} TenantLimits;

typedef struct Tenant Tenant;

/* A snapshot for lists. */
typedef struct TenantFigures {
        uint64_t bytes;
        uint32_t pools;
        unsigned overridden; /* OVERRIDE_* */
        uint64_t created;    /* pools, since the tenant is known */
        uint64_t released;
        uint64_t refused; /* creates and resizes */
} TenantFigures;

const char *tenant_name(const Tenant *tenant);
/* The limits in it are those in force. */
const TenantConfig *tenant_config(const Tenant *tenant);
TenantFigures tenant_figures(const Tenant *tenant);
/* A number that names this tenant for as long as the broker object lives (JobRequest.account). */
uint64_t tenant_account(const Tenant *tenant);
