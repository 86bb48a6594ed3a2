/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/parse.h"

static void size_good(void **state)
{
        static const struct {
                const char *text;
                uint64_t bytes;
        } cases[] = {
                {"0", 0},
                {"1", 1},
                {"2097152", 2 * MIB},
                {"2097152B", 2 * MIB},
                {"64M", 64 * MIB},
                {"64MB", 64 * MIB},
                {"64MiB", 64 * MIB},
                {"1.5G", GIB + 512 * MIB},
                {"0.5K", 512},
                {"1.000001M", MIB + 1},
                {"15E", UINT64_C(15) << 60},
                {"18446744073709551615", UINT64_MAX},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint64_t v = 42;

                assert_int_equal(parse_size(cases[i].text, &v), 0);
                assert_int_equal(v, cases[i].bytes);
        }
}

static void size_bad(void **state)
{
        static const struct {
                const char *text;
                int error;
        } cases[] = {
                {"", -EINVAL},
                {" 1", -EINVAL},
                {"1 ", -EINVAL},
                {"-1", -EINVAL},
                {"+1", -EINVAL},
                {"M", -EINVAL},
                {".5M", -EINVAL},
                {"1.M", -EINVAL},
                {"1.5", -EINVAL},
                {"1.5B", -EINVAL},
                {"1.0000001M", -EINVAL},
                {"1m", -EINVAL},
                {"1Mi", -EINVAL},
                {"1MBB", -EINVAL},
                {"1BB", -EINVAL},
                {"1MM", -EINVAL},
                {"0x10", -EINVAL},
                {"16E", -ERANGE},
                {"15.9999999E", -EINVAL},
                {"18446744073709551616", -ERANGE},
                {"99999999999999999999999", -ERANGE},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint64_t v = 42;

                assert_int_equal(parse_size(cases[i].text, &v), cases[i].error);
                assert_int_equal(v, 42); /* untouched */
        }
}

static void size_or_percent(void **state)
{
        uint64_t bytes = 7;
        unsigned percent = 7;

        (void)state;
        assert_int_equal(parse_size_or_percent("1%", &bytes, &percent), 0);
        assert_int_equal(bytes, 0);
        assert_int_equal(percent, 1);
        assert_int_equal(parse_size_or_percent("100%", &bytes, &percent), 0);
        assert_int_equal(percent, 100);
        assert_int_equal(parse_size_or_percent("2M", &bytes, &percent), 0);
        assert_int_equal(bytes, 2 * MIB);
        assert_int_equal(percent, 0);
        assert_int_equal(parse_size_or_percent("0%", &bytes, &percent), -ERANGE);
        assert_int_equal(parse_size_or_percent("101%", &bytes, &percent), -ERANGE);
        assert_int_equal(parse_size_or_percent("%", &bytes, &percent), -EINVAL);
        assert_int_equal(parse_size_or_percent("5 %", &bytes, &percent), -EINVAL);
        assert_int_equal(parse_size_or_percent("", &bytes, &percent), -EINVAL);
        assert_int_equal(bytes, 2 * MIB);
}

static void usec(void **state)
{
        uint64_t v = 0;

        (void)state;
        assert_int_equal(parse_usec("30", &v), 0);
        assert_int_equal(v, 30 * USEC_PER_SEC);
        assert_int_equal(parse_usec("500ms", &v), 0);
        assert_int_equal(v, 500000);
        assert_int_equal(parse_usec("2min", &v), 0);
        assert_int_equal(v, 120 * USEC_PER_SEC);
        assert_int_equal(parse_usec("18446744073709551615us", &v), 0);
        assert_int_equal(parse_usec("18446744073709551615", &v), -ERANGE);
        assert_int_equal(parse_usec("5x", &v), -EINVAL);
        assert_int_equal(parse_usec("", &v), -EINVAL);
        assert_int_equal(v, UINT64_MAX);
}

