/* SPDX-License-Identifier: BSD-3-Clause */
/* "Did you mean ...?" */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/suggest.h"

static const char *const verbs[] = {"status", "list", "show", "stores", "tenants", "resize", "revoke", NULL};

static void test_distance(void **state)
{
        (void)state;
        assert_int_equal(suggest_distance("", ""), 0);
        assert_int_equal(suggest_distance("list", "list"), 0);
        assert_int_equal(suggest_distance("", "list"), 4);
        assert_int_equal(suggest_distance("list", ""), 4);
        assert_int_equal(suggest_distance("lst", "list"), 1);
        assert_int_equal(suggest_distance("lists", "list"), 1);
        assert_int_equal(suggest_distance("lisp", "list"), 1);
        assert_int_equal(suggest_distance("lsit", "list"), 1);
        assert_int_equal(suggest_distance("kitten", "sitting"), 3);
        assert_int_equal(suggest_distance("this word is longer than every verb", "list"), 35);
}

static void test_nearest(void **state)
{
        static const struct {
                const char *word, *expected;
        } cases[] = {
                {"lst", "list"},
                {"ls", "list"},
                {"lsit", "list"},
                {"stat", "status"},
                {"staus", "status"},
                {"store", "stores"},
                {"tenant", "tenants"},
                {"rezise", "resize"},
                {"revok", "revoke"},
                {"sow", "show"},
                {"frobnicate", NULL},
                {"", NULL},
                {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                const char *nearest = suggest_nearest(cases[i].word, verbs);

                if (cases[i].expected)
                        assert_string_equal(nearest, cases[i].expected);
                else
                        assert_null(nearest);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_distance),
                cmocka_unit_test(test_nearest),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
