/* SPDX-License-Identifier: BSD-3-Clause */

/* Create: where a pool comes to be, and why not. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "broker-fixture.h"

static void test_create(void **state)
{
        Fixture f;
        Pool *pool;

        (void)state;
        fixture_init(&f);
        f.request = (CreateRequest){
                .peer = &peer,
                .owner = f.owner,
                .id = UINT64_C(0xfeedfacecafebeef),
                .size = UNITS(3),
                .max = UNITS(30),
                .store = "a",
                .name = "cache",
                .request_id = 77,
                .now_usec = 123456,
        };
        assert_int_equal(reserve(&f), RESULT_OK);
        pool = f.pool;
        assert_int_equal(pool->id, UINT64_C(0xfeedfacecafebeef));
        assert_int_equal(pool->seq, 1);
        assert_string_equal(pool->name, "cache");
        assert_ptr_equal(pool->owner, f.owner);
        assert_string_equal(tenant_name(pool->tenant), "batch");
        assert_string_equal(pool->store->info.name, "a");
        assert_int_equal(pool->state, POOL_RESERVED);
        assert_int_equal(pool->size, UNITS(3));
        assert_int_equal(pool->charge.bytes, UNITS(3));
        assert_int_equal(pool->length, 0);
        assert_int_equal(pool->max, UNITS(30));
        assert_int_equal(pool->created, 123456);
        assert_int_equal(pool->request_id, 77);
        assert_true(pool->busy);
        assert_false(pool->lost);
        assert_int_equal(pool_length_for(pool, pool->size), UNITS(3));
        assert_ptr_equal(broker_find_pool(f.broker, pool->id), pool);
        assert_int_equal(pool->store->charged, UNITS(3));
        assert_int_equal(tenant_figures(pool->tenant).pools, 1);

        broker_commit_create(f.broker, pool, UNITS(4));
        assert_int_equal(pool->state, POOL_READY);
        assert_int_equal(pool->length, UNITS(4));
        assert_int_equal(pool->size, UNITS(3));
        assert_false(pool->busy);
        fixture_deinit(&f);
}

static void test_abort_create(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(reserve(&f), RESULT_OK);
        broker_abort_create(f.broker, f.pool);
        assert_null(broker_find_pool(f.broker, 1));
        assert_int_equal(broker_figures(f.broker).bytes, 0);
        assert_true(list_is_empty(&f.owner->pools));
        assert_true(list_is_empty(broker_pools(f.broker)));
        /* The id may be used again; the order goes on. */
        assert_int_equal(reserve(&f), RESULT_OK);
        assert_int_equal(f.pool->seq, 2);
        fixture_deinit(&f);
}

static void test_invalid_size(void **state)
{
        static const uint64_t sizes[] = {0, 1, POOL_UNIT - 1, POOL_UNIT + 1, POOL_BYTES_MAX + 1,
                POOL_BYTES_MAX + POOL_UNIT, UINT64_MAX, UINT64_MAX - POOL_UNIT + 1};
        Fixture f;

        (void)state;
        fixture_init(&f);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                f.request.size = sizes[i];
                f.request.max = 0;
                REFUSED(&f, .code = RESULT_INVALID, .asked = sizes[i]);
                if (sizes[i] == 0)
                        continue;
                f.request.size = UNITS(1);
                f.request.max = sizes[i];
                if (sizes[i] == BROKER_MAX_OF_QUOTA)
                        continue;
                REFUSED(&f, .code = RESULT_INVALID, .asked = sizes[i]);
        }
        f.request.size = UNITS(2);
        f.request.max = UNITS(1);
        REFUSED(&f, .code = RESULT_INVALID, .asked = UNITS(1));
        f.request.max = UNITS(2);
        assert_int_equal(reserve(&f), RESULT_OK);
        fixture_deinit(&f);
}

