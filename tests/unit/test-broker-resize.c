/* SPDX-License-Identifier: BSD-3-Clause */

/* Grow, give back, shrink to a target. */

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/broker.h"
#include "child.h"

#define UNITS(n) ((n)*POOL_UNIT)

static const PeerIdentity peer = {.uid = 1000, .gid = 1000, .pid = 7, .start_time = 99};

/* A pool of 4 units that may grow to 16, in a store of 20. */
typedef struct Fixture {
        Broker *broker;
        TenantConfig tenant;
        StoreInfo store;
        Owner *owner;
        Pool *pool;
        Refusal refusal;
        bool noop;
} Fixture;

static void apply(Fixture *f)
{
        assert_int_equal(broker_set_tenants(f->broker, &f->tenant, 1), 0);
        assert_int_equal(broker_set_stores(f->broker, &f->store, 1), 0);
}

static Pool *reserved(Fixture *f, uint64_t id, uint64_t size, uint64_t max)
{
        CreateRequest request = {.peer = &peer,
                .owner = f->owner,
                .id = id,
                .size = size,
                .max = max,
                .store = "",
                .name = ""};
        Pool *pool = NULL;

        assert_int_equal(broker_reserve_create(f->broker, &request, &pool, &f->refusal), RESULT_OK);
        return pool;
}

static void fixture_init(Fixture *f)
{
        *f = (Fixture){
                .tenant = {.name = "batch",
                        .bytes_max = UINT64_MAX,
                        .pools_max = UINT32_MAX,
                        .pool_bytes_max = UINT64_MAX},
                .store = {.name = "ram", .available = true, .capacity = UNITS(20)},
        };
        assert_int_equal(broker_new(&f->broker), 0);
        assert_int_equal(broker_owner_attach(f->broker, &peer, 0, "prog", &f->owner), 0);
        apply(f);
        f->pool = reserved(f, 1, UNITS(4), UNITS(16));
        broker_commit_create(f->broker, f->pool, UNITS(4));
}

static void fixture_deinit(Fixture *f)
{
        assert_true(broker_is_consistent(f->broker));
        broker_free(f->broker);
}

static Result grow(Fixture *f, uint64_t size)
{
        f->refusal = (Refusal){0};
        f->noop = false;
        return broker_reserve_grow(f->broker, f->pool, size, &f->noop, &f->refusal);
}

static Result shrink(Fixture *f, uint64_t units)
{
        f->refusal = (Refusal){0};
        return broker_reserve_shrink(f->broker, f->pool, units, &f->refusal);
}

static Result target(Fixture *f, uint64_t size)
{
        f->refusal = (Refusal){0};
        return broker_set_target(f->broker, f->pool, size, 1000, &f->refusal);
}

/* The refusal of the verb before, and a pool as it was. */
static void check_refused(Fixture *f, Result result, const Refusal *expected)
{
        assert_int_equal(result, expected->code);
        assert_int_equal(f->refusal.code, expected->code);
        assert_int_equal(f->refusal.asked, expected->asked);
        assert_int_equal(f->refusal.limit, expected->limit);
        assert_int_equal(f->refusal.used, expected->used);
        assert_string_equal(f->refusal.subject, expected->subject);
        assert_true(broker_is_consistent(f->broker));
}

#define REFUSED(f, result, ...) check_refused((f), (result), &(Refusal){__VA_ARGS__})

static void check_pool(const Fixture *f, PoolState state, uint64_t size, uint64_t charged, uint64_t length)
{
        assert_int_equal(f->pool->state, state);
        assert_int_equal(f->pool->size, size);
        assert_int_equal(f->pool->charge.bytes, charged);
        assert_int_equal(f->pool->length, length);
        assert_int_equal(f->pool->store->charged, charged);
        assert_int_equal(tenant_figures(f->pool->tenant).bytes, charged);
        assert_true(broker_is_consistent(f->broker));
}

/* -------------------------------------------------------------------------------------------------- grow */

