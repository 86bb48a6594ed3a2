/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "core/turn.h"

static Turns turns;

static int setup(void **state)
{
        (void)state;
        turns_init(&turns);
        return 0;
}

static void nobody_waits(void **state)
{
        Turn a;

        (void)state;
        assert_null(turns_next(&turns));
        turn_init(&a);
        assert_false(turn_is_waiting(&a));
        turn_leave(&a);
        turns_wait(&turns, &a);
        turns_wait(&turns, &a);
        assert_true(turn_is_waiting(&a));
        assert_ptr_equal(turns_next(&turns), &a);
        assert_false(turn_is_waiting(&a));
        assert_null(turns_next(&turns));
        turns_wait(&turns, &a);
        turn_leave(&a);
        assert_null(turns_next(&turns));
}

static void equals_take_turns_in_order_of_arrival(void **state)
{
        Turn t[3];

        (void)state;
        for (unsigned i = 0; i < 3; i++) {
                turn_init(&t[i]);
                turns_wait(&turns, &t[i]);
        }
        for (unsigned i = 0; i < 12; i++) {
                Turn *next = turns_next(&turns);

                assert_ptr_equal(next, &t[i % 3]);
                turns_charge(&turns, next, 10);
                turns_wait(&turns, next);
        }
}

/* Each of n who wait all along gets a n-th of the time, to within one turn, whatever his turns cost. */
static void time_is_shared_not_turns(void **state)
{
        static const uint64_t cost[] = {1, 7, 100, 1000, 333};
        uint64_t had[ELEMENTSOF(cost)] = {0}, total = 0;
        Turn t[ELEMENTSOF(cost)];

        (void)state;
        for (unsigned i = 0; i < ELEMENTSOF(cost); i++) {
                turn_init(&t[i]);
                turns_wait(&turns, &t[i]);
        }
        while (total < 1000000) {
                Turn *next = turns_next(&turns);
                size_t i = (size_t)(next - t);

                turns_charge(&turns, next, cost[i]);
                had[i] += cost[i];
                total += cost[i];
                turns_wait(&turns, next);
        }
        for (unsigned i = 0; i < ELEMENTSOF(cost); i++) {
                assert_true(had[i] >= total / ELEMENTSOF(cost) - 1000);
                assert_true(had[i] <= total / ELEMENTSOF(cost) + 1000);
        }
}

static void who_comes_rarely_is_next(void **state)
{
        Turn busy[8], rare;

        (void)state;
        turn_init(&rare);
        for (unsigned i = 0; i < 8; i++) {
                turn_init(&busy[i]);
                turns_wait(&turns, &busy[i]);
        }
        for (unsigned round = 0; round < 100; round++) {
                for (unsigned i = 0; i < 50; i++) {
                        Turn *next = turns_next(&turns);

                        turns_charge(&turns, next, 100);
                        turns_wait(&turns, next);
                }
                turns_wait(&turns, &rare);
                /* Never behind more than those who have had as little since. */
                for (unsigned i = 0; i < 8; i++) {
                        Turn *next = turns_next(&turns);

                        turns_charge(&turns, next, 100);
                        if (next == &rare)
                                break;
                        turns_wait(&turns, next);
                        assert_true(i < 7);
                }
                assert_false(turn_is_waiting(&rare));
        }
}

static void a_rest_saves_nothing_up(void **state)
{
        unsigned in_a_row = 0;
        Turn a, b;

        (void)state;
        turn_init(&a);
        turn_init(&b);
        turns_wait(&turns, &a);
        for (unsigned i = 0; i < 1000; i++) { /* b rests */
                assert_ptr_equal(turns_next(&turns), &a);
                turns_charge(&turns, &a, 100);
                turns_wait(&turns, &a);
        }
        turns_wait(&turns, &b);
        while (turns_next(&turns) == &b) {
                turns_charge(&turns, &b, 100);
                turns_wait(&turns, &b);
                in_a_row++;
        }
        assert_true(in_a_row <= 2);
}

static void what_is_charged_while_one_waits_counts(void **state)
{
        Turn a, b;

        (void)state;
        turn_init(&a);
        turn_init(&b);
        turns_wait(&turns, &a);
        turns_wait(&turns, &b);
        turns_charge(&turns, &a, 5);
        assert_true(turn_is_waiting(&a));
        assert_ptr_equal(turns_next(&turns), &b);
        turns_charge(&turns, &b, 0); /* a turn is never free */
        assert_int_equal(b.used_usec, 1);
        turns_charge(&turns, &b, UINT64_MAX); /* and a clock that jumped ruins nobody */
        assert_int_equal(b.used_usec, 1000001);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(nobody_waits, setup),
                cmocka_unit_test_setup(equals_take_turns_in_order_of_arrival, setup),
                cmocka_unit_test_setup(time_is_shared_not_turns, setup),
                cmocka_unit_test_setup(who_comes_rarely_is_next, setup),
                cmocka_unit_test_setup(a_rest_saves_nothing_up, setup),
                cmocka_unit_test_setup(what_is_charged_while_one_waits_counts, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
