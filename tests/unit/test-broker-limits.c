/* SPDX-License-Identifier: BSD-3-Clause */
/* What administrators set at run time. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/broker.h"

#define MIB (UINT64_C(1) << 20)

typedef struct Fixture {
        Broker *broker;
        Owner *owner;
        uint64_t last_id;
} Fixture;

static const PeerIdentity peer = {
        .uid = 1000, .gid = 1000, .pid = 7, .start_time = 9, .unit = "", .cgroup = ""};

static const TenantConfig config = {
        .name = "t",
        .bytes_max = 64 * MIB,
        .percent = 50,
        .pools_max = 10,
        .pool_bytes_max = UINT64_MAX,
};

static int setup(void **state)
{
        static Fixture f;
        const StoreInfo stores[] = {
                {.name = "a", .kind = STORE_DIR, .available = true, .capacity = 100 * MIB, .index = 0},
                {.name = "b", .kind = STORE_DIR, .available = true, .capacity = 40 * MIB, .index = 1},
        };

        f = (Fixture){.last_id = 0};
        assert_int_equal(broker_new(&f.broker), 0);
        assert_int_equal(broker_set_stores(f.broker, stores, 2), 0);
        assert_int_equal(broker_set_tenants(f.broker, &config, 1), 0);
        assert_int_equal(broker_owner_attach(f.broker, &peer, 0, "x", &f.owner), 0);
        *state = &f;
        return 0;
}

static int teardown(void **state)
{
        Fixture *f = *state;

        assert_true(broker_is_consistent(f->broker));
        broker_free(f->broker);
        return 0;
}

static Result create(Fixture *f, const char *store, uint64_t size, Pool **ret)
{
        Refusal refusal;
        Result result = broker_reserve_create(f->broker,
                &(CreateRequest){.peer = &peer,
                        .owner = f->owner,
                        .id = ++f->last_id,
                        .size = size,
                        .store = store,
                        .name = ""},
                ret, &refusal);

        if (result == RESULT_OK)
                broker_commit_create(f->broker, *ret, size);
        return result;
}

static const TenantConfig *limits_of(const Fixture *f)
{
        return tenant_config(broker_tenant_from_link(broker_tenants(f->broker)->next));
}

static TenantFigures figures_of(const Fixture *f)
{
        return tenant_figures(broker_tenant_from_link(broker_tenants(f->broker)->next));
}

static Result override(Fixture *f, unsigned set, unsigned clear, TenantLimits limits)
{
        Refusal refusal;

        return broker_override_limits(f->broker, "t", set, clear, &limits, &refusal);
}

static void test_override(void **state)
{
        Fixture *f = *state;
        Pool *pool;

        assert_int_equal(override(f, OVERRIDE_BYTES | OVERRIDE_POOLS, 0,
                                 (TenantLimits){.bytes_max = 4 * MIB, .pools_max = 1}),
                RESULT_OK);
        assert_int_equal(limits_of(f)->bytes_max, 4 * MIB);
        assert_int_equal(limits_of(f)->percent, 0);
        assert_int_equal(limits_of(f)->pools_max, 1);
        assert_true(limits_of(f)->pool_bytes_max == UINT64_MAX);
        assert_int_equal(figures_of(f).overridden, OVERRIDE_BYTES | OVERRIDE_POOLS);
        assert_int_equal(create(f, "a", 6 * MIB, &pool), RESULT_QUOTA_BYTES);
        assert_int_equal(create(f, "a", 2 * MIB, &pool), RESULT_OK);
        assert_int_equal(create(f, "a", 2 * MIB, &pool), RESULT_QUOTA_POOLS);

        /* One is taken back, the other stays; then none is left. */
        assert_int_equal(override(f, 0, OVERRIDE_POOLS, (TenantLimits){0}), RESULT_OK);
        assert_int_equal(limits_of(f)->pools_max, 10);
        assert_int_equal(limits_of(f)->bytes_max, 4 * MIB);
        assert_int_equal(
                override(f, OVERRIDE_POOL_BYTES, OVERRIDE_BYTES, (TenantLimits){.pool_bytes_max = 2 * MIB}),
                RESULT_OK);
        assert_int_equal(limits_of(f)->bytes_max, 64 * MIB);
        assert_int_equal(limits_of(f)->percent, 50);
        assert_int_equal(create(f, "a", 4 * MIB, &pool), RESULT_QUOTA_POOL_SIZE);
        assert_int_equal(override(f, 0, OVERRIDE_POOL_BYTES, (TenantLimits){0}), RESULT_OK);
        assert_int_equal(figures_of(f).overridden, 0);
        assert_int_equal(create(f, "a", 4 * MIB, &pool), RESULT_OK);
}

