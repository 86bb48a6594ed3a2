/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches in and out, the limit on pointers, and what lies idle. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/parse.h"
#include "client/depot.h"

#define CLASS 5 /* 64 bytes: batches of 64 */

static void *numbers[64];

static void number(uintptr_t from, unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                numbers[i] = (void *)(from + i);
}

static void test_last_in_first_out(void **state)
{
        Depot *d = depot_new();
        void *got[64];

        (void)state;
        sizeclass_init();
        depot_change_room(d, (int64_t)MIB);
        depot_want(d, CLASS, 64);
        assert_int_equal(depot_take(d, CLASS, got), 0);
        number(1000, 64);
        assert_true(depot_put(d, CLASS, numbers, 64));
        number(2000, 7);
        assert_true(depot_put(d, CLASS, numbers, 7));
        assert_int_equal(depot_count(d, CLASS), 71);
        assert_int_equal(depot_count(d, CLASS + 1), 0);
        assert_int_equal(depot_take(d, CLASS, got), 7);
        assert_ptr_equal(got[6], (void *)2006);
        assert_int_equal(depot_take(d, CLASS, got), 64);
        assert_ptr_equal(got[0], (void *)1000);
        assert_ptr_equal(got[63], (void *)1063);
        assert_int_equal(depot_take(d, CLASS, got), 0);
        assert_int_equal(depot_count(d, CLASS), 0);
        depot_free(d);
}

/* One pointer for each so many bytes of the pool, of all classes together. */
static void test_room(void **state)
{
        Depot *d = depot_new();
        void *got[64];

        (void)state;
        sizeclass_init();
        depot_want(d, CLASS, 1000);
        assert_false(depot_put(d, CLASS, numbers, 1));
        depot_change_room(d, 100 * DEPOT_BYTES_PER_BLOCK);
        assert_true(depot_put(d, CLASS, numbers, 64));
        assert_false(depot_put(d, CLASS + 1, numbers, 37));
        assert_true(depot_put(d, CLASS + 1, numbers, 36));
        assert_false(depot_put(d, CLASS + 2, numbers, 1));
        assert_int_equal(depot_take(d, CLASS, got), 64);
        assert_true(depot_put(d, CLASS + 2, numbers, 64));

        /* The pool has shrunk: nothing more until there is less. */
        depot_change_room(d, -50 * DEPOT_BYTES_PER_BLOCK);
        assert_false(depot_put(d, CLASS, numbers, 1));
        assert_int_equal(depot_take(d, CLASS + 1, got), 36);
        assert_false(depot_put(d, CLASS, numbers, 1));
        assert_int_equal(depot_take(d, CLASS + 2, got), 64);
        assert_false(depot_put(d, CLASS, numbers, 51));
        assert_true(depot_put(d, CLASS, numbers, 50));
        depot_free(d);
}

/* Of a class that nobody asks for there is one batch; of others, as many blocks as there were not. */
static void test_wanted(void **state)
{
        Depot *d = depot_new();
        void *got[64];

        (void)state;
        sizeclass_init();
        depot_change_room(d, (int64_t)MIB);
        assert_true(depot_put(d, CLASS, numbers, 64));
        assert_false(depot_put(d, CLASS, numbers, 1));
        depot_want(d, CLASS, 65);
        assert_true(depot_put(d, CLASS, numbers, 64));
        assert_false(depot_put(d, CLASS, numbers, 2));
        assert_true(depot_put(d, CLASS, numbers, 1));
        assert_false(depot_put(d, CLASS, numbers, 1));
        assert_true(depot_put(d, CLASS + 1, numbers, 64));

        /* As long as somebody asks it stays so. */
        for (int i = 0; i < 8; i++) {
                (void)depot_end_period(d, CLASS);
                assert_int_equal(depot_take(d, CLASS, got), 1);
                assert_true(depot_put(d, CLASS, numbers, 1));
        }
        for (int i = 0; i < 9; i++)
                (void)depot_end_period(d, CLASS);
        while (depot_take(d, CLASS, got) > 0)
                ;
        for (int i = 0; i < 9; i++)
                (void)depot_end_period(d, CLASS);
        assert_true(depot_put(d, CLASS, numbers, 64));
        assert_false(depot_put(d, CLASS, numbers, 1));
        depot_free(d);
}

static void test_idle(void **state)
{
        Depot *d = depot_new();
        void *got[64];

        (void)state;
        sizeclass_init();
        depot_change_room(d, (int64_t)MIB);
        depot_want(d, CLASS, 100000);
        for (int i = 0; i < 10; i++)
                assert_true(depot_put(d, CLASS, numbers, 64));
        /* They have not been there for a whole period. */
        assert_int_equal(depot_end_period(d, CLASS), 0);
        for (int i = 0; i < 4; i++)
                assert_int_equal(depot_take(d, CLASS, got), 64);
        assert_true(depot_put(d, CLASS, numbers, 64));
        /* Four were needed at a time. */
        assert_int_equal(depot_end_period(d, CLASS), 6);
        assert_int_equal(depot_end_period(d, CLASS), 7);
        depot_free(d);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_last_in_first_out),
                cmocka_unit_test(test_room),
                cmocka_unit_test(test_wanted),
                cmocka_unit_test(test_idle),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
