/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/tenant-internal.h"

static void test_config_is_copied_deeply(void **state)
{
        char glob[] = "web@*.service", store[] = "ram";
        Match matches[] = {{.kind = MATCH_USER, .id = 5}, {.kind = MATCH_UNIT, .glob = glob}};
        const char *stores[] = {store};
        TenantConfig config = {
                .name = "web",
                .matches = matches,
                .n_matches = 2,
                .bytes_max = 1,
                .percent = 2,
                .pools_max = 3,
                .pool_bytes_max = 4,
                .stores = stores,
                .n_stores = 1,
        };
        Tenant *tenant = tenant_new(&config, 17);
        const TenantConfig *copy;

        (void)state;
        assert_non_null(tenant);
        memset(glob, 'x', sizeof(glob) - 1);
        memset(store, 'x', sizeof(store) - 1);
        memset(matches, 0, sizeof(matches));
        memset(stores, 0, sizeof(stores));
        memset(config.name, 'x', 3);

        copy = tenant_config(tenant);
        assert_string_equal(tenant_name(tenant), "web");
        assert_int_equal(tenant_account(tenant), 17);
        assert_int_equal(copy->n_matches, 2);
        assert_int_equal(copy->matches[0].kind, MATCH_USER);
        assert_int_equal(copy->matches[0].id, 5);
        assert_int_equal(copy->matches[1].kind, MATCH_UNIT);
        assert_string_equal(copy->matches[1].glob, "web@*.service");
        assert_int_equal(copy->bytes_max, 1);
        assert_int_equal(copy->percent, 2);
        assert_int_equal(copy->pools_max, 3);
        assert_int_equal(copy->pool_bytes_max, 4);
        assert_int_equal(copy->n_stores, 1);
        assert_string_equal(copy->stores[0], "ram");
        assert_int_equal(tenant_figures(tenant).bytes, 0);
        assert_int_equal(tenant_figures(tenant).pools, 0);

        assert_null(tenant_free(tenant));
        assert_null(tenant_free(NULL));
}

static void test_one_match_is_enough(void **state)
{
        Match matches[] = {
                {.kind = MATCH_USER, .id = 5},
                {.kind = MATCH_GROUP, .id = 6},
                {.kind = MATCH_UNIT, .glob = "a.service"},
        };
        TenantConfig config = {.name = "t", .matches = matches, .n_matches = 3};
        Tenant *tenant = tenant_new(&config, 1);

        (void)state;
        assert_true(tenant_matches(tenant, &(PeerIdentity){.uid = 5}));
        assert_true(tenant_matches(tenant, &(PeerIdentity){.uid = 4, .gid = 6}));
        assert_true(tenant_matches(tenant, &(PeerIdentity){.uid = 4, .unit = "a.service"}));
        assert_false(tenant_matches(tenant, &(PeerIdentity){.uid = 4, .gid = 5, .unit = "b.service"}));
        tenant_free(tenant);
}

static void test_without_matches_everybody(void **state)
{
        Tenant *tenant = tenant_new(&(TenantConfig){.name = "default"}, 1);

        (void)state;
        assert_true(tenant_matches(tenant, &(PeerIdentity){.uid = 12345}));
        tenant_retire(tenant);
        assert_false(tenant_matches(tenant, &(PeerIdentity){.uid = 12345}));
        tenant_free(tenant);
}

static void test_stores(void **state)
{
        const char *names[] = {"ram", "pmem0"};
        Store ram = {.info = {.name = "ram"}}, pmem = {.info = {.name = "pmem0"}};
        Store other = {.info = {.name = "pmem"}};
        Tenant *all = tenant_new(&(TenantConfig){.name = "all"}, 1);
        Tenant *two = tenant_new(&(TenantConfig){.name = "two", .stores = names, .n_stores = 2}, 2);
        Tenant *none = tenant_new(&(TenantConfig){.name = "none", .stores = names, .n_stores = 0}, 3);

        (void)state;
        assert_true(tenant_may_use(all, &ram));
        assert_true(tenant_may_use(all, &other));
        assert_true(tenant_may_use(two, &ram));
        assert_true(tenant_may_use(two, &pmem));
        assert_false(tenant_may_use(two, &other));
        assert_false(tenant_may_use(none, &ram));
        tenant_free(all);
        tenant_free(two);
        tenant_free(none);
}

static void test_retired_takes_nothing(void **state)
{
        Tenant *tenant = tenant_new_retired("old", 9);

        (void)state;
        assert_string_equal(tenant_name(tenant), "old");
        assert_int_equal(tenant_account(tenant), 9);
        assert_true(tenant->retired);
        assert_int_equal(tenant_config(tenant)->bytes_max, 0);
        assert_int_equal(tenant_config(tenant)->pools_max, 0);
        assert_false(tenant_matches(tenant, &(PeerIdentity){.uid = 1}));
        tenant_free(tenant);
}

static void test_reconfigure(void **state)
{
        Match match = {.kind = MATCH_SLICE, .glob = "a.slice"};
        Tenant *old = tenant_new_retired("t", 1);
        Tenant *new = tenant_new(
                &(TenantConfig){.name = "t", .matches = &match, .n_matches = 1, .bytes_max = 10}, 2);

        (void)state;
        tenant_reconfigure(old, new);
        tenant_free(new);
        assert_false(old->retired);
        assert_int_equal(tenant_account(old), 1);
        assert_int_equal(tenant_config(old)->bytes_max, 10);
        assert_true(tenant_matches(old, &(PeerIdentity){.cgroup = "/a.slice/b.service"}));
        assert_false(tenant_matches(old, &(PeerIdentity){.cgroup = "/b.slice/b.service"}));
        tenant_free(old);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_config_is_copied_deeply),
                cmocka_unit_test(test_one_match_is_enough),
                cmocka_unit_test(test_without_matches_everybody),
                cmocka_unit_test(test_stores),
                cmocka_unit_test(test_retired_takes_nothing),
                cmocka_unit_test(test_reconfigure),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
