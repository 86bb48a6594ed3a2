/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/placement.h"
#include "core/tenant-internal.h"

static void add(List *stores, Store *store, const char *name, uint64_t capacity)
{
        *store = (Store){.info = {.available = true, .capacity = capacity}};
        (void)snprintf(store->info.name, sizeof(store->info.name), "%s", name);
        list_append(stores, &store->store_link);
}

/* The names of all candidates in order, blank-separated. */
static const char *order(const List *stores, const Tenant *tenant)
{
        static char names[4096];
        Store *store = NULL;
        size_t n = 0;

        names[0] = '\0';
        while ((store = placement_next(stores, tenant, store))) {
                n += (size_t)snprintf(
                        names + n, sizeof(names) - n, "%s%s", n > 0 ? " " : "", store->info.name);
                assert_true(n < sizeof(names));
        }
        return names;
}

static void test_no_store(void **state)
{
        List stores = LIST_INIT(stores);
        Tenant *tenant = tenant_new(&(TenantConfig){.name = "t"}, 1);

        (void)state;
        assert_null(placement_next(&stores, tenant, NULL));
        tenant_free(tenant);
}

static void test_most_free_bytes_first(void **state)
{
        List stores = LIST_INIT(stores);
        Tenant *tenant = tenant_new(&(TenantConfig){.name = "t"}, 1);
        Store a, b, c;

        (void)state;
        add(&stores, &a, "a", 100);
        add(&stores, &b, "b", 300);
        add(&stores, &c, "c", 200);
        assert_string_equal(order(&stores, tenant), "b c a");
        b.charged = 150;
        assert_string_equal(order(&stores, tenant), "c b a");
        b.charged = 201;
        assert_string_equal(order(&stores, tenant), "c a b");
        /* A full one is a candidate still: its refusal has the numbers. */
        c.charged = 1000;
        assert_string_equal(order(&stores, tenant), "a b c");
        tenant_free(tenant);
}

static void test_equals_as_configured(void **state)
{
        List stores = LIST_INIT(stores);
        Tenant *tenant = tenant_new(&(TenantConfig){.name = "t"}, 1);
        Store a, b, c, d, e;

        (void)state;
        add(&stores, &a, "a", 100);
        add(&stores, &b, "b", 200);
        add(&stores, &c, "c", 100);
        add(&stores, &d, "d", 200);
        add(&stores, &e, "e", UINT64_MAX);
        assert_string_equal(order(&stores, tenant), "e b d a c");
        e.info.capacity = 0;
        assert_string_equal(order(&stores, tenant), "b d a c e");
        b.info.capacity = d.info.capacity = e.info.capacity = 100;
        assert_string_equal(order(&stores, tenant), "a b c d e");
        tenant_free(tenant);
}

static void test_only_available_and_permitted(void **state)
{
        const char *names[] = {"c", "a", "x"};
        List stores = LIST_INIT(stores);
        Tenant *tenant = tenant_new(&(TenantConfig){.name = "t", .stores = names, .n_stores = 3}, 1);
        Store a, b, c;

        (void)state;
        add(&stores, &a, "a", 100);
        add(&stores, &b, "b", 300);
        add(&stores, &c, "c", 200);
        assert_string_equal(order(&stores, tenant), "c a");
        c.info.available = false;
        assert_string_equal(order(&stores, tenant), "a");
        a.info.available = false;
        assert_string_equal(order(&stores, tenant), "");
        tenant_free(tenant);
}

/* Every candidate exactly once and never more bytes than the one before, whatever the figures. */
static void test_each_once(void **state)
{
        enum {
                N = 64
        };
        Tenant *tenant = tenant_new(&(TenantConfig){.name = "t"}, 1);
        Store store[N];

        (void)state;
        srand(1);
        for (unsigned round = 0; round < 200; round++) {
                List stores = LIST_INIT(stores);
                const Store *previous = NULL;
                Store *it = NULL;
                unsigned n = 0;

                for (unsigned i = 0; i < N; i++) {
                        char name[8];

                        (void)snprintf(name, sizeof(name), "s%u", i);
                        add(&stores, &store[i], name, (uint64_t)rand() % (round + 1));
                }
                while ((it = placement_next(&stores, tenant, it))) {
                        if (previous) {
                                uint64_t before = store_free_bytes(previous), now = store_free_bytes(it);

                                assert_true(now < before || (now == before && it > previous));
                        }
                        previous = it;
                        n++;
                }
                assert_int_equal(n, N);
        }
        tenant_free(tenant);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_no_store),
                cmocka_unit_test(test_most_free_bytes_first),
                cmocka_unit_test(test_equals_as_configured),
                cmocka_unit_test(test_only_available_and_permitted),
                cmocka_unit_test(test_each_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