static void numbers(void **state)
{
        uint64_t v = 0;
        uint32_t w = 0;
        bool b = false;

        (void)state;
        assert_int_equal(parse_u32("4294967295", &w), 0);
        assert_int_equal(w, UINT32_MAX);
        assert_int_equal(parse_u32("4294967296", &w), -ERANGE);
        assert_int_equal(parse_u64("12x", &v), -EINVAL);
        assert_int_equal(parse_hex64("ffffffffffffffff", &v), 0);
        assert_int_equal(v, UINT64_MAX);
        assert_int_equal(parse_hex64("0aF", &v), 0);
        assert_int_equal(v, 0xaf);
        assert_int_equal(parse_hex64("", &v), -EINVAL);
        assert_int_equal(parse_hex64("0x1", &v), -EINVAL);
        assert_int_equal(parse_hex64("10000000000000000", &v), -ERANGE);
        assert_int_equal(parse_bool("yes", &b), 0);
        assert_true(b);
        assert_int_equal(parse_bool("0", &b), 0);
        assert_false(b);
        assert_int_equal(parse_bool("Yes", &b), -EINVAL);
}

static void formats(void **state)
{
        static const struct {
                uint64_t bytes;
                const char *text;
        } cases[] = {
                {0, "0B"},
                {1023, "1023B"},
                {1024, "1K"},
                {1536, "1.5K"},
                {MIB - 1, "1M"},
                {64 * MIB, "64M"},
                {GIB + 512 * MIB, "1.5G"},
                {UINT64_MAX, "16E"},
        };
        char buf[FORMAT_SIZE_MAX];

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_string_equal(format_size(buf, cases[i].bytes), cases[i].text);
        assert_string_equal(format_age(buf, 59 * USEC_PER_SEC), "59s");
        assert_string_equal(format_age(buf, 60 * USEC_PER_SEC), "1min");
        assert_string_equal(format_age(buf, 3599 * USEC_PER_SEC), "59min");
        assert_string_equal(format_age(buf, 3600 * USEC_PER_SEC), "1h");
        assert_string_equal(format_age(buf, 86400 * USEC_PER_SEC), "1d");
}

static void format_then_parse(void **state)
{
        /* What is printed without decimals is read back as the same number. */
        (void)state;
        for (unsigned shift = 0; shift < 64; shift++) {
                char buf[FORMAT_SIZE_MAX];
                uint64_t v = 0;

                assert_int_equal(parse_size(format_size(buf, UINT64_C(1) << shift), &v), 0);
                assert_int_equal(v, UINT64_C(1) << shift);
        }
}

static void names(void **state)
{
        (void)state;
        assert_true(name_is_valid("a"));
        assert_true(name_is_valid("a.b_c-0"));
        assert_true(name_is_valid("abcdefghijklmnopqrstuvwxyz012345"));
        assert_false(name_is_valid("abcdefghijklmnopqrstuvwxyz0123456"));
        assert_false(name_is_valid(""));
        assert_false(name_is_valid("A"));
        assert_false(name_is_valid("a b"));
        assert_false(name_is_valid("a/b"));
        assert_false(name_is_valid("a\n"));
        assert_false(name_is_valid("\xc3\xa4"));
}

static void printable(void **state)
{
        char text[] = "caf\xc3\xa9 \x1b[2J~ \t\x7f.";

        (void)state;
        make_printable(text);
        assert_string_equal(text, "caf?? ?[2J~ ??.");
        for (int c = 1; c < 256; c++) {
                char one[2] = {(char)c, '\0'};

                make_printable(one);
                assert_int_equal(one[0], c >= 0x20 && c <= 0x7e ? c : '?');
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(size_good),
                cmocka_unit_test(size_bad),
                cmocka_unit_test(size_or_percent),
                cmocka_unit_test(usec),
                cmocka_unit_test(numbers),
                cmocka_unit_test(formats),
                cmocka_unit_test(format_then_parse),
                cmocka_unit_test(names),
                cmocka_unit_test(printable),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
