/* SPDX-License-Identifier: BSD-3-Clause */

/* Release, and steps that nobody may take. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "broker-fixture.h"
#include "child.h"

/* ----------------------------------------------------------------------------------------------- release */

static void test_release(void **state)
{
        Fixture f;
        Pool *pool;

        (void)state;
        fixture_init(&f);
        pool = created(&f, 1, UNITS(3), "a");
        assert_false(broker_release_is_due(pool));
        assert_true(broker_begin_release(f.broker, pool));
        assert_int_equal(pool->state, POOL_RELEASING);
        assert_true(broker_release_is_due(pool));
        assert_int_equal(pool->store->charged, UNITS(3));
        assert_false(broker_begin_release(f.broker, pool));
        assert_true(broker_is_consistent(f.broker));
        broker_finish_release(f.broker, pool);
        assert_null(broker_find_pool(f.broker, 1));
        assert_int_equal(broker_figures(f.broker).bytes, 0);
        fixture_deinit(&f);
}

static void test_release_while_being_created(void **state)
{
        Fixture f;
        Pool *pool;

        (void)state;
        fixture_init(&f);
        assert_int_equal(reserve(&f), RESULT_OK);
        pool = f.pool;
        assert_false(broker_begin_release(f.broker, pool));
        assert_false(broker_release_is_due(pool));
        assert_false(broker_begin_release(f.broker, pool));
        assert_true(broker_is_consistent(f.broker));
        broker_commit_create(f.broker, pool, UNITS(1));
        assert_int_equal(pool->state, POOL_RELEASING);
        assert_true(broker_release_is_due(pool));
        assert_true(broker_is_consistent(f.broker));
        broker_finish_release(f.broker, pool);

        assert_int_equal(reserve(&f), RESULT_OK);
        assert_false(broker_begin_release(f.broker, f.pool));
        broker_abort_create(f.broker, f.pool);
        assert_int_equal(broker_figures(f.broker).pools, 0);
        fixture_deinit(&f);
}

static void test_broker_dies_with_everything(void **state)
{
        Fixture f;

        (void)state;
        fixture_init(&f);
        (void)created(&f, 1, UNITS(1), "a");
        assert_true(broker_begin_release(f.broker, created(&f, 2, UNITS(1), "b")));
        f.request.id = 3;
        assert_int_equal(reserve(&f), RESULT_OK);
        assert_int_equal(broker_set_tenants(f.broker, NULL, 0), 0);
        assert_int_equal(broker_set_stores(f.broker, NULL, 0), 0);
        fixture_deinit(&f);
}

/* ------------------------------------------------------------------------------------------------ misuse */

static void commit_twice(Fixture *f)
{
        broker_commit_create(f->broker, f->pool, UNITS(1));
        broker_commit_create(f->broker, f->pool, UNITS(1));
}

static void abort_after_commit(Fixture *f)
{
        broker_commit_create(f->broker, f->pool, UNITS(1));
        broker_abort_create(f->broker, f->pool);
}

static void commit_too_short(Fixture *f)
{
        broker_commit_create(f->broker, f->pool, UNITS(1) - 1);
}

static void commit_as_grow(Fixture *f)
{
        broker_commit_grow(f->broker, f->pool, UNITS(1));
}

static void commit_as_shrink(Fixture *f)
{
        broker_commit_shrink(f->broker, f->pool, 1);
}

static void abort_as_grow(Fixture *f)
{
        broker_abort_grow(f->broker, f->pool);
}

static void finish_while_busy(Fixture *f)
{
        (void)broker_begin_release(f->broker, f->pool);
        broker_finish_release(f->broker, f->pool);
}

static void finish_without_begin(Fixture *f)
{
        broker_commit_create(f->broker, f->pool, UNITS(1));
        broker_finish_release(f->broker, f->pool);
}

static void same_id_again(Fixture *f)
{
        Pool *pool;

        (void)broker_reserve_create(f->broker, &f->request, &pool, &f->refusal);
}

static void properly(Fixture *f)
{
        broker_commit_create(f->broker, f->pool, UNITS(1));
        (void)broker_begin_release(f->broker, f->pool);
        broker_finish_release(f->broker, f->pool);
}

/* Tried in a child, on a pool that is reserved. */
static bool aborts(void (*fn)(Fixture *))
{
        Fixture f;
        pid_t pid;

        fixture_init(&f);
        assert_int_equal(reserve(&f), RESULT_OK);
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
        assert_true(aborts(commit_twice));
        assert_true(aborts(abort_after_commit));
        assert_true(aborts(commit_too_short));
        assert_true(aborts(commit_as_grow));
        assert_true(aborts(commit_as_shrink));
        assert_true(aborts(abort_as_grow));
        assert_true(aborts(finish_while_busy));
        assert_true(aborts(finish_without_begin));
        assert_true(aborts(same_id_again));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_release),
                cmocka_unit_test(test_release_while_being_created),
                cmocka_unit_test(test_broker_dies_with_everything),
                cmocka_unit_test(test_misuse),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