static void test_largest_size(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.stores[0].capacity = UINT64_MAX;
        apply(&f);
        f.request.size = POOL_BYTES_MAX;
        assert_int_equal(reserve(&f), RESULT_OK);
        assert_int_equal(f.pool->max, POOL_BYTES_MAX);
        f.request.id = 2;
        f.request.size = UNITS(1);
        f.request.max = POOL_BYTES_MAX;
        assert_int_equal(reserve(&f), RESULT_OK);
        fixture_deinit(&f);
}

static void test_no_tenant(void **state)
{
        Match match = {.kind = MATCH_USER, .id = 1};
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.tenant.matches = &match;
        f.tenant.n_matches = 1;
        apply(&f);
        REFUSED(&f, .code = RESULT_NO_TENANT);
        f.request.store = "x";
        REFUSED(&f, .code = RESULT_NO_TENANT);
        match.id = 1000;
        apply(&f);
        REFUSED(&f, .code = RESULT_STORE_UNKNOWN);
        fixture_deinit(&f);
}

static void test_store_unknown_or_not_permitted(void **state)
{
        const char *permitted[] = {"a"};
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.tenant.stores = permitted;
        f.tenant.n_stores = 1;
        apply(&f);
        f.request.store = "nowhere";
        REFUSED(&f, .code = RESULT_STORE_UNKNOWN);
        f.request.store = "b";
        REFUSED(&f, .code = RESULT_STORE_UNKNOWN);
        f.stores[1].available = false;
        apply(&f);
        REFUSED(&f, .code = RESULT_STORE_UNKNOWN);
        broker_stores_lost(f.broker);
        REFUSED(&f, .code = RESULT_STORE_UNKNOWN);
        apply(&f);
        f.request.store = "a";
        assert_int_equal(reserve(&f), RESULT_OK);
        fixture_deinit(&f);
}

static void test_store_unavailable(void **state)
{
        const char *permitted[] = {"a", "c"};
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.tenant.stores = permitted;
        f.tenant.n_stores = 2;
        f.stores[0].available = false;
        apply(&f);
        f.request.store = "a";
        REFUSED(&f, .code = RESULT_STORE_UNAVAILABLE, .subject = "a");
        f.request.store = "";
        f.request.size = UNITS(6);
        REFUSED(&f, .code = RESULT_STORE_FULL, .asked = UNITS(6), .limit = UNITS(5), .used = 0,
                .subject = "c");
        f.stores[2].available = false;
        apply(&f);
        REFUSED(&f, .code = RESULT_STORE_UNAVAILABLE);
        broker_stores_lost(f.broker);
        REFUSED(&f, .code = RESULT_RETRY);
        f.request.store = "a";
        REFUSED(&f, .code = RESULT_RETRY, .subject = "a");
        fixture_deinit(&f);
}

static void test_quotas(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.tenant.bytes_max = UNITS(4);
        f.tenant.pools_max = 2;
        f.tenant.pool_bytes_max = UNITS(3);
        apply(&f);
        f.request.size = UNITS(4);
        REFUSED(&f, .code = RESULT_QUOTA_POOL_SIZE, .asked = UNITS(4), .limit = UNITS(3),
                .subject = "batch");
        (void)created(&f, 1, UNITS(3), "");
        f.request.id = 2;
        f.request.size = UNITS(2);
        REFUSED(&f, .code = RESULT_QUOTA_BYTES, .asked = UNITS(2), .limit = UNITS(4), .used = UNITS(3),
                .subject = "batch");
        (void)created(&f, 2, UNITS(1), "");
        f.request.id = 3;
        REFUSED(&f, .code = RESULT_QUOTA_POOLS, .asked = 1, .limit = 2, .used = 2, .subject = "batch");
        fixture_deinit(&f);
}

static void test_max_is_no_promise(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.tenant.pool_bytes_max = UNITS(1);
        apply(&f);
        f.request.max = POOL_BYTES_MAX;
        assert_int_equal(reserve(&f), RESULT_OK);
        assert_int_equal(f.pool->charge.bytes, UNITS(1));
        fixture_deinit(&f);
}