static void test_grow(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(grow(&f, UNITS(7)), RESULT_OK);
        assert_false(f.noop);
        assert_true(f.pool->busy);
        check_pool(&f, POOL_RESIZING, UNITS(4), UNITS(7), UNITS(4));
        assert_int_equal(pool_length_for(f.pool, UNITS(7)), UNITS(7));
        broker_commit_grow(f.broker, f.pool, UNITS(7));
        assert_false(f.pool->busy);
        check_pool(&f, POOL_READY, UNITS(7), UNITS(7), UNITS(7));

        assert_int_equal(grow(&f, UNITS(8)), RESULT_OK);
        broker_abort_grow(f.broker, f.pool);
        assert_false(f.pool->busy);
        check_pool(&f, POOL_READY, UNITS(7), UNITS(7), UNITS(7));
        fixture_deinit(&f);
}

static void test_grow_to_what_it_is(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        /* Even where nothing could be grown at all. */
        f.store.available = false;
        f.tenant.bytes_max = 0;
        apply(&f);
        assert_int_equal(grow(&f, UNITS(4)), RESULT_OK);
        assert_true(f.noop);
        assert_false(f.pool->busy);
        check_pool(&f, POOL_READY, UNITS(4), UNITS(4), UNITS(4));
        assert_int_equal(broker_figures(f.broker).refusals, 0);
        fixture_deinit(&f);
}

static void test_grow_into_holes(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(shrink(&f, 2), RESULT_OK);
        broker_commit_shrink(f.broker, f.pool, 1);
        check_pool(&f, POOL_READY, UNITS(2), UNITS(2), UNITS(4));
        assert_int_equal(pool_length_for(f.pool, UNITS(4)), UNITS(4));
        assert_int_equal(grow(&f, UNITS(3)), RESULT_OK);
        broker_commit_grow(f.broker, f.pool, UNITS(4));
        check_pool(&f, POOL_READY, UNITS(3), UNITS(3), UNITS(4));
        assert_int_equal(grow(&f, UNITS(5)), RESULT_OK);
        broker_commit_grow(f.broker, f.pool, pool_length_for(f.pool, UNITS(5)));
        check_pool(&f, POOL_READY, UNITS(5), UNITS(5), UNITS(5));
        fixture_deinit(&f);
}

static void test_grow_invalid(void **state)
{
        static const uint64_t sizes[] = {
                0, 1, UNITS(5) - 1, UNITS(5) + 1, POOL_BYTES_MAX + POOL_UNIT, UINT64_MAX};
        Fixture f;

        (void)state;
        fixture_init(&f);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
                REFUSED(&f, grow(&f, sizes[i]), .code = RESULT_INVALID, .asked = sizes[i]);
        REFUSED(&f, grow(&f, UNITS(3)), .code = RESULT_INVALID, .asked = UNITS(3));
        assert_int_equal(broker_figures(f.broker).refusals, 7);
        check_pool(&f, POOL_READY, UNITS(4), UNITS(4), UNITS(4));
        fixture_deinit(&f);
}

static void test_grow_to_max(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        REFUSED(&f, grow(&f, UNITS(17)), .code = RESULT_POOL_MAX, .asked = UNITS(17), .limit = UNITS(16));
        assert_int_equal(grow(&f, UNITS(16)), RESULT_OK);
        broker_commit_grow(f.broker, f.pool, UNITS(16));
        REFUSED(&f, grow(&f, UNITS(17)), .code = RESULT_POOL_MAX, .asked = UNITS(17), .limit = UNITS(16));
        fixture_deinit(&f);
}

