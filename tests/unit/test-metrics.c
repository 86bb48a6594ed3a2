/* SPDX-License-Identifier: BSD-3-Clause */
/* Counting how long requests take. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ipc/metrics.h"

static void test_bounds(void **state)
{
        (void)state;
        for (unsigned i = 1; i < METRICS_BOUNDS; i++)
                assert_true(metrics_bounds[i - 1] < metrics_bounds[i]);
}

/* A bucket takes what took exactly as long as its bound, and nothing longer. */
static void test_observe(void **state)
{
        (void)state;
        for (unsigned i = 0; i < METRICS_BOUNDS; i++) {
                RequestMetrics m = {0};

                metrics_observe(&m, metrics_bounds[i] - 1);
                metrics_observe(&m, metrics_bounds[i]);
                metrics_observe(&m, metrics_bounds[i] + 1);
                assert_int_equal(m.buckets[i], 2);
                assert_int_equal(m.buckets[i + 1], 1);
                assert_int_equal(m.count, 3);
                assert_int_equal(m.sum_usec, metrics_bounds[i] * 3);
        }
}

static void test_extremes(void **state)
{
        RequestMetrics m = {0};

        (void)state;
        metrics_observe(&m, 0);
        metrics_observe(&m, UINT64_MAX);
        assert_int_equal(m.buckets[0], 1);
        assert_int_equal(m.buckets[METRICS_BOUNDS], 1);
        assert_int_equal(m.count, 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_observe),
                cmocka_unit_test(test_extremes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
