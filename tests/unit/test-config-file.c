/* SPDX-License-Identifier: BSD-3-Clause */
/* How configuration files are read and add up: lines, headings, drop-ins, and all that is wrong at once. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "base/parse.h"
#include "config-fixture.h"

/* ----------------------------------------------------------------------------------------------- lines */

static void test_headings(void **state)
{
        Fixture *t = *state;

        expect_refusal(t, "[Brokers]\n", "p.conf:1: [Brokers]: unknown section");
        expect_refusal(t, "[broker]\n", "p.conf:1: [broker]: unknown section");
        expect_refusal(t, "[]\n", "p.conf:1: []: unknown section");
        expect_refusal(t, "[Broker x]\n", "p.conf:1: [Broker x]: unknown section");
        expect_refusal(t, "[Storage x]\nSize=1\n", "p.conf:1: [Storage x]: unknown section");
        expect_refusal(t, "[Store]\n", "p.conf:1: [Store ]: the name is not 1 to 32 of a-z 0-9 . _ -");
        expect_refusal(t, "[Store X]\n", "p.conf:1: [Store X]: the name is not 1 to 32 of a-z 0-9 . _ -");
        expect_refusal(
                t, "[Store a b]\n", "p.conf:1: [Store a b]: the name is not 1 to 32 of a-z 0-9 . _ -");
        expect_refusal(t, "[Store a]  Size=1G\n", "p.conf:1: [Store a]: text after the heading");
        expect_refusal(t, "[Store a\nSize=1G\n", "p.conf:1: the heading has no \"]\"");
        /* inih by itself cuts section names at 49 bytes */
        expect_refusal(t,
                "[Store a2345678901234567890123456789012]\n[Store a23456789012345678901234567890123]\n",
                "p.conf:2: [Store a23456789012345678901234567890123]: the name is not 1 to 32 of a-z 0-9 . "
                "_ -");
        expect_refusal(t, "[Store                                            a b]\n",
                "p.conf:1: [Store a b]: the name is not 1 to 32 of a-z 0-9 . _ -");
        {
                _cleanup_(cleanup_config_free) Config *config =
                        load_text(t, " [Store \t a23456789_123456789.123456789-12] # "
                                     "comment\n\tSize=1G\n[Store b] ; comment\n");

                assert_int_equal(config->n_stores, 2);
                assert_string_equal(config->stores[0].name, "a23456789_123456789.123456789-12");
                assert_int_equal(config->stores[0].size, GIB);
                /* a section without a line is a section */
                assert_string_equal(config->stores[1].name, "b");
        }
}

static void test_lines(void **state)
{
        Fixture *t = *state;
        char text[512], expected[256], *p;

        expect_refusal(
                t, "SessionsMax=1\n", "p.conf:1: SessionsMax=: the setting stands before the first section");
        expect_refusal(t, "[Broker]\n\nSessionMax=1\n", "p.conf:3: [Broker] SessionMax=: unknown setting");
        expect_refusal(t, "[Broker]\nSize=1G\n", "p.conf:2: [Broker] Size=: unknown setting");
        expect_refusal(t, "[Broker]\n=1\n", "p.conf:2: [Broker] =: unknown setting");
        expect_refusal(t, "[Broker]\nSessionsMax\n\n",
                "p.conf:2: [Broker]: the line is not of the form SETTING=VALUE");
        expect_refusal(
                t, "[Broker]\nSessionsMax", "p.conf:2: [Broker]: the line is not of the form SETTING=VALUE");
        write_bytes(t, "p.conf", "[Broker]\nSessionsMax=1\0002\n", 25);
        expect_message(t, -EINVAL, "p.conf:2: [Broker]: the line contains a NUL byte");
        {
                /* Indented lines are lines, not continuations. */
                _cleanup_(cleanup_config_free) Config *config = load_text(t,
                        "\xef\xbb\xbf# comment\n; comment\n[Broker]\r\nSessionsPerUser=20\r\n"
                        "   SessionsMax = 50 ; comment\n\n \t \n#x=1\n  ;y=1\n\fRequestsBurst=7");

                assert_int_equal(config->limits.sessions_per_uid, 20);
                assert_int_equal(config->limits.sessions_max, 50);
                assert_int_equal(config->limits.requests_burst, 7);
        }

        /* 190 bytes are a line, 191 are not; neither are they in a comment. */
        for (int n = 190; n <= 1000; n = n == 190 ? 191 : n == 191 ? 1000 : 1001) {
                _cleanup_free_ char *line = malloc((size_t)n + 64);

                assert_non_null(line);
                p = line + sprintf(line, "[Store d]\nType=dir\n");
                p += sprintf(p, "Path=/");
                memset(p, 'x', (size_t)n - 6);
                (void)strcpy(p + n - 6, "\n");
                if (n == 190) {
                        _cleanup_(cleanup_config_free) Config *config = load_text(t, line);

                        assert_int_equal(strlen(config->stores[0].path), 185);
                        continue;
                }
                (void)snprintf(expected, sizeof(expected),
                        "p.conf:3: [Store d]: the line has %d bytes, more than 190", n);
                expect_refusal(t, line, expected);
        }
        memset(text, '#', 191);
        (void)strcpy(text + 191, "\n");
        expect_refusal(t, text, "p.conf:1: the line has 191 bytes, more than 190");
}

