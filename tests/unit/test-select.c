/* SPDX-License-Identifier: BSD-3-Clause */
/* Which pool is meant by an id, the beginning of one, or a name. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ctl/select.h"

static const struct {
        uint64_t id;
        const char *name;
} pools[] = {
        {0x00000000000000ab, "web"},
        {0xabcdef0000000001, "db"},
        {0xabcdef0000000002, "cache"},
        {0xabc0000000000003, "cache"},
        {0x1000000000000004, ""},
        {0x2000000000000005, "abcdef0000000001"}, /* calls itself by another one's id */
        {0x3000000000000006, "10"},               /* and by the beginning of one */
        {0x4000000000000007, "4"},                /* by the beginning of its own */
        {0x5000000000000008, "DEAD"},
};

#define N ELEMENTSOF(pools)

/* The index, or a negative errno. */
static int find(const char *spec, size_t n)
{
        Pmbroker__V1__PoolRow rows[N];
        Pmbroker__V1__PoolRow *pointers[N];
        size_t index = 99;
        int r;

        for (size_t i = 0; i < N; i++) {
                pmbroker__v1__pool_row__init(&rows[i]);
                rows[i].pool = pools[i].id;
                rows[i].name = (char *)(uintptr_t)pools[i].name;
                pointers[i] = &rows[i];
        }
        r = select_pool(pointers, n, spec, &index);
        if (r < 0)
                assert_int_equal(index, 99);
        return r < 0 ? r : (int)index;
}

static void test_is_id(void **state)
{
        uint64_t id = 7;

        (void)state;
        assert_true(select_is_id("00000000000000aB", &id));
        assert_int_equal(id, 0xab);
        id = 7;
        assert_false(select_is_id("", &id));
        assert_false(select_is_id("abcdef000000001", &id));
        assert_false(select_is_id("abcdef00000000011", &id));
        assert_false(select_is_id("abcdef000000000g", &id));
        assert_false(select_is_id("0xabcdef00000001", &id));
        assert_int_equal(id, 7);
}

static void test_id(void **state)
{
        (void)state;
        assert_int_equal(find("00000000000000ab", N), 0);
        assert_int_equal(find("00000000000000AB", N), 0);
        /* An id is an id, however somebody else's pool is named. */
        assert_int_equal(find("abcdef0000000001", N), 1);
        assert_int_equal(find("abcdef0000000009", N), -ENOENT);
}

static void test_prefix(void **state)
{
        (void)state;
        assert_int_equal(find("0", N), 0);
        assert_int_equal(find("abcdef000000000", N), -ENOTUNIQ);
        assert_int_equal(find("abcdef", N), -ENOTUNIQ);
        assert_int_equal(find("abc0", N), 3);
        assert_int_equal(find("ABC0", N), 3);
        assert_int_equal(find("abc1", N), -ENOENT);
        assert_int_equal(find("ab", N), -ENOTUNIQ); /* leading zeros are part of an id */
        assert_int_equal(find("00000000000000abc", N), -ENOENT);
}

static void test_name(void **state)
{
        (void)state;
        assert_int_equal(find("web", N), 0);
        assert_int_equal(find("db", N), 1);
        assert_int_equal(find("cache", N), -ENOTUNIQ);
        assert_int_equal(find("we", N), -ENOENT);
        assert_int_equal(find("WEB", N), -ENOENT);
        assert_int_equal(find("dead", N), -ENOENT);
        assert_int_equal(find("", N), -ENOENT); /* fits the pool without a name no more than all ids */
        /* Of one pool the name, of another the id: rather nothing than the wrong one. */
        assert_int_equal(find("10", N), -ENOTUNIQ);
        assert_int_equal(find("4", N), 7);
}

static void test_none(void **state)
{
        (void)state;
        assert_int_equal(find("web", 0), -ENOENT);
        assert_int_equal(find("0", 1), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_is_id),
                cmocka_unit_test(test_id),
                cmocka_unit_test(test_prefix),
                cmocka_unit_test(test_name),
                cmocka_unit_test(test_none),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