static void test_grow_quotas(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.tenant.pool_bytes_max = UNITS(5);
        f.tenant.pools_max = 0; /* is no matter here */
        apply(&f);
        REFUSED(&f, grow(&f, UNITS(6)), .code = RESULT_QUOTA_POOL_SIZE, .asked = UNITS(6), .limit = UNITS(5),
                .subject = "batch");
        f.tenant.pool_bytes_max = UINT64_MAX;
        f.tenant.bytes_max = UNITS(5);
        apply(&f);
        REFUSED(&f, grow(&f, UNITS(6)), .code = RESULT_QUOTA_BYTES, .asked = UNITS(2), .limit = UNITS(5),
                .used = UNITS(4), .subject = "batch");
        f.tenant.bytes_max = UINT64_MAX;
        f.tenant.percent = 25;
        apply(&f);
        REFUSED(&f, grow(&f, UNITS(6)), .code = RESULT_QUOTA_BYTES, .asked = UNITS(2), .limit = UNITS(5),
                .used = UNITS(4), .subject = "batch");
        f.tenant.percent = 0;
        f.store.capacity = UNITS(5);
        apply(&f);
        REFUSED(&f, grow(&f, UNITS(6)), .code = RESULT_STORE_FULL, .asked = UNITS(2), .limit = UNITS(5),
                .used = UNITS(4), .subject = "ram");
        f.tenant = (TenantConfig){.name = "batch",
                .bytes_max = UNITS(5),
                .percent = 100,
                .pool_bytes_max = UNITS(5),
                .pools_max = 1};
        apply(&f);
        assert_int_equal(grow(&f, UNITS(5)), RESULT_OK);
        broker_commit_grow(f.broker, f.pool, UNITS(5));
        check_pool(&f, POOL_READY, UNITS(5), UNITS(5), UNITS(5));
        fixture_deinit(&f);
}

static void test_grow_where_it_may_not(void **state)
{
        const char *permitted[] = {"elsewhere"};
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.store.available = false;
        apply(&f);
        REFUSED(&f, grow(&f, UNITS(5)), .code = RESULT_STORE_UNAVAILABLE, .subject = "ram");
        broker_stores_lost(f.broker);
        REFUSED(&f, grow(&f, UNITS(5)), .code = RESULT_RETRY, .subject = "ram");
        f.store.available = true;
        f.tenant.stores = permitted;
        f.tenant.n_stores = 1;
        apply(&f);
        REFUSED(&f, grow(&f, UNITS(5)), .code = RESULT_STORE_UNKNOWN);
        permitted[0] = "ram";
        apply(&f);
        assert_int_equal(grow(&f, UNITS(5)), RESULT_OK);
        fixture_deinit(&f);
}

/* ------------------------------------------------------------------------------------------------ shrink */

static void test_shrink(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(shrink(&f, 1), RESULT_OK);
        assert_true(f.pool->busy);
        /* Charged until it is done. */
        check_pool(&f, POOL_RESIZING, UNITS(4), UNITS(4), UNITS(4));
        broker_abort_shrink(f.broker, f.pool);
        check_pool(&f, POOL_READY, UNITS(4), UNITS(4), UNITS(4));
        assert_int_equal(shrink(&f, 3), RESULT_OK);
        broker_commit_shrink(f.broker, f.pool, 5);
        check_pool(&f, POOL_READY, UNITS(1), UNITS(1), UNITS(4));
        assert_false(f.pool->busy);
        assert_int_equal(f.pool->target_since, 0);
        fixture_deinit(&f);
}

static void test_shrink_leaves_one_unit(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        REFUSED(&f, shrink(&f, 0), .code = RESULT_INVALID, .asked = 0);
        REFUSED(&f, shrink(&f, 4), .code = RESULT_INVALID, .asked = 4);
        REFUSED(&f, shrink(&f, 5), .code = RESULT_INVALID, .asked = 5);
        /* 2^43 + 1 units are 2^64 bytes and one unit. */
        REFUSED(&f, shrink(&f, (UINT64_C(1) << 43) + 1), .code = RESULT_INVALID,
                .asked = (UINT64_C(1) << 43) + 1);
        REFUSED(&f, shrink(&f, UINT64_MAX), .code = RESULT_INVALID, .asked = UINT64_MAX);
        check_pool(&f, POOL_READY, UNITS(4), UNITS(4), UNITS(4));
        assert_int_equal(shrink(&f, 3), RESULT_OK);
        broker_commit_shrink(f.broker, f.pool, 1);
        REFUSED(&f, shrink(&f, 1), .code = RESULT_INVALID, .asked = 1);
        fixture_deinit(&f);
}

