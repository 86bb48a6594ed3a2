/* SPDX-License-Identifier: BSD-3-Clause */

/* Each allocation of each verb fails once: the verb says so, nothing has changed, and nothing has leaked. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/broker.h"

#define UNITS(n) ((n)*POOL_UNIT)

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#endif

static int allocations_until_failure; /* 0: none fails */
static long blocks;                   /* allocated */

#ifndef ADDRESS_SANITIZER
#define CAN_FAIL 1

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void __libc_free(void *p);

static bool fails_now(void)
{
        if (allocations_until_failure == 0 || --allocations_until_failure > 0) {
                blocks++;
                return false;
        }
        errno = ENOMEM;
        return true;
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
        return fails_now() ? NULL : __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
        return fails_now() ? NULL : __libc_calloc(n, size);
}

__attribute__((visibility("default"))) void free(void *p)
{
        if (p)
                blocks--;
        __libc_free(p);
}
#else
/* The allocator is the sanitizer's: the verbs run with nothing failing. */
#define CAN_FAIL 0
#endif

/* Calls `call` with its first, second ... allocation failing until none is left to fail. At each failure
 * it is `failure`, and `unchanged` holds. */
#define EACH_ALLOCATION_FAILS(n_least, call, success, failure, unchanged)         \
        do {                                                                      \
                int n_failed_ = 0;                                                \
                for (;;) {                                                        \
                        int result_;                                              \
                        long blocks_ = blocks;                                    \
                        bool failed_;                                             \
                        allocations_until_failure = CAN_FAIL ? n_failed_ + 1 : 0; \
                        result_ = (int)(call);                                    \
                        failed_ = CAN_FAIL && allocations_until_failure == 0;     \
                        allocations_until_failure = 0;                            \
                        if (!failed_) {                                           \
                                assert_int_equal(result_, (success));             \
                                break;                                            \
                        }                                                         \
                        n_failed_++;                                              \
                        assert_int_equal(result_, (failure));                     \
                        assert_int_equal(blocks, blocks_);                        \
                        assert_true(unchanged);                                   \
                }                                                                 \
                if (CAN_FAIL)                                                     \
                        assert_true(n_failed_ >= (n_least));                      \
        } while (0)

static const PeerIdentity peer = {.uid = 1000, .gid = 1000, .pid = 7, .start_time = 99};

static Broker *made(void)
{
        TenantConfig tenant = {.name = "all",
                .bytes_max = UINT64_MAX,
                .pools_max = UINT32_MAX,
                .pool_bytes_max = UINT64_MAX};
        StoreInfo store = {.name = "ram", .available = true, .capacity = UNITS(100000)};
        Broker *broker = NULL;

        assert_int_equal(broker_new(&broker), 0);
        assert_int_equal(broker_set_tenants(broker, &tenant, 1), 0);
        assert_int_equal(broker_set_stores(broker, &store, 1), 0);
        return broker;
}

static unsigned count(const List *head)
{
        unsigned n = 0;

        list_for_each (it, head)
                n++;
        return n;
}

static void test_new(void **state)
{
        Broker *broker = NULL;

        (void)state;
        EACH_ALLOCATION_FAILS(1, broker_new(&broker), 0, -ENOMEM, broker == NULL);
        broker_free(broker);
}

static bool tenants_are_as_made(const Broker *broker)
{
        const Tenant *tenant = broker_tenant_from_link(broker_tenants(broker)->next);

        return count(broker_tenants(broker)) == 1 && strcmp(tenant_name(tenant), "all") == 0 &&
               tenant_config(tenant)->n_matches == 0 && tenant_config(tenant)->bytes_max == UINT64_MAX &&
               broker_is_consistent(broker);
}

static void test_set_tenants(void **state)
{
        const Match matches[] = {
                {.kind = MATCH_UNIT, .glob = "a.service"}, {.kind = MATCH_SLICE, .glob = "b.slice"}};
        const char *stores[] = {"x", "y"};
        TenantConfig tenants[] = {
                {.name = "new", .matches = matches, .n_matches = 2, .stores = stores, .n_stores = 2},
                {.name = "all", .matches = matches, .n_matches = 2, .stores = stores, .n_stores = 2},
        };
        Broker *broker = made();

        (void)state;
        EACH_ALLOCATION_FAILS(
                14, broker_set_tenants(broker, tenants, 2), 0, -ENOMEM, tenants_are_as_made(broker));
        assert_int_equal(count(broker_tenants(broker)), 2);
        broker_free(broker);
}