static void test_many_errors(void **state)
{
        Fixture *t = *state;
        char text[1024], expected[2048], *p = text, *q = expected;

        expect_refusal(t,
                "[Broker]\nSessionsMax=x\nFoo=1\nRequestsBurst=5\nbar\n[Tenant "
                "a]\nUser=no-such-user\n[Bogus]\nA=b\n"
                "[Tenant b]\n",
                "p.conf:2: [Broker] SessionsMax=: \"x\" is not a number from 1 to 100000\n"
                "p.conf:3: [Broker] Foo=: unknown setting\n"
                "p.conf:5: [Broker]: the line is not of the form SETTING=VALUE\n"
                "p.conf:7: [Tenant a] User=: there is no user \"no-such-user\"\n"
                "p.conf:8: [Bogus]: unknown section\n"
                "p.conf:10: [Tenant b]: none of User=, Group=, Unit=, Slice= says who this is");

        p += sprintf(p, "[Broker]\n");
        for (int i = 2; i <= 21; i++) {
                p += sprintf(p, "X=\n");
                q += sprintf(q, "p.conf:%d: [Broker] X=: unknown setting%s", i, i < 21 ? "\n" : "");
        }
        expect_refusal(t, text, expected); /* 20 */
        p += sprintf(p, "X=\nX=\n");
        (void)sprintf(q, "\nand 2 more");
        expect_refusal(t, text, expected);
}

/* ----------------------------------------------------------------------------------------------- files */

static void test_drop_ins(void **state)
{
        Fixture *t = *state;
        char path[192];

        write_file(t, "p.conf",
                "[Broker]\nSessionsMax=100\nRequestsBurst=100\n[Store a]\nSize=1G\n[Tenant x]\nUser=1\n");
        write_file(t, "p.conf.d/20.conf",
                "[Broker]\nSessionsMax=200\n[Store b]\nSize=2G\n[Tenant x]\nUser=2 3\n");
        write_file(t, "p.conf.d/10.conf",
                "[Broker]\nSessionsMax=300\n[Store a]\nHugePages=never\n[Tenant x]\nUser=\nUser=4\n");
        write_file(t, "p.conf.d/B.conf",
                "[Broker]\nSessionsPerUser=5\n"); /* before a.conf: bytes, not letters */
        write_file(t, "p.conf.d/a.conf", "[Broker]\nSessionsPerUser=6\n");
        write_file(t, "p.conf.d/99.conf~", "rubbish\n");
        write_file(t, "p.conf.d/README", "rubbish\n");
        write_file(t, "p.conf.d/.hidden.conf", "rubbish\n");
        write_file(t, "p.conf.d/.conf", "rubbish\n");
        (void)snprintf(path, sizeof(path), "%s/p.conf.d/zz.conf", t->directory);
        assert_int_equal(symlink("/dev/null", path), 0);
        {
                _cleanup_(cleanup_config_free) Config *config = load(t);

                assert_int_equal(config->limits.sessions_max, 200);
                assert_int_equal(config->limits.requests_burst, 100);
                assert_int_equal(config->limits.sessions_per_uid, 6);
                assert_int_equal(config->n_stores, 2);
                assert_string_equal(config->stores[0].name, "a");
                assert_int_equal(config->stores[0].size, GIB);
                assert_int_equal(config->stores[0].huge, HUGE_NEVER);
                assert_string_equal(config->stores[1].name, "b");
                assert_int_equal(config->n_tenants, 2);
                assert_int_equal(config->tenants[0].n_matches, 3);
                assert_int_equal(config->tenants[0].matches[0].id, 4);
                assert_int_equal(config->tenants[0].matches[1].id, 2);
                assert_int_equal(config->tenants[0].matches[2].id, 3);
        }
        write_file(t, "p.conf.d/10.conf", "\nSessionsMax=300\n");
        write_file(t, "p.conf.d/20.conf", "[Broker]\n\n\nSessionsMax=0\n[Tenant x]\nUser=\n");
        expect_message(t, -EINVAL,
                "p.conf.d/10.conf:2: SessionsMax=: the setting stands before the first section\n"
                "p.conf.d/20.conf:4: [Broker] SessionsMax=: \"0\" is not a number from 1 to 100000\n"
                "p.conf:6: [Tenant x]: none of User=, Group=, Unit=, Slice= says who this is");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0755), 0);
        write_file(t, "p.conf.d/10.conf", "");
        write_file(t, "p.conf.d/20.conf", "");
        expect_message(t, -EINVAL, "p.conf.d/zz.conf: not a regular file");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_headings, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many_errors, setup, teardown),
                cmocka_unit_test_setup_teardown(test_drop_ins, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
