/* SPDX-License-Identifier: BSD-3-Clause */

/* The broker's life and configuration; its verbs have tests of their own. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/broker.h"
#include "child.h"

#define UNITS(n) ((n)*POOL_UNIT)

static const PeerIdentity peer = {.uid = 1000, .gid = 1000, .pid = 7, .start_time = 99};

/* Without limits; a test then sets the one that it is about. */
#define TENANT(n)                                                                                           \
        {                                                                                                   \
                .name = (n), .bytes_max = UINT64_MAX, .pools_max = UINT32_MAX, .pool_bytes_max = UINT64_MAX \
        }
#define STORE(n, units, number)                                                                          \
        {                                                                                                \
                .name = (n), .kind = STORE_TMPFS, .available = true, .capacity = UNITS(UINT64_C(units)), \
                .index = (number)                                                                        \
        }

static Broker *made(const TenantConfig *tenants, size_t n_tenants, const StoreInfo *stores, size_t n_stores)
{
        Broker *broker = NULL;

        assert_int_equal(broker_new(&broker), 0);
        assert_int_equal(broker_set_tenants(broker, tenants, n_tenants), 0);
        assert_int_equal(broker_set_stores(broker, stores, n_stores), 0);
        return broker;
}

static Owner *owner_of(Broker *broker)
{
        Owner *owner = NULL;

        assert_int_equal(broker_owner_attach(broker, &peer, 0, "prog", &owner), 0);
        return owner;
}

static Result create(Broker *broker, uint64_t id, uint64_t units, const char *store, Pool **ret)
{
        CreateRequest request = {
                .peer = &peer,
                .owner = owner_of(broker),
                .id = id,
                .size = UNITS(units),
                .store = store,
                .name = "",
        };
        Refusal refusal;
        Result result = broker_reserve_create(broker, &request, ret, &refusal);

        if (result == RESULT_OK)
                broker_commit_create(broker, *ret, UNITS(units));
        return result;
}

static void release(Broker *broker, Pool *pool)
{
        assert_true(broker_begin_release(broker, pool));
        broker_finish_release(broker, pool);
}

static const char *tenant_names(const Broker *broker)
{
        static char names[1024];
        size_t n = 0;

        names[0] = '\0';
        list_for_each (it, broker_tenants(broker))
                n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", n > 0 ? " " : "",
                        tenant_name(broker_tenant_from_link(it)));
        return names;
}

static const char *store_names(const Broker *broker)
{
        static char names[1024];
        size_t n = 0;

        names[0] = '\0';
        list_for_each (it, broker_stores(broker))
                n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", n > 0 ? " " : "",
                        list_entry(it, Store, store_link)->info.name);
        return names;
}

static void test_empty(void **state)
{
        Broker *broker = NULL;
        BrokerFigures figures;

        (void)state;
        assert_null(broker_free(NULL));
        assert_int_equal(broker_new(&broker), 0);
        assert_true(list_is_empty(broker_stores(broker)));
        assert_true(list_is_empty(broker_tenants(broker)));
        assert_true(list_is_empty(broker_pools(broker)));
        assert_true(list_is_empty(broker_owners(broker)));
        assert_null(broker_find_pool(broker, 1));
        assert_null(broker_find_store(broker, "ram"));
        figures = broker_figures(broker);
        assert_int_equal(figures.pools, 0);
        assert_int_equal(figures.releasing, 0);
        assert_int_equal(figures.bytes, 0);
        assert_int_equal(figures.refusals, 0);
        assert_true(broker_is_consistent(broker));
        assert_null(broker_free(broker));
}

/* The same user, pid and start time, but the first one has ended. */
static void test_owner_that_is_gone(void **state)
{
        Broker *broker = NULL;
        Owner *first, *second;

        (void)state;
        assert_int_equal(broker_new(&broker), 0);
        first = owner_of(broker);
        assert_ptr_equal(owner_of(broker), first);
        broker_owner_gone(broker, first);
        broker_owner_gone(broker, first);
        second = owner_of(broker);
        assert_ptr_not_equal(second, first);
        assert_ptr_equal(owner_of(broker), second);
        assert_true(first->gone && !second->gone);
        assert_true(broker_owner_detach(broker, first, 1));
        assert_false(broker_owner_detach(broker, first, 1));
        assert_ptr_equal(owner_of(broker), second);
        assert_null(broker_free(broker));
}

