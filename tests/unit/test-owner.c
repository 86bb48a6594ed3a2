/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/broker.h"

static Owner *attached(Broker *broker, const PeerIdentity *peer, uint64_t connection)
{
        Owner *owner = NULL;

        assert_int_equal(broker_owner_attach(broker, peer, connection, "prog", &owner), 0);
        assert_non_null(owner);
        return owner;
}

static unsigned count(const List *head)
{
        unsigned n = 0;

        list_for_each (it, head)
                n++;
        return n;
}

static Pool *pool_of(Broker *broker, Owner *owner, uint64_t id)
{
        CreateRequest request = {
                .peer = &(PeerIdentity){.uid = 1},
                .owner = owner,
                .id = id,
                .size = POOL_UNIT,
                .store = "",
                .name = "",
        };
        Pool *pool = NULL;
        Refusal refusal;

        assert_int_equal(broker_reserve_create(broker, &request, &pool, &refusal), RESULT_OK);
        broker_commit_create(broker, pool, POOL_UNIT);
        return pool;
}

static Broker *made(void)
{
        TenantConfig tenant = {.name = "all",
                .bytes_max = UINT64_MAX,
                .pools_max = UINT32_MAX,
                .pool_bytes_max = UINT64_MAX};
        StoreInfo store = {.name = "ram", .available = true, .capacity = 100 * POOL_UNIT};
        Broker *broker = NULL;

        assert_int_equal(broker_new(&broker), 0);
        assert_int_equal(broker_set_tenants(broker, &tenant, 1), 0);
        assert_int_equal(broker_set_stores(broker, &store, 1), 0);
        return broker;
}

static void test_one_process_one_owner(void **state)
{
        PeerIdentity peer = {.uid = 1000, .gid = 1001, .pid = 7, .start_time = 99};
        Broker *broker = made();
        Owner *owner = attached(broker, &peer, 1);

        (void)state;
        assert_int_equal(owner->uid, 1000);
        assert_int_equal(owner->gid, 1001);
        assert_int_equal(owner->pid, 7);
        assert_int_equal(owner->start_time, 99);
        assert_int_equal(owner->connection, 0);
        assert_string_equal(owner->command, "prog");
        assert_int_equal(owner->n_sessions, 1);
        assert_null(owner->userdata);

        /* Another connection of the same process. */
        assert_ptr_equal(attached(broker, &peer, 2), owner);
        assert_int_equal(owner->n_sessions, 2);
        assert_int_equal(count(broker_owners(broker)), 1);
        assert_true(broker_is_consistent(broker));

        assert_true(broker_owner_detach(broker, owner, 500));
        assert_int_equal(owner->alone_since, 0);
        assert_false(broker_owner_detach(broker, owner, 600));
        assert_int_equal(count(broker_owners(broker)), 0);
        broker_free(broker);
}

static void test_what_tells_processes_apart(void **state)
{
        Broker *broker = made();
        Owner *owner = attached(broker, &(PeerIdentity){.uid = 1, .pid = 7, .start_time = 99}, 1);

        (void)state;
        assert_ptr_not_equal(
                owner, attached(broker, &(PeerIdentity){.uid = 2, .pid = 7, .start_time = 99}, 1));
        assert_ptr_not_equal(
                owner, attached(broker, &(PeerIdentity){.uid = 1, .pid = 8, .start_time = 99}, 1));
        assert_ptr_not_equal(
                owner, attached(broker, &(PeerIdentity){.uid = 1, .pid = 7, .start_time = 98}, 1));
        assert_ptr_equal(
                owner, attached(broker, &(PeerIdentity){.uid = 1, .gid = 5, .pid = 7, .start_time = 99}, 9));
        assert_int_equal(count(broker_owners(broker)), 4);
        assert_true(broker_is_consistent(broker));
        broker_free(broker);
}

static void test_foreign_namespace_is_told_by_connection(void **state)
{
        PeerIdentity peer = {.uid = 1, .pid = 0, .start_time = 5};
        Broker *broker = made();
        Owner *a = attached(broker, &peer, 10), *b = attached(broker, &peer, 11);

        (void)state;
        assert_ptr_not_equal(a, b);
        assert_int_equal(a->connection, 10);
        assert_int_equal(b->connection, 11);
        assert_int_equal(a->pid, 0);
        assert_int_equal(a->start_time, 0);
        assert_ptr_equal(attached(broker, &peer, 10), a);
        broker_free(broker);
}

