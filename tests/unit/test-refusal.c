/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/refusal.h"

static void test_numbers(void **state)
{
        Refusal refusal;

        (void)state;
        memset(&refusal, 0xff, sizeof(refusal));
        assert_int_equal(refuse(&refusal, RESULT_QUOTA_BYTES, 1, 2, 3, "batch"), RESULT_QUOTA_BYTES);
        assert_int_equal(refusal.code, RESULT_QUOTA_BYTES);
        assert_int_equal(refusal.errno_value, 0);
        assert_int_equal(refusal.asked, 1);
        assert_int_equal(refusal.limit, 2);
        assert_int_equal(refusal.used, 3);
        assert_string_equal(refusal.subject, "batch");
}

static void test_longest_subject(void **state)
{
        char name[RESULT_SUBJECT_MAX];
        Refusal refusal;

        (void)state;
        memset(name, 'x', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        assert_int_equal(refuse_plain(&refusal, RESULT_STORE_UNAVAILABLE, name), RESULT_STORE_UNAVAILABLE);
        assert_string_equal(refusal.subject, name);
        assert_int_equal(refusal.asked, 0);
        assert_int_equal(refusal.limit, 0);
        assert_int_equal(refusal.used, 0);
}

static void test_invalid(void **state)
{
        Refusal refusal;

        (void)state;
        assert_int_equal(refuse_invalid(&refusal, UINT64_MAX), RESULT_INVALID);
        assert_int_equal(refusal.code, RESULT_INVALID);
        assert_int_equal(refusal.asked, UINT64_MAX);
        assert_string_equal(refusal.subject, "");
}

static void test_errno(void **state)
{
        Refusal refusal;

        (void)state;
        assert_int_equal(refuse_errno(&refusal, -ENOMEM), RESULT_FAILED);
        assert_int_equal(refusal.code, RESULT_FAILED);
        assert_int_equal(refusal.errno_value, ENOMEM);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_numbers),
                cmocka_unit_test(test_longest_subject),
                cmocka_unit_test(test_invalid),
                cmocka_unit_test(test_errno),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
