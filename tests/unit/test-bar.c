/* SPDX-License-Identifier: BSD-3-Clause */
/* How full something is. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/bar.h"

static void test_percent(void **state)
{
        (void)state;
        assert_int_equal(bar_percent(0, 0), 0);
        assert_int_equal(bar_percent(1, 0), 100);
        assert_int_equal(bar_percent(0, 10), 0);
        assert_int_equal(bar_percent(1, 101), 0);
        assert_int_equal(bar_percent(99, 100), 99);
        assert_int_equal(bar_percent(999, 1000), 99);
        assert_int_equal(bar_percent(10, 10), 100);
        assert_int_equal(bar_percent(11, 10), 100);
        assert_int_equal(bar_percent(UINT64_MAX - 1, UINT64_MAX), 99);
        assert_int_equal(bar_percent(UINT64_MAX / 2, UINT64_MAX), 49);
}

static void check(uint64_t part, uint64_t whole, unsigned width, const char *expected)
{
        char buf[BAR_MAX + 3];

        assert_ptr_equal(bar_draw(buf, part, whole, width), buf);
        assert_string_equal(buf, expected);
}

static void test_draw(void **state)
{
        (void)state;
        check(0, 10, 12, "[----------]");
        check(1, 10, 12, "[#---------]");
        check(5, 10, 12, "[#####-----]");
        check(9, 10, 12, "[#########-]");
        check(10, 10, 12, "[##########]");
        check(20, 10, 12, "[##########]");
        check(0, 0, 6, "[----]");
        check(1, 0, 6, "[####]");
        /* What is not nothing shows, and what is not all does not look like all. */
        check(1, 1000000, 12, "[#---------]");
        check(999999, 1000000, 12, "[#########-]");
        check(UINT64_MAX - 1, UINT64_MAX, 6, "[###-]");
        /* However little room there is. */
        check(1, 2, 0, "[#]");
        check(0, 2, 3, "[-]");
        check(1, 2, 3, "[#]");
}

static void test_widest(void **state)
{
        char buf[BAR_MAX + 3];

        (void)state;
        bar_draw(buf, 1, 1, 4000);
        assert_int_equal(strlen(buf), BAR_MAX + 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_percent),
                cmocka_unit_test(test_draw),
                cmocka_unit_test(test_widest),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