static void test_command(void **state)
{
        PeerIdentity peer = {.uid = 1, .pid = 7, .start_time = 99};
        Broker *broker = made();
        Owner *owner = NULL;

        (void)state;
        assert_int_equal(broker_owner_attach(broker, &peer, 1, "123456789012345", &owner), 0);
        assert_string_equal(owner->command, "123456789012345");
        assert_int_equal(broker_owner_attach(broker, &peer, 1, "abcdefghijklmnop", &owner), 0);
        assert_string_equal(owner->command, "abcdefghijklmno");
        assert_int_equal(broker_owner_attach(broker, &peer, 1, "sh", &owner), 0);
        assert_string_equal(owner->command, "sh");
        assert_int_equal(broker_owner_attach(broker, &peer, 1, "", &owner), 0);
        assert_string_equal(owner->command, "sh");
        assert_int_equal(broker_owner_attach(broker, &peer, 1, NULL, &owner), 0);
        assert_string_equal(owner->command, "sh");
        assert_int_equal(owner->n_sessions, 5);
        broker_free(broker);
}

static void test_pools_keep_their_owner(void **state)
{
        PeerIdentity peer = {.uid = 1, .pid = 7, .start_time = 99};
        Broker *broker = made();
        Owner *owner = attached(broker, &peer, 1);
        Pool *a = pool_of(broker, owner, 1), *b = pool_of(broker, owner, 2);

        (void)state;
        assert_int_equal(count(&owner->pools), 2);
        assert_ptr_equal(list_first(&owner->pools, Pool, owner_link), a);
        assert_true(broker_owner_detach(broker, owner, 777));
        assert_int_equal(owner->alone_since, 777);
        assert_int_equal(owner->n_sessions, 0);
        assert_false(broker_owner_collect(broker, owner));
        assert_true(broker_is_consistent(broker));

        /* It comes back before its time is over. */
        assert_ptr_equal(attached(broker, &peer, 2), owner);
        assert_int_equal(owner->alone_since, 0);
        assert_true(broker_owner_detach(broker, owner, 888));

        assert_true(broker_begin_release(broker, a));
        broker_finish_release(broker, a);
        assert_false(broker_owner_collect(broker, owner));
        assert_true(broker_begin_release(broker, b));
        broker_finish_release(broker, b);
        assert_true(broker_owner_collect(broker, owner));
        assert_int_equal(count(broker_owners(broker)), 0);
        broker_free(broker);
}

static void test_owner_with_a_session_is_kept(void **state)
{
        Broker *broker = made();
        Owner *owner = attached(broker, &(PeerIdentity){.uid = 1, .pid = 7, .start_time = 99}, 1);
        Pool *pool = pool_of(broker, owner, 1);

        (void)state;
        assert_true(broker_begin_release(broker, pool));
        broker_finish_release(broker, pool);
        assert_false(broker_owner_collect(broker, owner));
        assert_int_equal(count(broker_owners(broker)), 1);
        assert_false(broker_owner_detach(broker, owner, 1));
        broker_free(broker);
}

static void test_many(void **state)
{
        enum {
                N = 5000
        };
        static Owner *owners[N];
        Broker *broker = made();

        (void)state;
        for (uint32_t i = 0; i < N; i++)
                owners[i] = attached(
                        broker, &(PeerIdentity){.uid = i % 7, .pid = i + 1, .start_time = i / 3}, 1);
        assert_int_equal(count(broker_owners(broker)), N);
        for (uint32_t i = 0; i < N; i++)
                assert_ptr_equal(owners[i],
                        attached(broker, &(PeerIdentity){.uid = i % 7, .pid = i + 1, .start_time = i / 3},
                                1));
        for (uint32_t i = 0; i < N; i += 2) {
                assert_true(broker_owner_detach(broker, owners[i], 1));
                assert_false(broker_owner_detach(broker, owners[i], 1));
        }
        assert_int_equal(count(broker_owners(broker)), N / 2);
        broker_free(broker);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_one_process_one_owner),
                cmocka_unit_test(test_what_tells_processes_apart),
                cmocka_unit_test(test_foreign_namespace_is_told_by_connection),
                cmocka_unit_test(test_command),
                cmocka_unit_test(test_pools_keep_their_owner),
                cmocka_unit_test(test_owner_with_a_session_is_kept),
                cmocka_unit_test(test_many),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
