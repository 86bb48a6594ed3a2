/* SPDX-License-Identifier: BSD-3-Clause */
/* What may reach a terminal, in a locale with UTF-8 and in one without. */

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/text.h"

static void check(const char *in, const char *expected)
{
        char *out = text_escape(in);

        assert_non_null(out);
        assert_string_equal(out, expected);
        free(out);
}

static void test_ascii(void **state)
{
        (void)state;
        assert_non_null(setlocale(LC_CTYPE, "C"));
        check("", "");
        check("redis-server 6.0 ~", "redis-server 6.0 ~");
        check("\033]0;title\a", "\\x1b]0;title\\x07");
        check("\001\n\r\t\x7f", "\\x01\\x0a\\x0d\\x09\\x7f");
        check("\\x1b", "\\x5cx1b");
        check("\\n \\", "\\n \\");
        check("\\\\x", "\\\\x5cx");
        check("\xc3\xa4", "\\xc3\\xa4");
}

static void test_utf8(void **state)
{
        (void)state;
        if (!setlocale(LC_CTYPE, "C.UTF-8"))
                skip();
        check("\xc3\xa4 \xe6\xbc\xa2", "\xc3\xa4 \xe6\xbc\xa2");
        check("\xc2\x9b"
              "31m",
                "\\xc2\\x9b31m"); /* C1: CSI in one character */
        check("a\xe2\x80\xae"
              "b",
                "a\\xe2\\x80\\xaeb");                                        /* right-to-left override */
        check("\xe2\x80\x8b\xe2\x81\xa6", "\\xe2\\x80\\x8b\\xe2\\x81\\xa6"); /* zero-width, isolate */
        check("\xff\xc3", "\\xff\\xc3");                                     /* not UTF-8, cut off */
        check("\xed\xa0\x80", "\\xed\\xa0\\x80");                            /* a surrogate */
        check("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80");
        check("\033\xc3\xa4", "\\x1b\xc3\xa4");
        (void)setlocale(LC_CTYPE, "C");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ascii),
                cmocka_unit_test(test_utf8),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
