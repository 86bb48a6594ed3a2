/* SPDX-License-Identifier: BSD-3-Clause */
/* Columns, and what a table looks like as text, raw, as a record and as JSON. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/exit.h"
#include "ctl/table.h"

enum {
        ID,
        NAME,
        SIZE,
        EXTRA,
        AGE,
        FLAG,
        SHARE,
};

static const TableColumn columns[] = {
        [ID] = {"ID", 16, TABLE_ID, 0, "id"},
        [NAME] = {"NAME", 0.1, TABLE_TEXT, TABLE_TRUNC, "name"},
        [SIZE] = {"SIZE", 0, TABLE_SIZE, TABLE_RIGHT, "size"},
        [EXTRA] = {"EXTRA", 0, TABLE_NUMBER, TABLE_RIGHT | TABLE_OPTIONAL, "a number"},
        [AGE] = {"AGE", 0, TABLE_AGE, TABLE_RIGHT, "age"},
        [FLAG] = {"FLAG", 0, TABLE_BOOL, TABLE_OPTIONAL, "flag"},
        [SHARE] = {"SHARE", 0, TABLE_PERCENT, TABLE_OPTIONAL, "share"},
        {0},
};

static void add(Table *t, uint64_t id, const char *name, uint64_t size)
{
        assert_int_equal(table_add_row(t), 0);
        table_set_number(t, ID, id);
        table_set_text(t, NAME, name);
        table_set_number(t, SIZE, size);
        table_set_number(t, EXTRA, size + 1);
        table_set_number(t, AGE, 90000000);
        table_set_number(t, FLAG, size > 0);
        table_set_number(t, SHARE, 25);
}

/* Prints rows with these two names. */
static void check(const TableOptions *options, bool record, const char *first, const char *second,
        const char *expected)
{
        Table *t = NULL;
        char *text = NULL;
        size_t length;
        FILE *out;

        assert_int_equal(table_new(columns, options, &t), EXIT_DONE);
        if (first)
                add(t, 0xab, first, UINT64_C(64) << 20);
        if (second)
                add(t, UINT64_MAX, second, UINT64_C(3) << 29);
        out = open_memstream(&text, &length);
        assert_non_null(out);
        if (record)
                assert_int_equal(table_print_record(t, out), EXIT_DONE);
        else
                assert_int_equal(table_print(t, "things", out), EXIT_DONE);
        assert_int_equal(fclose(out), 0);
        assert_string_equal(text, expected);
        free(text);
        assert_null(table_free(t));
}

/* ------------------------------------------------------------------------------------------------------- columns */

static int parse(const char *output, bool all, unsigned set[static TABLE_COLUMNS_MAX])
{
        const char *bad;
        size_t length;

        return table_parse_output(columns, output, all, set, &bad, &length);
}

static void test_output(void **state)
{
        unsigned set[TABLE_COLUMNS_MAX];

        (void)state;
        assert_int_equal(parse(NULL, false, set), 4);
        assert_int_equal(set[0], ID);
        assert_int_equal(set[3], AGE);
        assert_int_equal(parse(NULL, true, set), 7);
        assert_int_equal(parse("extra,ID", false, set), 2);
        assert_int_equal(set[0], EXTRA);
        assert_int_equal(set[1], ID);
        assert_int_equal(parse("+Extra", false, set), 5);
        assert_int_equal(set[4], EXTRA);
        assert_int_equal(parse("ID,+NAME", false, set), -EINVAL);
        assert_int_equal(parse("ID,id,SIZE,ID", false, set), 2);
        assert_int_equal(parse("+ID", false, set), 4);
}

static void test_output_unknown(void **state)
{
        static const struct {
                const char *output, *bad;
        } cases[] = {
                {"", ""},
                {"+", ""},
                {"ID,", ""},
                {",ID", ""},
                {"ID,NAM", "NAM"},
                {"NAMES,ID", "NAMES"},
                {" ID", " ID"},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                unsigned set[TABLE_COLUMNS_MAX] = {99};
                const char *bad;
                size_t length;

                assert_int_equal(
                        table_parse_output(columns, cases[i].output, false, set, &bad, &length), -EINVAL);
                assert_int_equal(length, strlen(cases[i].bad));
                assert_memory_equal(bad, cases[i].bad, length);
                assert_int_equal(set[0], 99);
        }
}