static void test_set_stores(void **state)
{
        StoreInfo stores[] = {{.name = "ram", .capacity = 5}, {.name = "b"}, {.name = "c"}};
        Broker *broker = made();

        (void)state;
        EACH_ALLOCATION_FAILS(3, broker_set_stores(broker, stores, 3), 0, -ENOMEM,
                count(broker_stores(broker)) == 1 && broker_find_store(broker, "ram")->info.available);
        assert_int_equal(count(broker_stores(broker)), 3);
        assert_false(broker_find_store(broker, "ram")->info.available);
        broker_free(broker);
}

static void test_owner(void **state)
{
        Broker *broker = made();

        (void)state;
        /* Many, so that the table grows under them. */
        for (uint32_t i = 1; i <= 2000; i++) {
                PeerIdentity other = {.uid = 1, .pid = i, .start_time = i};
                Owner *owner = NULL;

                EACH_ALLOCATION_FAILS(1, broker_owner_attach(broker, &other, 0, "prog", &owner), 0, -ENOMEM,
                        owner == NULL && count(broker_owners(broker)) == i - 1);
                assert_int_equal(owner->pid, i);
        }
        for (uint32_t i = 1; i <= 2000; i++) {
                PeerIdentity other = {.uid = 1, .pid = i, .start_time = i};
                Owner *owner = NULL;

                EACH_ALLOCATION_FAILS(
                        0, broker_owner_attach(broker, &other, 0, "prog", &owner), 0, -ENOMEM, true);
                assert_int_equal(owner->n_sessions, 2);
        }
        assert_true(broker_is_consistent(broker));
        broker_free(broker);
}

static void test_create(void **state)
{
        Broker *broker = made();
        Owner *owner = NULL;
        Refusal refusal;

        (void)state;
        assert_int_equal(broker_owner_attach(broker, &peer, 0, "prog", &owner), 0);
        for (uint64_t i = 1; i <= 1000; i++) {
                CreateRequest request = {
                        .peer = &peer, .owner = owner, .id = i, .size = UNITS(1), .store = "", .name = "x"};
                Pool *pool = NULL;

                EACH_ALLOCATION_FAILS(1, broker_reserve_create(broker, &request, &pool, &refusal), RESULT_OK,
                        RESULT_FAILED,
                        pool == NULL && refusal.code == RESULT_FAILED && refusal.errno_value == ENOMEM &&
                                !broker_find_pool(broker, i) && broker_figures(broker).pools == i - 1 &&
                                broker_figures(broker).bytes == UNITS(i - 1) &&
                                count(&owner->pools) == i - 1);
                if (i % 100 == 1)
                        assert_true(broker_is_consistent(broker));
        }
        for (uint64_t i = 1; i <= 1000; i++)
                assert_int_equal(broker_find_pool(broker, i)->seq, i);
        broker_free(broker);
}

static void test_adopt(void **state)
{
        Broker *broker = made();
        AdoptRequest request = {.id = 1,
                .store = "ram",
                .tenant = "gone",
                .name = "",
                .size = UNITS(1),
                .length = UNITS(1),
                .max = UNITS(1)};
        Pool *pool = NULL;

        (void)state;
        assert_int_equal(broker_owner_attach(broker, &peer, 0, "prog", &request.owner), 0);
        EACH_ALLOCATION_FAILS(5, broker_adopt(broker, &request, &pool), 0, -ENOMEM,
                pool == NULL && broker_figures(broker).bytes == 0 && tenants_are_as_made(broker));
        assert_string_equal(tenant_name(pool->tenant), "gone");
        assert_true(broker_is_consistent(broker));
        broker_free(broker);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_new),
                cmocka_unit_test(test_set_tenants),
                cmocka_unit_test(test_set_stores),
                cmocka_unit_test(test_owner),
                cmocka_unit_test(test_create),
                cmocka_unit_test(test_adopt),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