static void test_shrink_needs_no_store_or_tenant(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(broker_set_tenants(f.broker, NULL, 0), 0);
        broker_stores_lost(f.broker);
        assert_int_equal(shrink(&f, 1), RESULT_OK);
        broker_commit_shrink(f.broker, f.pool, 1);
        check_pool(&f, POOL_READY, UNITS(3), UNITS(3), UNITS(4));
        fixture_deinit(&f);
}

/* ------------------------------------------------------------------------------------------------ target */

static void test_target(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(target(&f, UNITS(2)), RESULT_OK);
        assert_int_equal(f.pool->target, UNITS(2));
        assert_int_equal(f.pool->target_since, 1000);
        assert_false(f.pool->busy);
        check_pool(&f, POOL_RESIZING, UNITS(4), UNITS(4), UNITS(4));

        /* In two rounds. */
        assert_int_equal(shrink(&f, 1), RESULT_OK);
        broker_commit_shrink(f.broker, f.pool, 2000);
        assert_int_equal(f.pool->target_since, 2000);
        check_pool(&f, POOL_RESIZING, UNITS(3), UNITS(3), UNITS(4));
        assert_int_equal(shrink(&f, 1), RESULT_OK);
        broker_abort_shrink(f.broker, f.pool);
        assert_int_equal(f.pool->target_since, 2000);
        check_pool(&f, POOL_RESIZING, UNITS(3), UNITS(3), UNITS(4));
        assert_int_equal(shrink(&f, 1), RESULT_OK);
        broker_commit_shrink(f.broker, f.pool, 3000);
        assert_true(f.pool->size <= f.pool->target);
        check_pool(&f, POOL_RESIZING, UNITS(2), UNITS(2), UNITS(4));

        broker_end_target(f.broker, f.pool);
        assert_int_equal(f.pool->target, 0);
        check_pool(&f, POOL_READY, UNITS(2), UNITS(2), UNITS(4));
        broker_end_target(f.broker, f.pool);
        check_pool(&f, POOL_READY, UNITS(2), UNITS(2), UNITS(4));
        fixture_deinit(&f);
}

static void test_target_invalid(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        REFUSED(&f, target(&f, 0), .code = RESULT_INVALID, .asked = 0);
        REFUSED(&f, target(&f, UNITS(2) + 1), .code = RESULT_INVALID, .asked = UNITS(2) + 1);
        REFUSED(&f, target(&f, UNITS(4)), .code = RESULT_INVALID, .asked = UNITS(4));
        REFUSED(&f, target(&f, UNITS(5)), .code = RESULT_INVALID, .asked = UNITS(5));
        REFUSED(&f, target(&f, UINT64_MAX), .code = RESULT_INVALID, .asked = UINT64_MAX);
        check_pool(&f, POOL_READY, UNITS(4), UNITS(4), UNITS(4));
        assert_int_equal(target(&f, UNITS(3)), RESULT_OK);
        fixture_deinit(&f);
}

static void test_target_is_given_up_while_something_is_given_back(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(target(&f, UNITS(1)), RESULT_OK);
        assert_int_equal(shrink(&f, 1), RESULT_OK);
        broker_end_target(f.broker, f.pool);
        check_pool(&f, POOL_RESIZING, UNITS(4), UNITS(4), UNITS(4));
        broker_commit_shrink(f.broker, f.pool, 2000);
        check_pool(&f, POOL_READY, UNITS(3), UNITS(3), UNITS(4));
        assert_int_equal(f.pool->target_since, 0);
        fixture_deinit(&f);
}

/* -------------------------------------------------------------------------------------------------- busy */

static void check_all_busy(Fixture *f)
{
        REFUSED(f, grow(f, UNITS(5)), .code = RESULT_BUSY);
        REFUSED(f, grow(f, UNITS(4)), .code = RESULT_BUSY);
        REFUSED(f, grow(f, UNITS(3)), .code = RESULT_BUSY);
        REFUSED(f, shrink(f, 1), .code = RESULT_BUSY);
        REFUSED(f, target(f, UNITS(1)), .code = RESULT_BUSY);
}

