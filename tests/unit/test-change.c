/* SPDX-License-Identifier: BSD-3-Clause */
/* What resize is asked for, and what the daemon is asked for then. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "ctl/change.h"

static void test_parse(void **state)
{
        Change c = {.sign = 7};

        (void)state;
        assert_int_equal(change_parse("", &c), -EINVAL);
        assert_int_equal(change_parse("+", &c), -EINVAL);
        assert_int_equal(change_parse("+-1M", &c), -EINVAL);
        assert_int_equal(change_parse("--1M", &c), -EINVAL);
        assert_int_equal(change_parse("1X", &c), -EINVAL);
        assert_int_equal(change_parse("999999999E", &c), -ERANGE);
        assert_int_equal(c.sign, 7);
        assert_int_equal(change_parse("64M", &c), 0);
        assert_true(c.sign == 0 && c.bytes == 64 * MIB);
        assert_int_equal(change_parse("+1.5G", &c), 0);
        assert_true(c.sign == 1 && c.bytes == 1536 * MIB);
        assert_int_equal(change_parse("-0", &c), 0);
        assert_true(c.sign == -1 && c.bytes == 0);
}

static void check(int sign, uint64_t bytes, uint64_t current, uint64_t expected, bool expected_rounded)
{
        uint64_t target = 1;
        bool rounded = !expected_rounded;

        assert_int_equal(
                change_apply(&(Change){.sign = sign, .bytes = bytes}, current, &target, &rounded), 0);
        assert_int_equal(target, expected);
        assert_int_equal(rounded, expected_rounded);
}

static int check_bad(int sign, uint64_t bytes, uint64_t current)
{
        uint64_t target = 1;
        bool rounded = true;
        int r;

        r = change_apply(&(Change){.sign = sign, .bytes = bytes}, current, &target, &rounded);
        assert_int_equal(target, 1);
        assert_true(rounded);
        return r;
}

static void test_absolute(void **state)
{
        (void)state;
        check(0, 64 * MIB, 0, 64 * MIB, false);
        check(0, 64 * MIB, 8 * MIB, 64 * MIB, false);
        check(0, 1, 0, 2 * MIB, true);
        check(0, 2 * MIB - 1, 0, 2 * MIB, true);
        check(0, 2 * MIB, 0, 2 * MIB, false);
        check(0, 2 * MIB + 1, 0, 4 * MIB, true);
        assert_int_equal(check_bad(0, 0, 64 * MIB), -EDOM);
        check(0, UINT64_MAX - 2 * MIB + 1, 0, UINT64_MAX - 2 * MIB + 1, false);
        assert_int_equal(check_bad(0, UINT64_MAX - 2 * MIB + 2, 0), -ERANGE);
        assert_int_equal(check_bad(0, UINT64_MAX, 0), -ERANGE);
}

static void test_relative(void **state)
{
        (void)state;
        check(1, 64 * MIB, 64 * MIB, 128 * MIB, false);
        check(1, 0, 64 * MIB, 64 * MIB, false);
        check(1, 1, 64 * MIB, 66 * MIB, true);
        check(-1, 62 * MIB, 64 * MIB, 2 * MIB, false);
        check(-1, 63 * MIB, 64 * MIB, 2 * MIB, true);
        check(-1, 1, 64 * MIB, 64 * MIB, true); /* up: never less than was asked for */
        check(-1, 0, 64 * MIB, 64 * MIB, false);
        assert_int_equal(check_bad(-1, 64 * MIB, 64 * MIB), -EDOM);
        assert_int_equal(check_bad(-1, UINT64_MAX, 64 * MIB), -EDOM);
        assert_int_equal(check_bad(1, UINT64_MAX, 64 * MIB), -ERANGE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_absolute),
                cmocka_unit_test(test_relative),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