static void test_wants(void **state)
{
        Table *t;

        (void)state;
        assert_int_equal(table_new(columns, &(TableOptions){.output = "ID,EXTRA"}, &t), EXIT_DONE);
        assert_true(table_wants(t, ID));
        assert_true(table_wants(t, EXTRA));
        assert_false(table_wants(t, NAME));
        table_free(t);
}

/* ---------------------------------------------------------------------------------------------------------- people */

static void test_text(void **state)
{
        (void)state;
        check(&(TableOptions){0}, false, "web", "",
                "ID               NAME SIZE  AGE\n"
                "00000000000000ab web   64M 1min\n"
                "ffffffffffffffff -    1.5G 1min\n");
}

static void test_text_options(void **state)
{
        (void)state;
        check(&(TableOptions){.noheadings = true, .bytes = true, .output = "SIZE,NAME"}, false, "web", "x",
                "  67108864 web\n"
                "1610612736 x\n");
        check(&(TableOptions){.output = "SIZE,EXTRA,FLAG,SHARE"}, false, "web", "x",
                "SIZE      EXTRA FLAG SHARE\n"
                " 64M   67108865 yes  25%\n"
                "1.5G 1610612737 yes  25%\n");
        check(&(TableOptions){.raw = true, .output = "NAME,SIZE"}, false, "a b", "",
                "NAME SIZE\n"
                "a\\x20b 64M\n"
                "- 1.5G\n");
}

static void test_text_empty(void **state)
{
        (void)state;
        check(&(TableOptions){0}, false, NULL, NULL, "");
}

static void test_text_hostile(void **state)
{
        (void)state;
        check(&(TableOptions){.noheadings = true, .output = "NAME"}, false, "\033[31mred\a\n\x7f",
                "\\x1b\xc2\x9b",
                "\\x1b[31mred\\x07\\x0a\\x7f\n"
                "\\x5cx1b\\xc2\\x9b\n");
        check(&(TableOptions){.noheadings = true, .raw = true, .output = "NAME"}, false, "\033[31mred\n",
                "\\x1b",
                "\\x1b[31mred\\x0a\n"
                "\\x5cx1b\n");
}

static void test_record(void **state)
{
        (void)state;
        check(&(TableOptions){.all = true}, true, "web\033", NULL,
                "   ID: 00000000000000ab\n"
                " NAME: web\\x1b\n"
                " SIZE: 64M\n"
                "EXTRA: 67108865\n"
                "  AGE: 1min\n"
                " FLAG: yes\n"
                "SHARE: 25%\n");
        check(&(TableOptions){.output = "ID,NAME", .raw = true}, true, "web", NULL,
                "ID: 00000000000000ab\n"
                "NAME: web\n");
        check(&(TableOptions){.output = "SIZE", .noheadings = true, .bytes = true}, true, "web", NULL,
                "67108864\n");
}

/* -------------------------------------------------------------------------------------------------------- programs */

static void test_json(void **state)
{
        (void)state;
        check(&(TableOptions){.json = true}, false, "w\"\\\033\xc2\x9b\xe2\x82\xac\xf0\x9f\x98\x80\xff", "",
                "{\n"
                "   \"things\": [\n"
                "      {\"id\": \"00000000000000ab\", \"name\": "
                "\"w\\\"\\\\\\u001b\\u009b\\u20ac\\ud83d\\ude00\\ufffd\", \"size\": 67108864, \"extra\": "
                "67108865, "
                "\"age\": 90, \"flag\": true, \"share\": 25},\n"
                "      {\"id\": \"ffffffffffffffff\", \"name\": null, \"size\": 1610612736, \"extra\": "
                "1610612737, "
                "\"age\": 90, \"flag\": true, \"share\": 25}\n"
                "   ]\n"
                "}\n");
        check(&(TableOptions){.json = true, .output = "SIZE"}, false, "x", NULL,
                "{\n   \"things\": [\n      {\"size\": 67108864}\n   ]\n}\n");
        check(&(TableOptions){.json = true}, false, NULL, NULL, "{\n   \"things\": []\n}\n");
        check(&(TableOptions){.json = true, .output = "ID,NAME"}, true, "x", NULL,
                "{\n   \"id\": \"00000000000000ab\",\n   \"name\": \"x\"\n}\n");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_output),
                cmocka_unit_test(test_output_unknown),
                cmocka_unit_test(test_wants),
                cmocka_unit_test(test_text),
                cmocka_unit_test(test_text_options),
                cmocka_unit_test(test_text_empty),
                cmocka_unit_test(test_text_hostile),
                cmocka_unit_test(test_record),
                cmocka_unit_test(test_json),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