static void test_max_of_quota(void **state)
{
        static const struct {
                uint64_t bytes, pool_bytes;
                unsigned percent;
                uint64_t size, max;
        } cases[] = {
                {UINT64_MAX, UINT64_MAX, 0, UNITS(1), UNITS(20)}, /* the emptiest store's capacity */
                {UNITS(7) + 1, UINT64_MAX, 0, UNITS(1), UNITS(7)},
                {UNITS(7), UNITS(3), 0, UNITS(1), UNITS(3)},
                {UINT64_MAX, UINT64_MAX, 26, UNITS(1), UNITS(5)},
                {UNITS(6), UNITS(6), 100, UNITS(6), UNITS(6)},
        };
        Fixture f;

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                fixture_init(&f);
                f.tenant.bytes_max = cases[i].bytes;
                f.tenant.pool_bytes_max = cases[i].pool_bytes;
                f.tenant.percent = cases[i].percent;
                apply(&f);
                f.request.size = cases[i].size;
                f.request.max = BROKER_MAX_OF_QUOTA;
                assert_int_equal(reserve(&f), RESULT_OK);
                assert_int_equal(f.pool->max, cases[i].max);
                assert_int_equal(f.pool->charge.bytes, cases[i].size);
                fixture_deinit(&f);
        }

        /* No store is as large as this; the size of a pool has a limit of its own. */
        fixture_init(&f);
        f.stores[1].capacity = UINT64_MAX;
        apply(&f);
        f.request.max = BROKER_MAX_OF_QUOTA;
        assert_int_equal(reserve(&f), RESULT_OK);
        assert_int_equal(f.pool->max, POOL_BYTES_MAX);
        fixture_deinit(&f);
}

static void test_order_of_checks(void **state)
{
        const char *permitted[] = {"a"};
        Match match = {.kind = MATCH_USER, .id = 1};
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.tenant = (TenantConfig){
                .name = "batch", .matches = &match, .n_matches = 1, .stores = permitted, .n_stores = 1};
        f.stores[0].available = false;
        f.stores[0].capacity = 0;
        apply(&f);
        f.request.size = 1;
        f.request.store = "b";
        REFUSED(&f, .code = RESULT_INVALID, .asked = 1);
        f.request.size = UNITS(1);
        REFUSED(&f, .code = RESULT_NO_TENANT);
        match.id = 1000;
        apply(&f);
        REFUSED(&f, .code = RESULT_STORE_UNKNOWN);
        f.request.store = "a";
        REFUSED(&f, .code = RESULT_STORE_UNAVAILABLE, .subject = "a");
        f.stores[0].available = true;
        apply(&f);
        REFUSED(&f, .code = RESULT_QUOTA_POOL_SIZE, .asked = UNITS(1), .subject = "batch");
        f.tenant.pool_bytes_max = UNITS(1);
        apply(&f);
        REFUSED(&f, .code = RESULT_QUOTA_POOLS, .asked = 1, .subject = "batch");
        f.tenant.pools_max = 1;
        apply(&f);
        REFUSED(&f, .code = RESULT_QUOTA_BYTES, .asked = UNITS(1), .subject = "batch");
        f.tenant.bytes_max = UNITS(1);
        apply(&f);
        REFUSED(&f, .code = RESULT_STORE_FULL, .asked = UNITS(1), .subject = "a");
        f.stores[0].capacity = UNITS(1);
        apply(&f);
        assert_int_equal(reserve(&f), RESULT_OK);
        fixture_deinit(&f);
}