static void test_busy(void **state)
{
        Fixture f;
        Pool *first;

        (void)state;
        fixture_init(&f);
        assert_int_equal(grow(&f, UNITS(6)), RESULT_OK);
        check_all_busy(&f);
        broker_abort_grow(f.broker, f.pool);

        assert_int_equal(shrink(&f, 1), RESULT_OK);
        check_all_busy(&f);
        broker_abort_shrink(f.broker, f.pool);

        assert_int_equal(target(&f, UNITS(1)), RESULT_OK);
        REFUSED(&f, grow(&f, UNITS(5)), .code = RESULT_BUSY);
        REFUSED(&f, grow(&f, UNITS(4)), .code = RESULT_BUSY);
        REFUSED(&f, target(&f, UNITS(2)), .code = RESULT_BUSY);
        assert_int_equal(shrink(&f, 1), RESULT_OK);
        check_all_busy(&f);
        broker_abort_shrink(f.broker, f.pool);
        broker_end_target(f.broker, f.pool);

        assert_true(broker_begin_release(f.broker, f.pool));
        check_all_busy(&f);
        /* What no state could make valid is said first. */
        REFUSED(&f, grow(&f, 1), .code = RESULT_INVALID, .asked = 1);
        REFUSED(&f, grow(&f, UNITS(17)), .code = RESULT_POOL_MAX, .asked = UNITS(17), .limit = UNITS(16));
        REFUSED(&f, shrink(&f, 0), .code = RESULT_INVALID);
        REFUSED(&f, target(&f, 1), .code = RESULT_INVALID, .asked = 1);

        first = f.pool;
        f.pool = reserved(&f, 2, UNITS(4), UNITS(16));
        check_all_busy(&f);
        f.pool = first;
        fixture_deinit(&f);
}

static void test_release_while_growing(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(grow(&f, UNITS(6)), RESULT_OK);
        assert_false(broker_begin_release(f.broker, f.pool));
        assert_false(broker_release_is_due(f.pool));
        check_pool(&f, POOL_RELEASING, UNITS(4), UNITS(6), UNITS(4));
        broker_commit_grow(f.broker, f.pool, UNITS(6));
        assert_true(broker_release_is_due(f.pool));
        check_pool(&f, POOL_RELEASING, UNITS(6), UNITS(6), UNITS(6));
        broker_finish_release(f.broker, f.pool);
        assert_int_equal(broker_figures(f.broker).bytes, 0);
        fixture_deinit(&f);

        fixture_init(&f);
        assert_int_equal(grow(&f, UNITS(6)), RESULT_OK);
        assert_false(broker_begin_release(f.broker, f.pool));
        broker_abort_grow(f.broker, f.pool);
        assert_true(broker_release_is_due(f.pool));
        check_pool(&f, POOL_RELEASING, UNITS(4), UNITS(4), UNITS(4));
        fixture_deinit(&f);
}

static void test_release_while_shrinking(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(target(&f, UNITS(1)), RESULT_OK);
        assert_int_equal(shrink(&f, 1), RESULT_OK);
        assert_false(broker_begin_release(f.broker, f.pool));
        assert_int_equal(f.pool->target, 0);
        broker_end_target(f.broker, f.pool);
        check_pool(&f, POOL_RELEASING, UNITS(4), UNITS(4), UNITS(4));
        broker_commit_shrink(f.broker, f.pool, 2000);
        assert_true(broker_release_is_due(f.pool));
        check_pool(&f, POOL_RELEASING, UNITS(3), UNITS(3), UNITS(4));
        fixture_deinit(&f);

        /* Waiting for its owner only: nothing stands in the way. */
        fixture_init(&f);
        assert_int_equal(target(&f, UNITS(1)), RESULT_OK);
        assert_true(broker_begin_release(f.broker, f.pool));
        broker_finish_release(f.broker, f.pool);
        fixture_deinit(&f);
}

/* ----------------------------------------------------------------------------------------------- correct */