static void test_figures(void **state)
{
        TenantConfig tenants[] = {TENANT("all")};
        StoreInfo stores[] = {STORE("a", 10, 0), STORE("b", 10, 1)};
        Broker *broker = made(tenants, 1, stores, 2);
        BrokerFigures figures;
        Pool *a, *b, *c;

        (void)state;
        tenants[0].pools_max = 3;
        assert_int_equal(broker_set_tenants(broker, tenants, 1), 0);
        assert_int_equal(create(broker, 1, 1, "a", &a), RESULT_OK);
        assert_int_equal(create(broker, 2, 2, "b", &b), RESULT_OK);
        assert_int_equal(create(broker, 3, 4, "b", &c), RESULT_OK);
        assert_int_equal(create(broker, 4, 1, "a", &c), RESULT_QUOTA_POOLS);
        assert_int_equal(create(broker, 4, 1, "x", &c), RESULT_STORE_UNKNOWN);
        assert_true(broker_begin_release(broker, a));
        figures = broker_figures(broker);
        assert_int_equal(figures.pools, 3);
        assert_int_equal(figures.releasing, 1);
        assert_int_equal(figures.bytes, UNITS(7));
        assert_int_equal(figures.refusals, 2);
        broker_finish_release(broker, a);
        figures = broker_figures(broker);
        assert_int_equal(figures.pools, 2);
        assert_int_equal(figures.releasing, 0);
        assert_int_equal(figures.bytes, UNITS(6));
        broker_free(broker);
}

static void test_first_match_wins(void **state)
{
        Match user = {.kind = MATCH_USER, .id = 1000}, other = {.kind = MATCH_USER, .id = 1};
        TenantConfig tenants[] = {
                TENANT("other"),
                TENANT("mine"),
                TENANT("default"),
        };
        StoreInfo stores[] = {STORE("ram", 10, 0)};
        Broker *broker = made(NULL, 0, stores, 1);
        Pool *a = NULL, *b = NULL;

        (void)state;
        tenants[0].matches = &other;
        tenants[1].matches = &user;
        tenants[0].n_matches = tenants[1].n_matches = 1;
        assert_int_equal(broker_set_tenants(broker, tenants, 3), 0);
        assert_int_equal(create(broker, 1, 1, "", &a), RESULT_OK);
        assert_string_equal(tenant_name(a->tenant), "mine");

        /* New pools go by the new order, old ones stay where they are. */
        tenants[1].matches = &other;
        assert_int_equal(broker_set_tenants(broker, tenants, 3), 0);
        assert_int_equal(create(broker, 2, 1, "", &b), RESULT_OK);
        assert_string_equal(tenant_name(b->tenant), "default");
        assert_string_equal(tenant_name(a->tenant), "mine");
        assert_true(broker_is_consistent(broker));

        assert_int_equal(broker_set_tenants(broker, tenants, 2), 0);
        assert_int_equal(create(broker, 3, 1, "", &a), RESULT_NO_TENANT);
        broker_free(broker);
}

static void test_tenants_keep_pools_and_account(void **state)
{
        TenantConfig first[] = {TENANT("a"), TENANT("b"), TENANT("c")};
        TenantConfig second[] = {TENANT("d"), TENANT("c"), TENANT("a")};
        StoreInfo stores[] = {STORE("ram", 10, 0)};
        Broker *broker = made(first, 3, stores, 1);
        Tenant *a;
        Pool *pool = NULL;
        uint64_t account;

        (void)state;
        assert_string_equal(tenant_names(broker), "a b c");
        assert_int_equal(create(broker, 1, 2, "", &pool), RESULT_OK);
        a = pool->tenant;
        account = tenant_account(a);
        assert_string_equal(tenant_name(a), "a");

        second[2].bytes_max = UNITS(1);
        assert_int_equal(broker_set_tenants(broker, second, 3), 0);
        assert_string_equal(tenant_names(broker), "d c a");
        assert_ptr_equal(pool->tenant, a);
        assert_int_equal(tenant_account(a), account);
        assert_int_equal(tenant_config(a)->bytes_max, UNITS(1));
        assert_int_equal(tenant_figures(a).bytes, UNITS(2));
        list_for_each (it, broker_tenants(broker))
                list_for_each (jt, broker_tenants(broker))
                        if (it != jt)
                                assert_int_not_equal(tenant_account(broker_tenant_from_link(it)),
                                        tenant_account(broker_tenant_from_link(jt)));
        assert_true(broker_is_consistent(broker));
        broker_free(broker);
}

