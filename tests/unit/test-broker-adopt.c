/* SPDX-License-Identifier: BSD-3-Clause */

/* Adopt: pools that were there before the broker was. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "broker-fixture.h"

static AdoptRequest adoptable(const Fixture *f)
{
        return (AdoptRequest){
                .id = 5,
                .store = "a",
                .tenant = "batch",
                .name = "cache",
                .size = UNITS(2),
                .length = UNITS(4),
                .max = UNITS(8),
                .created = 1234,
                .request_id = 99,
                .owner = f->owner,
        };
}

static void test_adopt(void **state)
{
        AdoptRequest request;
        Pool *pool = NULL;
        Fixture f;
        bool noop;

        (void)state;
        fixture_init(&f);
        request = adoptable(&f);
        assert_int_equal(broker_adopt(f.broker, &request, &pool), 0);
        assert_ptr_equal(broker_find_pool(f.broker, 5), pool);
        assert_int_equal(pool->state, POOL_READY);
        assert_false(pool->busy);
        assert_string_equal(pool->name, "cache");
        assert_string_equal(tenant_name(pool->tenant), "batch");
        assert_string_equal(pool->store->info.name, "a");
        assert_int_equal(pool->size, UNITS(2));
        assert_int_equal(pool->charge.bytes, UNITS(2));
        assert_int_equal(pool->length, UNITS(4));
        assert_int_equal(pool->max, UNITS(8));
        assert_int_equal(pool->created, 1234);
        assert_int_equal(pool->request_id, 99);
        assert_ptr_equal(pool->owner, f.owner);
        assert_int_equal(pool->store->charged, UNITS(2));
        assert_true(broker_is_consistent(f.broker));

        assert_int_equal(broker_reserve_grow(f.broker, pool, UNITS(8), &noop, &f.refusal), RESULT_OK);
        broker_commit_grow(f.broker, pool, pool_length_for(pool, UNITS(8)));
        assert_int_equal(pool->length, UNITS(8));
        assert_true(broker_begin_release(f.broker, pool));
        broker_finish_release(f.broker, pool);
        fixture_deinit(&f);
}

static void test_adopt_releasing(void **state)
{
        AdoptRequest request;
        Pool *pool = NULL;
        Fixture f;

        (void)state;
        fixture_init(&f);
        request = adoptable(&f);
        request.releasing = true;
        request.size = 4096; /* as far as the release had come */
        request.length = 0;
        request.max = 0;
        assert_int_equal(broker_adopt(f.broker, &request, &pool), 0);
        assert_int_equal(pool->state, POOL_RELEASING);
        assert_true(broker_release_is_due(pool));
        assert_false(broker_begin_release(f.broker, pool));
        assert_int_equal(broker_figures(f.broker).releasing, 1);
        assert_int_equal(broker_figures(f.broker).bytes, 4096);
        assert_true(broker_is_consistent(f.broker));
        broker_finish_release(f.broker, pool);
        request.size = POOL_BYTES_MAX + 1;
        assert_int_equal(broker_adopt(f.broker, &request, &pool), -EINVAL);
        fixture_deinit(&f);
}

static void test_adopt_beyond_limits(void **state)
{
        AdoptRequest request;
        Pool *pool = NULL;
        Fixture f;

        (void)state;
        fixture_init(&f);
        f.tenant.bytes_max = UNITS(1);
        f.tenant.pools_max = 0;
        f.tenant.pool_bytes_max = UNITS(1);
        f.stores[0].available = false;
        f.stores[0].capacity = UNITS(1);
        apply(&f);
        request = adoptable(&f);
        assert_int_equal(broker_adopt(f.broker, &request, &pool), 0);
        assert_int_equal(pool->store->charged, UNITS(2));
        f.tenant.pools_max = 2;
        apply(&f);
        REFUSED(&f, .code = RESULT_QUOTA_BYTES, .asked = UNITS(1), .limit = UNITS(1), .used = UNITS(2),
                .subject = "batch");
        fixture_deinit(&f);
}

