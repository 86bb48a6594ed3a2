/* SPDX-License-Identifier: BSD-3-Clause */

/* broker_is_consistent() sees each figure that does not add up: one is spoiled at a time, and put back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/broker-internal.h"

#define UNITS(n) ((n)*POOL_UNIT)

static const PeerIdentity peer = {.uid = 1000, .gid = 1000, .pid = 7, .start_time = 99};

static Pool *reserved(Broker *broker, Owner *owner, uint64_t id)
{
        CreateRequest request = {.peer = &peer,
                .owner = owner,
                .id = id,
                .size = UNITS(2),
                .max = UNITS(9),
                .store = "",
                .name = ""};
        Refusal refusal;
        Pool *pool = NULL;

        assert_int_equal(broker_reserve_create(broker, &request, &pool, &refusal), RESULT_OK);
        return pool;
}

static Pool *created(Broker *broker, Owner *owner, uint64_t id)
{
        Pool *pool = reserved(broker, owner, id);

        broker_commit_create(broker, pool, UNITS(2));
        return pool;
}

#define SEEN(broker, lvalue, value)                         \
        do {                                                \
                __typeof__(lvalue) saved_ = (lvalue);       \
                assert_true(broker_is_consistent(broker));  \
                (lvalue) = (value);                         \
                assert_false(broker_is_consistent(broker)); \
                (lvalue) = saved_;                          \
                assert_true(broker_is_consistent(broker));  \
        } while (0)

static void test_each_figure_is_seen(void **state)
{
        TenantConfig tenant = {.name = "all",
                .bytes_max = UINT64_MAX,
                .pools_max = UINT32_MAX,
                .pool_bytes_max = UINT64_MAX};
        StoreInfo store = {.name = "ram", .available = true, .capacity = UNITS(100)};
        Broker *broker = NULL;
        Owner *owner = NULL, *other = NULL;
        Pool *a, *b, *growing, *releasing, *waiting;
        Refusal refusal;
        Share *share;
        bool noop;

        (void)state;
        assert_int_equal(broker_new(&broker), 0);
        assert_int_equal(broker_set_tenants(broker, &tenant, 1), 0);
        assert_int_equal(broker_set_stores(broker, &store, 1), 0);
        assert_int_equal(broker_owner_attach(broker, &peer, 0, "", &owner), 0);
        assert_int_equal(broker_owner_attach(broker, &(PeerIdentity){.pid = 1}, 0, "", &other), 0);
        a = created(broker, owner, 1);
        b = reserved(broker, owner, 2);
        growing = created(broker, owner, 3);
        assert_int_equal(broker_reserve_grow(broker, growing, UNITS(3), &noop, &refusal), RESULT_OK);
        releasing = created(broker, owner, 4);
        assert_true(broker_begin_release(broker, releasing));
        waiting = created(broker, owner, 5);
        assert_int_equal(broker_set_target(broker, waiting, UNITS(1), 1, &refusal), RESULT_OK);
        share = a->charge.share;

        SEEN(broker, a->charge.bytes, UNITS(1));
        SEEN(broker, a->charge.tenant, NULL);
        SEEN(broker, a->charge.store, NULL);
        SEEN(broker, a->charge.share, NULL);
        SEEN(broker, a->size, UNITS(3));
        SEEN(broker, a->length, UNITS(1));
        SEEN(broker, a->busy, true);
        SEEN(broker, a->pending, UNITS(2));
        SEEN(broker, a->target, UNITS(1));
        SEEN(broker, a->id, 77);
        SEEN(broker, a->seq, 2);
        SEEN(broker, waiting->seq, 6);
        SEEN(broker, a->owner, other);
        SEEN(broker, a->state, POOL_RESERVED);
        SEEN(broker, a->state, POOL_RESIZING);
        SEEN(broker, a->state, _POOL_STATE_MAX);
        SEEN(broker, b->state, POOL_READY);
        SEEN(broker, b->length, UNITS(2));
        SEEN(broker, growing->charge.bytes, UNITS(2));
        SEEN(broker, growing->state, POOL_READY);
        SEEN(broker, releasing->target, UNITS(1));
        SEEN(broker, waiting->target, 0);
        SEEN(broker, share->bytes, 0);
        SEEN(broker, share->n_pools, 4);
        SEEN(broker, a->tenant->bytes, 0);
        SEEN(broker, a->tenant->n_pools, 4);
        SEEN(broker, a->store->charged, 0);
        SEEN(broker, a->store->n_pools, 4);
        SEEN(broker, a->store->gone, true);
        SEEN(broker, other->n_sessions, 0);
        SEEN(broker, owner->alone_since, 5);
        broker_free(broker);
}

static void test_a_share_without_pools_is_seen(void **state)
{
        Broker *broker = NULL;
        Share share = {0};
        Tenant *tenant;

        (void)state;
        assert_int_equal(broker_new(&broker), 0);
        assert_int_equal(broker_set_tenants(broker, &(TenantConfig){.name = "t"}, 1), 0);
        tenant = broker_find_tenant(broker, "t");
        list_append(&tenant->shares, &share.share_link);
        assert_false(broker_is_consistent(broker));
        list_unlink(&share.share_link);
        SEEN(broker, tenant->retired, true);
        broker_free(broker);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_each_figure_is_seen),
                cmocka_unit_test(test_a_share_without_pools_is_seen),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