static void test_retired_tenant(void **state)
{
        TenantConfig both[] = {TENANT("old"), TENANT("new")}, one[] = {TENANT("new")};
        StoreInfo stores[] = {STORE("ram", 10, 0)};
        Broker *broker = made(both, 2, stores, 1);
        Pool *pool = NULL, *other = NULL;
        Refusal refusal;
        uint64_t account;
        bool noop;

        (void)state;
        assert_int_equal(create(broker, 1, 2, "", &pool), RESULT_OK);
        pool->max = UNITS(4);
        account = tenant_account(pool->tenant);
        assert_int_equal(broker_set_tenants(broker, one, 1), 0);
        assert_string_equal(tenant_names(broker), "new old");
        assert_true(broker_is_consistent(broker));

        assert_int_equal(broker_reserve_grow(broker, pool, UNITS(3), &noop, &refusal), RESULT_QUOTA_BYTES);
        assert_int_equal(refusal.asked, UNITS(1));
        assert_int_equal(refusal.limit, 0);
        assert_int_equal(refusal.used, UNITS(2));
        assert_string_equal(refusal.subject, "old");
        assert_int_equal(create(broker, 2, 1, "", &other), RESULT_OK);
        assert_string_equal(tenant_name(other->tenant), "new");

        /* It comes back as what it was. */
        assert_int_equal(broker_set_tenants(broker, both, 2), 0);
        assert_string_equal(tenant_names(broker), "old new");
        assert_int_equal(tenant_account(pool->tenant), account);
        assert_int_equal(broker_reserve_grow(broker, pool, UNITS(3), &noop, &refusal), RESULT_OK);
        broker_commit_grow(broker, pool, UNITS(3));

        /* And it goes with its last pool. */
        assert_int_equal(broker_set_tenants(broker, one, 1), 0);
        release(broker, pool);
        assert_string_equal(tenant_names(broker), "new");
        assert_true(broker_is_consistent(broker));
        assert_int_equal(broker_set_tenants(broker, NULL, 0), 0);
        assert_string_equal(tenant_names(broker), "new");
        release(broker, other);
        assert_string_equal(tenant_names(broker), "");
        broker_free(broker);
}

static void test_stores_change(void **state)
{
        TenantConfig tenants[] = {TENANT("all")};
        StoreInfo first[] = {STORE("a", 10, 0), STORE("b", 10, 1), STORE("c", 10, 2)};
        StoreInfo second[] = {STORE("c", 20, 0), STORE("d", 4, 1)};
        Broker *broker = made(tenants, 1, first, 3);
        Pool *a = NULL, *c = NULL, *other = NULL;

        (void)state;
        tenants[0].percent = 50;
        assert_int_equal(broker_set_tenants(broker, tenants, 1), 0);
        assert_string_equal(store_names(broker), "a b c");
        assert_int_equal(create(broker, 1, 2, "a", &a), RESULT_OK);
        assert_int_equal(create(broker, 2, 5, "c", &c), RESULT_OK);
        assert_int_equal(create(broker, 3, 1, "c", &other), RESULT_QUOTA_BYTES);

        assert_int_equal(broker_set_stores(broker, second, 2), 0);
        assert_string_equal(store_names(broker), "c d a");
        assert_true(broker_is_consistent(broker));
        assert_null(broker_find_store(broker, "b"));
        assert_false(a->store->info.available);
        assert_int_equal(a->store->info.index, STORE_INDEX_NONE);
        assert_int_equal(c->store->info.index, 0);
        assert_int_equal(c->store->charged, UNITS(5));
        assert_int_equal(create(broker, 3, 1, "a", &other), RESULT_STORE_UNAVAILABLE);
        assert_int_equal(create(broker, 3, 1, "b", &other), RESULT_STORE_UNKNOWN);
        /* The percentage is of the new capacity. */
        assert_int_equal(create(broker, 3, 6, "c", &other), RESULT_QUOTA_BYTES);
        assert_int_equal(create(broker, 3, 5, "c", &other), RESULT_OK);

        release(broker, a);
        assert_string_equal(store_names(broker), "c d");

        /* One that became too small keeps its pools and takes no more. */
        second[0].capacity = UNITS(9);
        assert_int_equal(broker_set_stores(broker, second, 1), 0);
        assert_string_equal(store_names(broker), "c");
        assert_int_equal(c->store->charged, UNITS(10));
        assert_int_equal(store_free_bytes(c->store), 0);
        assert_true(broker_is_consistent(broker));
        broker_free(broker);
}

static void test_store_that_comes_back(void **state)
{
        TenantConfig tenants[] = {TENANT("all")};
        StoreInfo stores[] = {STORE("a", 10, 5)};
        Broker *broker = made(tenants, 1, stores, 1);
        Pool *pool = NULL, *other = NULL;
        Store *store;

        (void)state;
        assert_int_equal(create(broker, 1, 2, "a", &pool), RESULT_OK);
        store = pool->store;
        assert_int_equal(broker_set_stores(broker, NULL, 0), 0);
        assert_true(store->gone);
        assert_int_equal(broker_set_stores(broker, stores, 1), 0);
        assert_ptr_equal(broker_find_store(broker, "a"), store);
        assert_false(store->gone);
        assert_true(store->info.available);
        assert_int_equal(store->info.index, 5);
        assert_int_equal(create(broker, 2, 9, "a", &other), RESULT_STORE_FULL);
        assert_int_equal(create(broker, 2, 8, "a", &other), RESULT_OK);
        release(broker, pool);
        release(broker, other);
        assert_string_equal(store_names(broker), "a");
        broker_free(broker);
}

