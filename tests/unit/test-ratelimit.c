/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/parse.h"
#include "core/ratelimit.h"

static unsigned take_all(RateLimit *l, uint64_t now)
{
        unsigned n = 0;

        while (n < 100000 && ratelimit_take(l, now))
                n++;
        return n;
}

static void the_burst_and_not_one_more(void **state)
{
        RateLimit l;

        (void)state;
        ratelimit_init(&l, 200, 1000, 5);
        assert_true(ratelimit_is_full(&l, 5));
        assert_int_equal(take_all(&l, 5), 1000);
        assert_false(ratelimit_is_full(&l, 5));
}

static void tokens_come_back_at_the_rate(void **state)
{
        RateLimit l;

        (void)state;
        ratelimit_init(&l, 200, 1000, 0);
        assert_int_equal(take_all(&l, 0), 1000);
        assert_false(ratelimit_take(&l, 4999));
        assert_true(ratelimit_take(&l, 5000));
        assert_false(ratelimit_take(&l, 5001));
        assert_int_equal(take_all(&l, USEC_PER_SEC), 199);
        assert_int_equal(take_all(&l, 100 * USEC_PER_SEC), 1000); /* never more than the burst */
        assert_true(ratelimit_is_full(&l, UINT64_MAX));
}

static void time_that_stands_or_goes_back(void **state)
{
        RateLimit l;

        (void)state;
        ratelimit_init(&l, 10, 1, 100);
        assert_true(ratelimit_take(&l, 100));
        assert_false(ratelimit_take(&l, 100));
        assert_false(ratelimit_take(&l, 0));
        assert_true(ratelimit_take(&l, 100000));
}

static void zero_limits_nothing(void **state)
{
        RateLimit l;

        (void)state;
        ratelimit_init(&l, 0, 0, 0);
        assert_int_equal(take_all(&l, 0), 100000);
        assert_true(ratelimit_is_full(&l, 0));
}

static void other_figures(void **state)
{
        RateLimit l;

        (void)state;
        ratelimit_init(&l, 200, 1000, 0);
        ratelimit_set(&l, 200, 10);
        assert_int_equal(take_all(&l, 0), 10);
        ratelimit_set(&l, 200, 1000); /* what is in it stays */
        assert_int_equal(take_all(&l, 0), 0);
        assert_int_equal(take_all(&l, USEC_PER_SEC), 200);
        assert_int_equal(take_all(&l, 11 * USEC_PER_SEC), 1000);
        ratelimit_set(&l, 50, 1000);
        assert_int_equal(take_all(&l, 12 * USEC_PER_SEC), 50);
        ratelimit_set(&l, 0, 0);
        assert_true(ratelimit_take(&l, 12 * USEC_PER_SEC));
        ratelimit_set(&l, 100, 5);
        assert_int_equal(take_all(&l, 12 * USEC_PER_SEC), 5);
}

static void extremes(void **state)
{
        RateLimit l;

        (void)state;
        ratelimit_init(&l, UINT32_MAX, UINT32_MAX, 0); /* a token costs at least 1 us */
        assert_true(ratelimit_take(&l, 0));
        ratelimit_init(&l, 1, 0, 0);
        assert_false(ratelimit_take(&l, UINT64_MAX));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_burst_and_not_one_more),
                cmocka_unit_test(tokens_come_back_at_the_rate),
                cmocka_unit_test(time_that_stands_or_goes_back),
                cmocka_unit_test(zero_limits_nothing),
                cmocka_unit_test(other_figures),
                cmocka_unit_test(extremes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