static void test_emptiest_store_first(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        assert_string_equal(created(&f, 1, UNITS(10), "")->store->info.name, "b");
        assert_string_equal(
                created(&f, 2, UNITS(1), "")->store->info.name, "a"); /* 10 and 10: as configured */
        assert_string_equal(created(&f, 3, UNITS(1), "")->store->info.name, "b");
        assert_string_equal(created(&f, 4, UNITS(9), "")->store->info.name, "a");
        assert_string_equal(created(&f, 5, UNITS(9), "")->store->info.name, "b");
        assert_string_equal(created(&f, 6, UNITS(5), "")->store->info.name, "c");
        f.request.id = 7;
        f.request.size = UNITS(1);
        REFUSED(&f, .code = RESULT_STORE_FULL, .asked = UNITS(1), .limit = UNITS(10), .used = UNITS(10),
                .subject = "a");
        fixture_deinit(&f);
}

/* The best store has no room for this tenant, another one has. */
static void test_next_store_when_the_share_is_used_up(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.tenant.percent = 30; /* 3, 6 and 1 units */
        apply(&f);
        assert_string_equal(created(&f, 1, UNITS(6), "")->store->info.name, "b");
        assert_string_equal(created(&f, 2, UNITS(1), "")->store->info.name, "a");
        f.request.id = 3;
        f.request.size = UNITS(3);
        /* b is the best still, with 14 units free. */
        REFUSED(&f, .code = RESULT_QUOTA_BYTES, .asked = UNITS(3), .limit = UNITS(6), .used = UNITS(6),
                .subject = "batch");
        assert_string_equal(created(&f, 3, UNITS(2), "")->store->info.name, "a");
        assert_string_equal(created(&f, 4, UNITS(1), "")->store->info.name, "c");
        fixture_deinit(&f);
}

static void test_pools_are_listed_in_order(void **state)
{
        uint64_t seq = 0;
        Fixture f;

        (void)state;
        fixture_init(&f);
        for (uint64_t id = 9; id > 0; id--)
                (void)created(&f, id, UNITS(1), "");
        broker_begin_release(f.broker, broker_find_pool(f.broker, 5));
        broker_finish_release(f.broker, broker_find_pool(f.broker, 5));
        (void)created(&f, 5, UNITS(1), "");
        list_for_each (it, broker_pools(f.broker)) {
                const Pool *pool = list_entry(it, Pool, broker_link);

                assert_true(pool->seq > seq);
                seq = pool->seq;
                if (pool->id == 5)
                        assert_int_equal(seq, 10);
                else
                        assert_int_equal(seq, 10 - pool->id);
        }
        assert_int_equal(seq, 10);
        fixture_deinit(&f);
}

static void test_many_pools(void **state)
{
        enum {
                N = 3000
        };
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.stores[0].capacity = UNITS(N);
        apply(&f);
        for (uint64_t id = 1; id <= N; id++)
                (void)created(&f, id * UINT64_C(0x9e3779b97f4a7c15), UNITS(1), "a");
        for (uint64_t id = 1; id <= N; id++)
                assert_int_equal(broker_find_pool(f.broker, id * UINT64_C(0x9e3779b97f4a7c15))->seq, id);
        assert_int_equal(broker_figures(f.broker).pools, N);
        assert_int_equal(broker_figures(f.broker).bytes, UNITS(N));
        fixture_deinit(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_create),
                cmocka_unit_test(test_abort_create),
                cmocka_unit_test(test_invalid_size),
                cmocka_unit_test(test_largest_size),
                cmocka_unit_test(test_no_tenant),
                cmocka_unit_test(test_store_unknown_or_not_permitted),
                cmocka_unit_test(test_store_unavailable),
                cmocka_unit_test(test_quotas),
                cmocka_unit_test(test_max_is_no_promise),
                cmocka_unit_test(test_max_of_quota),
                cmocka_unit_test(test_order_of_checks),
                cmocka_unit_test(test_emptiest_store_first),
                cmocka_unit_test(test_next_store_when_the_share_is_used_up),
                cmocka_unit_test(test_pools_are_listed_in_order),
                cmocka_unit_test(test_many_pools),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
