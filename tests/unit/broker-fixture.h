/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A broker with three stores, one tenant and one owner, and what comes of asking it for pools. */

#include "core/broker.h"

#define UNITS(n) ((n)*POOL_UNIT)

static const PeerIdentity peer = {.uid = 1000, .gid = 1000, .pid = 7, .start_time = 99};

typedef struct Fixture {
        Broker *broker;
        TenantConfig tenant;
        StoreInfo stores[3];
        Owner *owner;
        CreateRequest request;
        Refusal refusal;
        Pool *pool;
} Fixture;

static inline void apply(Fixture *f)
{
        assert_int_equal(broker_set_tenants(f->broker, &f->tenant, 1), 0);
        assert_int_equal(broker_set_stores(f->broker, f->stores, 3), 0);
}

/* Three stores of 10, 20 and 5 units, and one tenant without limits. */
static inline void fixture_init(Fixture *f)
{
        *f = (Fixture){
                .tenant = {.name = "batch",
                        .bytes_max = UINT64_MAX,
                        .pools_max = UINT32_MAX,
                        .pool_bytes_max = UINT64_MAX},
                .stores = {{.name = "a", .available = true, .capacity = UNITS(10)},
                        {.name = "b", .available = true, .capacity = UNITS(20)},
                        {.name = "c", .available = true, .capacity = UNITS(5)}},
        };
        assert_int_equal(broker_new(&f->broker), 0);
        assert_int_equal(broker_owner_attach(f->broker, &peer, 0, "prog", &f->owner), 0);
        apply(f);
        f->request = (CreateRequest){
                .peer = &peer, .owner = f->owner, .id = 1, .size = UNITS(1), .store = "", .name = ""};
}

static inline void fixture_deinit(Fixture *f)
{
        assert_true(broker_is_consistent(f->broker));
        broker_free(f->broker);
}

static inline Result reserve(Fixture *f)
{
        Result result;

        f->refusal = (Refusal){0};
        result = broker_reserve_create(f->broker, &f->request, &f->pool, &f->refusal);
        assert_int_equal(f->refusal.code, result);
        assert_true(broker_is_consistent(f->broker));
        return result;
}

static inline Pool *created(Fixture *f, uint64_t id, uint64_t size, const char *store)
{
        f->request.id = id;
        f->request.size = size;
        f->request.store = store;
        assert_int_equal(reserve(f), RESULT_OK);
        broker_commit_create(f->broker, f->pool, size);
        return f->pool;
}

static inline void check_refused(Fixture *f, const Refusal *expected)
{
        uint64_t bytes = broker_figures(f->broker).bytes, refusals = broker_figures(f->broker).refusals;
        uint32_t pools = broker_figures(f->broker).pools;
        Pool *before = f->pool;

        assert_int_equal(reserve(f), expected->code);
        assert_int_equal(f->refusal.asked, expected->asked);
        assert_int_equal(f->refusal.limit, expected->limit);
        assert_int_equal(f->refusal.used, expected->used);
        assert_string_equal(f->refusal.subject, expected->subject);
        assert_ptr_equal(f->pool, before);
        assert_int_equal(broker_figures(f->broker).bytes, bytes);
        assert_int_equal(broker_figures(f->broker).pools, pools);
        assert_int_equal(broker_figures(f->broker).refusals, refusals + 1);
}

#define REFUSED(f, ...) check_refused((f), &(Refusal){__VA_ARGS__})