/* A configuration that is read again changes what is not overridden, and what holds when the override goes. */
static void test_reconfigured(void **state)
{
        Fixture *f = *state;
        TenantConfig other = config;

        other.bytes_max = 32 * MIB;
        other.pools_max = 3;
        assert_int_equal(override(f, OVERRIDE_POOLS, 0, (TenantLimits){.pools_max = 77}), RESULT_OK);
        assert_int_equal(broker_set_tenants(f->broker, &other, 1), 0);
        assert_int_equal(limits_of(f)->bytes_max, 32 * MIB);
        assert_int_equal(limits_of(f)->pools_max, 77);
        assert_int_equal(override(f, 0, OVERRIDE_POOLS, (TenantLimits){0}), RESULT_OK);
        assert_int_equal(limits_of(f)->pools_max, 3);
}

static void test_retired(void **state)
{
        Fixture *f = *state;
        TenantConfig other = config;
        Pool *pool;

        assert_int_equal(create(f, "a", 2 * MIB, &pool), RESULT_OK);
        assert_int_equal(override(f, OVERRIDE_POOLS, 0, (TenantLimits){.pools_max = 77}), RESULT_OK);
        strcpy(other.name, "u");
        assert_int_equal(broker_set_tenants(f->broker, &other, 1), 0);
        /* It takes nothing new, whatever was set. */
        assert_int_equal(
                override(f, OVERRIDE_POOLS, 0, (TenantLimits){.pools_max = 77}), RESULT_TENANT_UNKNOWN);
        /* Configured again, it begins anew. */
        assert_int_equal(broker_set_tenants(f->broker, &config, 1), 0);
        assert_int_equal(limits_of(f)->pools_max, 10);
        assert_int_equal(figures_of(f).overridden, 0);
}

static void test_invalid(void **state)
{
        Fixture *f = *state;
        const TenantLimits good = {.bytes_max = UINT64_MAX, .percent = 100, .pool_bytes_max = UINT64_MAX};

        assert_int_equal(override(f, 8, 0, good), RESULT_INVALID);
        assert_int_equal(override(f, 0, 8, good), RESULT_INVALID);
        assert_int_equal(override(f, 1, 1, good), RESULT_INVALID);
        assert_int_equal(override(f, OVERRIDE_BYTES, 0, (TenantLimits){.percent = 101}), RESULT_INVALID);
        assert_int_equal(override(f, OVERRIDE_BYTES, 0, (TenantLimits){.bytes_max = POOL_BYTES_MAX + 1}),
                RESULT_INVALID);
        assert_int_equal(
                override(f, OVERRIDE_POOL_BYTES, 0, (TenantLimits){.pool_bytes_max = POOL_UNIT - 1}),
                RESULT_INVALID);
        assert_int_equal(
                override(f, OVERRIDE_POOL_BYTES, 0, (TenantLimits){.pool_bytes_max = POOL_BYTES_MAX + 1}),
                RESULT_INVALID);
        assert_int_equal(figures_of(f).overridden, 0);
        assert_int_equal(override(f, _OVERRIDE_ALL, 0, good), RESULT_OK);
        assert_int_equal(
                override(f, _OVERRIDE_ALL, 0,
                        (TenantLimits){.bytes_max = POOL_BYTES_MAX, .pool_bytes_max = POOL_BYTES_MAX}),
                RESULT_OK);
        assert_int_equal(
                override(f, _OVERRIDE_ALL, 0, (TenantLimits){.bytes_max = 0, .pool_bytes_max = POOL_UNIT}),
                RESULT_OK);
}

