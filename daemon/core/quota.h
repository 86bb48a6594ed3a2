/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Accounting by receipt: a charge counts one pool and its bytes against a tenant, the tenant's share of a
 * store, and the store; the receipt that it fills in gives back exactly that. Nothing else changes what they
 * have in use.
 */

#include <stdint.h>

#include "core/store.h"
#include "core/tenant.h"
#include "proto/result.h"

typedef struct Share Share;

/* All zero: nothing charged. */
typedef struct Charge {
        Tenant *tenant;
        Store *store;
        Share *share; /* the tenant's, of the store */
        uint64_t bytes;
} Charge;

/* Charge a pool of `bytes`. QUOTA_POOL_SIZE, QUOTA_POOLS, QUOTA_BYTES, STORE_FULL, in this order, or
 * FAILED with ENOMEM; *ret is set on RESULT_OK only. A store that is not available is full. */
Result quota_charge(Tenant *tenant, Store *store, uint64_t bytes, Charge *ret, Refusal *ret_refusal);
/* Charge without asking what exists anyway. 0, -ENOMEM, or -EOVERFLOW for numbers that cannot be. */
int quota_charge_forced(Tenant *tenant, Store *store, uint64_t bytes, Charge *ret);

/* Charge `bytes` more, or less (no more than is charged). QUOTA_POOL_SIZE, QUOTA_BYTES, STORE_FULL. */
Result charge_grow(Charge *charge, uint64_t bytes, Refusal *ret_refusal);
void charge_shrink(Charge *charge, uint64_t bytes);
/* Charge what exists, more or less than before, without asking. -EOVERFLOW for numbers that cannot be. */
int charge_set_forced(Charge *charge, uint64_t bytes);
/* Give everything back; the receipt is all zero afterwards. Releasing that again is harmless. */
void charge_release(Charge *charge);

/* The largest pool that the tenant could have in the store if it, and everybody else, had nothing there. */
uint64_t quota_pool_max(const Tenant *tenant, const Store *store);

/* A percentage (100 and more: everything) of a capacity, rounded down. */
uint64_t quota_percent_of(uint64_t capacity, unsigned percent);
