/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/pool.h"
#include "child.h"

/* True if the step is an assertion, which is tried in a child. */
static bool step_aborts(PoolState from, PoolState to)
{
        Pool pool = {.state = from};
        pid_t pid;
        int end;

        if (child_begin_badly(&pid)) {
                pool_set_state(&pool, to);
                _exit(pool.state == to ? 0 : 1);
        }
        end = child_end(pid);
        assert_true(end == 0 || end == -SIGABRT);
        return end == -SIGABRT;
}

static void test_steps(void **state)
{
        static const PoolState permitted[][2] = {
                {POOL_RESERVED, POOL_READY},
                {POOL_RESERVED, POOL_RELEASING},
                {POOL_READY, POOL_RESIZING},
                {POOL_READY, POOL_RELEASING},
                {POOL_RESIZING, POOL_READY},
                {POOL_RESIZING, POOL_RELEASING},
        };

        (void)state;
        for (unsigned from = 0; from < _POOL_STATE_MAX; from++)
                for (unsigned to = 0; to < _POOL_STATE_MAX; to++) {
                        bool may = false;

                        for (size_t i = 0; i < sizeof(permitted) / sizeof(permitted[0]); i++)
                                if (permitted[i][0] == from && permitted[i][1] == to)
                                        may = true;
                        assert_int_equal(pool_state_may_follow((PoolState)from, (PoolState)to), may);
                        assert_int_equal(step_aborts((PoolState)from, (PoolState)to), !may);
                }
}

static void test_valid_sizes(void **state)
{
        (void)state;
        assert_int_equal(POOL_UNIT, 2097152);
        assert_int_equal(POOL_BYTES_MAX, UINT64_C(70368744177664));
        assert_false(pool_size_is_valid(0));
        assert_false(pool_size_is_valid(1));
        assert_false(pool_size_is_valid(POOL_UNIT - 1));
        assert_true(pool_size_is_valid(POOL_UNIT));
        assert_false(pool_size_is_valid(POOL_UNIT + 1));
        assert_false(pool_size_is_valid(POOL_UNIT + 4096));
        assert_true(pool_size_is_valid(3 * POOL_UNIT));
        assert_true(pool_size_is_valid(POOL_BYTES_MAX - POOL_UNIT));
        assert_true(pool_size_is_valid(POOL_BYTES_MAX));
        assert_false(pool_size_is_valid(POOL_BYTES_MAX + 1));
        assert_false(pool_size_is_valid(POOL_BYTES_MAX + POOL_UNIT));
        assert_false(pool_size_is_valid(UINT64_MAX));
        assert_false(pool_size_is_valid(UINT64_MAX - POOL_UNIT + 1));
}

static void test_length_for(void **state)
{
        /* 3 of 5 units are backed: two holes. */
        Pool pool = {.size = 3 * POOL_UNIT, .length = 5 * POOL_UNIT};

        (void)state;
        assert_int_equal(pool_length_for(&pool, POOL_UNIT), 5 * POOL_UNIT);
        assert_int_equal(pool_length_for(&pool, 4 * POOL_UNIT), 5 * POOL_UNIT);
        assert_int_equal(pool_length_for(&pool, 5 * POOL_UNIT), 5 * POOL_UNIT);
        assert_int_equal(pool_length_for(&pool, 6 * POOL_UNIT), 6 * POOL_UNIT);
        pool = (Pool){.size = POOL_UNIT, .length = 0};
        assert_int_equal(pool_length_for(&pool, POOL_UNIT), POOL_UNIT);
}

static void test_operation(void **state)
{
        Pool pool = {.state = POOL_RESIZING, .size = 2 * POOL_UNIT};

        (void)state;
        pool_begin(&pool, POOL_UNIT);
        assert_true(pool.busy);
        assert_int_equal(pool.pending, POOL_UNIT);
        pool_end(&pool);
        assert_false(pool.busy);
        assert_int_equal(pool.pending, 0);
        assert_int_equal(pool.state, POOL_READY);
        assert_int_equal(pool.size, 2 * POOL_UNIT);

        pool = (Pool){.state = POOL_RESIZING, .target = POOL_UNIT};
        pool_begin(&pool, POOL_UNIT);
        pool_end(&pool);
        assert_int_equal(pool.state, POOL_RESIZING);

        pool = (Pool){.state = POOL_RELEASING};
        pool_begin(&pool, POOL_UNIT);
        pool_end(&pool);
        assert_int_equal(pool.state, POOL_RELEASING);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_steps),
                cmocka_unit_test(test_valid_sizes),
                cmocka_unit_test(test_length_for),
                cmocka_unit_test(test_operation),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
