/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of pmbrokerctl. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ctl/arguments.h"

/* Words separated by a blank. */
static int parse(
        const char *line, Arguments *ret, char *storage, size_t size, char error[static ARGUMENTS_ERROR_MAX])
{
        char *argv[16] = {(char *)(uintptr_t) "pmbrokerctl"}, *save = NULL;
        int argc = 1;

        assert_true(strlen(line) < size);
        strcpy(storage, line);
        for (char *word = strtok_r(storage, " ", &save); word; word = strtok_r(NULL, " ", &save))
                argv[argc++] = word;
        return arguments_parse(argc, argv, ret, error);
}

/* `words`: the verb and the operands, separated by a blank. */
static Arguments check(const char *line, const char *words)
{
        static char storage[256];
        char error[ARGUMENTS_ERROR_MAX], joined[256] = "";
        Arguments a;

        assert_int_equal(parse(line, &a, storage, sizeof(storage), error), 0);
        if (a.verb)
                strcpy(joined, a.verb);
        for (size_t i = 0; i < a.n_operands; i++) {
                strcat(joined, " ");
                strcat(joined, a.operands[i]);
        }
        assert_string_equal(joined, words);
        assert_null(a.operands[a.n_operands]);
        arguments_done(&a);
        assert_int_equal(parse(line, &a, storage, sizeof(storage), error), 0);
        free(a.operands);
        a.operands = NULL;
        return a;
}

static void check_bad(const char *line, const char *expected)
{
        Arguments a = {.n_operands = 77};
        char storage[256], error[ARGUMENTS_ERROR_MAX] = "";

        assert_int_equal(parse(line, &a, storage, sizeof(storage), error), -EINVAL);
        assert_string_equal(error, expected);
        assert_int_equal(a.n_operands, 77);
}

static void test_words(void **state)
{
        (void)state;
        check("", "");
        check("list", "list");
        check("resize web 64M", "resize web 64M");
        check("-- list -q", "list -q");
        check("stores a -- --json b", "stores a --json b");
        check("list -", "list -");
}

static void test_options(void **state)
{
        Arguments a;

        (void)state;
        a = check("list -S /s -o ID,NAME --noheadings --bytes -r -q", "list");
        assert_string_equal(a.socket, "/s");
        assert_string_equal(a.table.output, "ID,NAME");
        assert_true(a.table.noheadings && a.table.bytes && a.table.raw && a.quiet);
        assert_false(a.table.json || a.help || a.version || a.table.all);

        a = check("--socket=/s list --output +UID --json --quiet", "list");
        assert_string_equal(a.socket, "/s");
        assert_string_equal(a.table.output, "+UID");
        assert_true(a.table.json && a.quiet);

        a = check("-qJS/s -oID", "");
        assert_string_equal(a.socket, "/s");
        assert_string_equal(a.table.output, "ID");
        assert_true(check("-h", "").help);
        assert_true(check("list --help", "list").help);
        assert_true(check("--version", "").version);
        assert_true(check("-V", "").version);
        assert_true(check("--by", "").table.bytes); /* getopt_long's abbreviations */
}

static void test_anywhere(void **state)
{
        Arguments a;

        (void)state;
        a = check("-q resize --bytes web -S /s 64M -J", "resize web 64M");
        assert_true(a.quiet && a.table.bytes && a.table.json);
        assert_string_equal(a.socket, "/s");
}

static void test_negative_size(void **state)
{
        Arguments a;

        (void)state;
        check("resize web -64M", "resize web -64M");
        check("resize web -6", "resize web -6");
        check("resize -1.5G", "resize -1.5G");
        check("resize -0", "resize -0");
        a = check("resize -q web -2G --bytes", "resize web -2G");
        assert_true(a.quiet && a.table.bytes);
        a = check("resize web -64M -o -5", "resize web -64M");
        assert_string_equal(a.table.output, "-5");
        check("resize web -- -64M", "resize web -64M");
        check("resize web +64M", "resize web +64M");
        check_bad("-q5", "unknown option '-5'");
        check_bad("-q5M", "unknown option '-5'");
}

static void test_bad(void **state)
{
        (void)state;
        check_bad("--foo", "unknown or ambiguous option '--foo'");
        check_bad("list --foo=3 x", "unknown or ambiguous option '--foo=3'");
        check_bad("-x", "unknown option '-x'");
        check_bad("-qx", "unknown option '-x'");
        check_bad("list -o", "an argument is missing after '-o'");
        check_bad("list --output", "an argument is missing after '--output'");
        check_bad("list --json=yes", "no argument belongs to '--json=yes'");
        check_bad("list -J -r", "--json and --raw exclude each other");
}

static void test_socket(void **state)
{
        Arguments a = {0};

        (void)state;
        assert_int_equal(unsetenv("PMBROKER_SOCKET"), 0);
        assert_string_equal(arguments_socket(&a), "/run/pmbroker/pmbroker.sock");
        assert_int_equal(setenv("PMBROKER_SOCKET", "", 1), 0);
        assert_string_equal(arguments_socket(&a), "/run/pmbroker/pmbroker.sock");
        assert_int_equal(setenv("PMBROKER_SOCKET", "/env", 1), 0);
        assert_string_equal(arguments_socket(&a), "/env");
        a.socket = "/option";
        assert_string_equal(arguments_socket(&a), "/option");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_words),
                cmocka_unit_test(test_options),
                cmocka_unit_test(test_anywhere),
                cmocka_unit_test(test_negative_size),
                cmocka_unit_test(test_bad),
                cmocka_unit_test(test_socket),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