static void test_adopt_for_a_tenant_that_is_gone(void **state)
{
        AdoptRequest request;
        Pool *pool = NULL, *other = NULL, *third = NULL;
        Fixture f;

        (void)state;
        fixture_init(&f);
        request = adoptable(&f);
        request.tenant = "old";
        assert_int_equal(broker_adopt(f.broker, &request, &pool), 0);
        request.id = 6;
        assert_int_equal(broker_adopt(f.broker, &request, &other), 0);
        assert_ptr_equal(pool->tenant, other->tenant);
        assert_string_equal(tenant_name(pool->tenant), "old");
        assert_int_equal(tenant_figures(pool->tenant).bytes, UNITS(4));
        request.id = 7;
        request.tenant = "older";
        assert_int_equal(broker_adopt(f.broker, &request, &third), 0);
        assert_int_not_equal(tenant_account(third->tenant), tenant_account(pool->tenant));
        assert_true(broker_begin_release(f.broker, third));
        broker_finish_release(f.broker, third);
        assert_true(broker_is_consistent(f.broker));
        assert_true(broker_begin_release(f.broker, pool));
        broker_finish_release(f.broker, pool);
        assert_string_equal(tenant_name(other->tenant), "old");

        /* When it is configured again it has its pools. */
        f.tenant = (TenantConfig){
                .name = "old", .bytes_max = UNITS(3), .pools_max = 2, .pool_bytes_max = UNITS(9)};
        apply(&f);
        assert_int_equal(tenant_figures(other->tenant).pools, 1);
        f.request.size = UNITS(2);
        REFUSED(&f, .code = RESULT_QUOTA_BYTES, .asked = UNITS(2), .limit = UNITS(3), .used = UNITS(2),
                .subject = "old");
        fixture_deinit(&f);
}

static void test_adopt_errors(void **state)
{
        static const char long_name[] = "123456789012345678901234567890123";
        AdoptRequest request, good;
        Pool *pool = NULL;
        Fixture f;

        (void)state;
        fixture_init(&f);
        good = request = adoptable(&f);
#define FAILS(error, field, value)                                                  \
        do {                                                                        \
                request = good;                                                     \
                request.field = (value);                                            \
                assert_int_equal(broker_adopt(f.broker, &request, &pool), (error)); \
                assert_true(broker_is_consistent(f.broker));                        \
                assert_int_equal(broker_figures(f.broker).pools, 0);                \
        } while (0)
        FAILS(-EINVAL, id, 0);
        FAILS(-EINVAL, size, 0);
        FAILS(-EINVAL, size, UNITS(2) + 1);
        FAILS(-EINVAL, size, UNITS(5)); /* > length */
        FAILS(-EINVAL, size, UINT64_MAX);
        FAILS(-EINVAL, length, UNITS(1));
        FAILS(-EINVAL, length, UNITS(4) + 1);
        FAILS(-EINVAL, max, UNITS(1));
        FAILS(-EINVAL, max, 0);
        FAILS(-EINVAL, max, UNITS(8) - 1);
        FAILS(-EINVAL, tenant, "");
        FAILS(-EINVAL, tenant, long_name);
        FAILS(-EINVAL, name, long_name);
        FAILS(-ENOENT, store, "x");
        FAILS(-ENOENT, store, "");
#undef FAILS
        assert_null(pool);

        good.name = long_name + 1;
        good.size = good.length = good.max = UNITS(1);
        assert_int_equal(broker_adopt(f.broker, &good, &pool), 0);
        assert_string_equal(pool->name, long_name + 1);
        assert_int_equal(broker_adopt(f.broker, &good, &pool), -EEXIST);
        assert_int_equal(broker_figures(f.broker).pools, 1);
        fixture_deinit(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_adopt),
                cmocka_unit_test(test_adopt_releasing),
                cmocka_unit_test(test_adopt_beyond_limits),
                cmocka_unit_test(test_adopt_for_a_tenant_that_is_gone),
                cmocka_unit_test(test_adopt_errors),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