static void test_correct(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        /* The limits are not asked: this is what there is. */
        f.tenant.bytes_max = UNITS(1);
        f.store.available = false;
        apply(&f);
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(6), UNITS(7)), 0);
        check_pool(&f, POOL_READY, UNITS(6), UNITS(6), UNITS(7));
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(2), UNITS(7)), 0);
        check_pool(&f, POOL_READY, UNITS(2), UNITS(2), UNITS(7));
        assert_int_equal(f.pool->max, UNITS(16));
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(17), UNITS(17)), 0);
        check_pool(&f, POOL_READY, UNITS(17), UNITS(17), UNITS(17));
        assert_int_equal(f.pool->max, UNITS(17));

        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(5), UNITS(4)), -EINVAL);
        assert_int_equal(broker_correct(f.broker, f.pool, 0, UNITS(4)), -EINVAL);
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(1) - 1, UNITS(4)), -EINVAL);
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(1), UNITS(4) + 1), -EINVAL);
        assert_int_equal(broker_correct(f.broker, f.pool, UINT64_MAX, UINT64_MAX), -EINVAL);
        check_pool(&f, POOL_READY, UNITS(17), UNITS(17), UNITS(17));
        fixture_deinit(&f);
}

static void test_correct_keeps_the_state(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(target(&f, UNITS(2)), RESULT_OK);
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(1), UNITS(4)), 0);
        assert_int_equal(f.pool->target, UNITS(2));
        check_pool(&f, POOL_RESIZING, UNITS(1), UNITS(1), UNITS(4));
        assert_true(broker_begin_release(f.broker, f.pool));
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(3), UNITS(4)), 0);
        check_pool(&f, POOL_RELEASING, UNITS(3), UNITS(3), UNITS(4));
        broker_finish_release(f.broker, f.pool);
        assert_int_equal(broker_figures(f.broker).bytes, 0);
        fixture_deinit(&f);
}

/* ------------------------------------------------------------------------------------------------ misuse */

static void commit_grow_idle(Fixture *f)
{
        broker_commit_grow(f->broker, f->pool, UNITS(4));
}

static void abort_grow_idle(Fixture *f)
{
        broker_abort_grow(f->broker, f->pool);
}

static void commit_shrink_idle(Fixture *f)
{
        broker_commit_shrink(f->broker, f->pool, 1);
}

/* A give-back whose answer was lost counts if the size says that it was done, and once. */
static void gifts_are_counted(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(f.pool->gifts, 1);
        assert_int_equal(shrink(&f, 1), RESULT_OK);
        broker_abort_shrink(f.broker, f.pool);
        assert_int_equal(f.pool->gifts, 1);
        assert_int_equal(shrink(&f, 1), RESULT_OK);
        broker_commit_shrink(f.broker, f.pool, 5);
        assert_int_equal(f.pool->gifts, 2);

        assert_int_equal(shrink(&f, 1), RESULT_OK);
        broker_lose_shrink(f.broker, f.pool);
        check_pool(&f, POOL_READY, UNITS(3), UNITS(3), UNITS(4));
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(3), UNITS(4)), 0); /* not done */
        assert_int_equal(f.pool->gifts, 2);
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(2), UNITS(4)), 0); /* no doubt any more */
        assert_int_equal(f.pool->gifts, 2);

        assert_int_equal(shrink(&f, 1), RESULT_OK);
        broker_lose_shrink(f.broker, f.pool);
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(1), UNITS(4)), 0); /* done */
        assert_int_equal(f.pool->gifts, 3);
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(1), UNITS(4)), 0);
        assert_int_equal(f.pool->gifts, 3);

        f.pool->gifts = UINT32_MAX; /* 0 would say that nobody counts */
        assert_int_equal(broker_correct(f.broker, f.pool, UNITS(4), UNITS(4)), 0);
        assert_int_equal(shrink(&f, 1), RESULT_OK);
        broker_commit_shrink(f.broker, f.pool, 5);
        assert_int_equal(f.pool->gifts, 1);
        fixture_deinit(&f);
}