static void test_bytes_limit(void **state)
{
        Fixture *f = *state;
        const Tenant *t = broker_tenant_from_link(broker_tenants(f->broker)->next);

        assert_int_equal(broker_bytes_limit(f->broker, t), 64 * MIB); /* of 50 % of 140 MiB and that */
        assert_int_equal(
                override(f, OVERRIDE_BYTES, 0, (TenantLimits){.bytes_max = UINT64_MAX, .percent = 50}),
                RESULT_OK);
        assert_int_equal(broker_bytes_limit(f->broker, t), 70 * MIB);
        broker_set_unavailable(f->broker, "a", "away");
        assert_int_equal(broker_bytes_limit(f->broker, t), 20 * MIB);
        assert_int_equal(override(f, OVERRIDE_BYTES, 0, (TenantLimits){.bytes_max = UINT64_MAX}), RESULT_OK);
        assert_true(broker_bytes_limit(f->broker, t) == UINT64_MAX);
}

static void test_drain(void **state)
{
        Fixture *f = *state;
        Refusal refusal;
        bool noop;
        Pool *pool, *other;

        assert_int_equal(create(f, "a", 2 * MIB, &pool), RESULT_OK);
        pool->max = 8 * MIB;
        assert_int_equal(broker_drain_store(f->broker, "a", true, &refusal), RESULT_OK);
        assert_int_equal(create(f, "a", 2 * MIB, &other), RESULT_STORE_DRAINED);
        assert_int_equal(create(f, "", 2 * MIB, &other), RESULT_OK);
        assert_string_equal(other->store->info.name, "b");
        /* What it has may grow. */
        assert_int_equal(broker_reserve_grow(f->broker, pool, 4 * MIB, &noop, &refusal), RESULT_OK);
        broker_commit_grow(f->broker, pool, 4 * MIB);
        assert_int_equal(broker_drain_store(f->broker, "b", true, &refusal), RESULT_OK);
        assert_int_equal(create(f, "", 2 * MIB, &other), RESULT_STORE_UNAVAILABLE);
        assert_int_equal(broker_drain_store(f->broker, "a", false, &refusal), RESULT_OK);
        assert_int_equal(create(f, "", 2 * MIB, &other), RESULT_OK);
        assert_int_equal(broker_drain_store(f->broker, "c", true, &refusal), RESULT_STORE_UNKNOWN);
        assert_int_equal(figures_of(f).refused, 2);
        assert_int_equal(figures_of(f).created, 3);
}

/* What the configuration says counts when it is another than before. */
static void test_drain_configured(void **state)
{
        Fixture *f = *state;
        const Store *store = broker_find_store(f->broker, "a");
        Refusal refusal;

        broker_configure_drained(f->broker, "a", true);
        assert_true(store->drained);
        assert_int_equal(broker_drain_store(f->broker, "a", false, &refusal), RESULT_OK);
        broker_configure_drained(f->broker, "a", true);
        assert_false(store->drained);
        assert_true(store->drained_configured);
        broker_configure_drained(f->broker, "a", false);
        assert_false(store->drained_configured);
        assert_int_equal(broker_drain_store(f->broker, "a", true, &refusal), RESULT_OK);
        broker_configure_drained(f->broker, "a", false);
        assert_true(store->drained);
        broker_configure_drained(f->broker, "nix", true); /* not there, or not yet */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_override, setup, teardown),
                cmocka_unit_test_setup_teardown(test_reconfigured, setup, teardown),
                cmocka_unit_test_setup_teardown(test_retired, setup, teardown),
                cmocka_unit_test_setup_teardown(test_invalid, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bytes_limit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
                cmocka_unit_test_setup_teardown(test_drain_configured, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