static void test_provisioner_away(void **state)
{
        TenantConfig tenants[] = {TENANT("all")};
        StoreInfo stores[] = {STORE("a", 10, 0), STORE("off", 10, 1)};
        Broker *broker = NULL;
        Pool *pool = NULL, *other = NULL;
        Refusal refusal;
        bool noop;

        (void)state;
        assert_int_equal(broker_new(&broker), 0);
        assert_int_equal(broker_set_tenants(broker, tenants, 1), 0);

        stores[1].available = false;
        /* Before it has come for the first time no name is known to be wrong. */
        assert_int_equal(create(broker, 1, 1, "", &pool), RESULT_RETRY);
        assert_int_equal(create(broker, 1, 1, "a", &pool), RESULT_RETRY);

        assert_int_equal(broker_set_stores(broker, stores, 2), 0);
        assert_int_equal(create(broker, 1, 1, "off", &pool), RESULT_STORE_UNAVAILABLE);
        assert_int_equal(create(broker, 1, 1, "a", &pool), RESULT_OK);
        pool->max = UNITS(2);

        broker_stores_lost(broker);
        assert_true(broker_is_consistent(broker));
        assert_false(broker_find_store(broker, "a")->info.available);
        assert_int_equal(create(broker, 2, 1, "", &other), RESULT_RETRY);
        assert_int_equal(create(broker, 2, 1, "a", &other), RESULT_RETRY);
        assert_int_equal(create(broker, 2, 1, "off", &other), RESULT_RETRY);
        assert_int_equal(create(broker, 2, 1, "x", &other), RESULT_STORE_UNKNOWN);
        assert_int_equal(broker_reserve_grow(broker, pool, UNITS(2), &noop, &refusal), RESULT_RETRY);

        assert_int_equal(broker_set_stores(broker, stores, 2), 0);
        assert_int_equal(create(broker, 2, 1, "a", &other), RESULT_OK);
        assert_int_equal(broker_reserve_grow(broker, pool, UNITS(2), &noop, &refusal), RESULT_OK);
        broker_free(broker);
}

static void test_no_stores_at_all(void **state)
{
        TenantConfig tenants[] = {TENANT("all")};
        Broker *broker = made(tenants, 1, NULL, 0);
        Pool *pool = NULL;

        (void)state;
        assert_int_equal(create(broker, 1, 1, "", &pool), RESULT_STORE_UNAVAILABLE);
        assert_int_equal(create(broker, 1, 1, "a", &pool), RESULT_STORE_UNKNOWN);
        broker_free(broker);
}

static void two_tenants_of_one_name(void)
{
        TenantConfig tenants[] = {TENANT("a"), TENANT("a")};
        Broker *broker = NULL;

        if (broker_new(&broker) == 0)
                (void)broker_set_tenants(broker, tenants, 2);
}

static void two_stores_of_one_name(void)
{
        StoreInfo stores[] = {STORE("a", 1, 0), STORE("b", 1, 1), STORE("a", 1, 2)};
        Broker *broker = NULL;

        if (broker_new(&broker) == 0)
                (void)broker_set_stores(broker, stores, 3);
}

static void nothing(void)
{
}

static bool aborts(void (*fn)(void))
{
        pid_t pid;

        if (child_begin_badly(&pid)) {
                fn();
                _exit(0);
        }
        return child_end(pid) == -SIGABRT;
}

static void test_duplicate_names_abort(void **state)
{
        (void)state;
        assert_true(aborts(two_tenants_of_one_name));
        assert_true(aborts(two_stores_of_one_name));
        assert_false(aborts(nothing));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_empty),
                cmocka_unit_test(test_owner_that_is_gone),
                cmocka_unit_test(test_figures),
                cmocka_unit_test(test_first_match_wins),
                cmocka_unit_test(test_tenants_keep_pools_and_account),
                cmocka_unit_test(test_retired_tenant),
                cmocka_unit_test(test_stores_change),
                cmocka_unit_test(test_store_that_comes_back),
                cmocka_unit_test(test_provisioner_away),
                cmocka_unit_test(test_no_stores_at_all),
                cmocka_unit_test(test_duplicate_names_abort),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