static void a_request_finds_its_pool(void **state)
{
        Fixture f;
        Owner *other;

        (void)state;
        fixture_init(&f);
        assert_null(broker_find_request(f.owner, 0));
        f.pool->request_id = 7;
        assert_ptr_equal(broker_find_request(f.owner, 7), f.pool);
        assert_null(broker_find_request(f.owner, 8));
        assert_int_equal(
                broker_owner_attach(f.broker, &(PeerIdentity){.uid = 1000, .pid = 8}, 0, "prog", &other), 0);
        assert_null(broker_find_request(other, 7));
        (void)broker_begin_release(f.broker, f.pool);
        assert_null(broker_find_request(f.owner, 7));
        fixture_deinit(&f);
}

static void abort_shrink_idle(Fixture *f)
{
        broker_abort_shrink(f->broker, f->pool);
}

static void correct_while_growing(Fixture *f)
{
        (void)grow(f, UNITS(5));
        (void)broker_correct(f->broker, f->pool, UNITS(5), UNITS(5));
}

static void grow_ends_as_shrink(Fixture *f)
{
        (void)grow(f, UNITS(5));
        broker_commit_shrink(f->broker, f->pool, 1);
}

static void shrink_ends_as_grow(Fixture *f)
{
        (void)shrink(f, 1);
        broker_commit_grow(f->broker, f->pool, UNITS(5));
}

static void grow_ends_as_create(Fixture *f)
{
        (void)grow(f, UNITS(5));
        broker_commit_create(f->broker, f->pool, UNITS(5));
}

static void grow_aborts_as_create(Fixture *f)
{
        (void)grow(f, UNITS(5));
        broker_abort_create(f->broker, f->pool);
}

static void grow_too_short(Fixture *f)
{
        (void)grow(f, UNITS(5));
        broker_commit_grow(f->broker, f->pool, UNITS(5) - 1);
}

static void properly(Fixture *f)
{
        (void)grow(f, UNITS(5));
        broker_commit_grow(f->broker, f->pool, UNITS(5));
        (void)shrink(f, 1);
        broker_commit_shrink(f->broker, f->pool, 1);
}

static bool aborts(void (*fn)(Fixture *))
{
        Fixture f;
        pid_t pid;

        fixture_init(&f);
        if (child_begin_badly(&pid)) {
                fn(&f);
                _exit(0);
        }
        fixture_deinit(&f);
        return child_end(pid) == -SIGABRT;
}

static void test_misuse(void **state)
{
        (void)state;
        assert_false(aborts(properly));
        assert_true(aborts(commit_grow_idle));
        assert_true(aborts(abort_grow_idle));
        assert_true(aborts(commit_shrink_idle));
        assert_true(aborts(abort_shrink_idle));
        assert_true(aborts(correct_while_growing));
        assert_true(aborts(grow_ends_as_shrink));
        assert_true(aborts(shrink_ends_as_grow));
        assert_true(aborts(grow_ends_as_create));
        assert_true(aborts(grow_aborts_as_create));
        assert_true(aborts(grow_too_short));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(gifts_are_counted),
                cmocka_unit_test(a_request_finds_its_pool),
                cmocka_unit_test(test_grow),
                cmocka_unit_test(test_grow_to_what_it_is),
                cmocka_unit_test(test_grow_into_holes),
                cmocka_unit_test(test_grow_invalid),
                cmocka_unit_test(test_grow_to_max),
                cmocka_unit_test(test_grow_quotas),
                cmocka_unit_test(test_grow_where_it_may_not),
                cmocka_unit_test(test_shrink),
                cmocka_unit_test(test_shrink_leaves_one_unit),
                cmocka_unit_test(test_shrink_needs_no_store_or_tenant),
                cmocka_unit_test(test_target),
                cmocka_unit_test(test_target_invalid),
                cmocka_unit_test(test_target_is_given_up_while_something_is_given_back),
                cmocka_unit_test(test_busy),
                cmocka_unit_test(test_release_while_growing),
                cmocka_unit_test(test_release_while_shrinking),
                cmocka_unit_test(test_correct),
                cmocka_unit_test(test_correct_keeps_the_state),
                cmocka_unit_test(test_misuse),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
