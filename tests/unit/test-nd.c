/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "provisioner/nd.h"

static void test_mark(void **state)
{
        static const char longest[] = "abcdefghijklmnopqrstuvwxyz012345";
        char mark[ND_MARK_MAX];
        bool is_new = true;

        (void)state;
        nd_mark(mark, "pm0", false);
        assert_string_equal(mark, "pmbroker:pm0");
        assert_string_equal(nd_mark_store(mark, &is_new), "pm0");
        assert_false(is_new);
        nd_mark(mark, longest, true);
        assert_string_equal(mark, "pmbroker-new:abcdefghijklmnopqrstuvwxyz012345");
        assert_string_equal(nd_mark_store(mark, &is_new), longest);
        assert_true(is_new);
        assert_null(nd_mark_store("pmbrokers", NULL));
        assert_null(nd_mark_store("", NULL));
        assert_null(nd_mark_store("xpmbroker:pm0", NULL));
}

static NdRegion regions[] = {
        {.name = "region0", .start = 0x100000000, .has_labels = true},
        {.name = "region10", .start = 0x200000000},
};
static NdNamespace namespaces[] = {
        {.name = "namespace0.0",
                .region = "region0",
                .region_start = 0x100000000,
                .has_labels = true,
                .uuid = "0d1f6e2a-0000-4000-8000-000000000001",
                .mode_uuid = "0d1f6e2a-0000-4000-8000-000000000002",
                .mark = "pmbroker:a"},
        {.name = "namespace0.1",
                .region = "region0",
                .region_start = 0x100000000,
                .has_labels = true,
                .uuid = "0d1f6e2a-0000-4000-8000-000000000003",
                .mark = "pmbroker:a"},
        {.name = "namespace10.0", .region = "region10", .region_start = 0x200000000},
};
static const NdSnapshot snapshot = {regions, 2, namespaces, 3};

static void test_find(void **state)
{
        (void)state;
        assert_ptr_equal(nd_find_region(&snapshot, "region0"), &regions[0]);
        assert_ptr_equal(nd_find_region(&snapshot, "region10"), &regions[1]);
        assert_null(nd_find_region(&snapshot, "region1"));
        assert_ptr_equal(nd_find_region(&snapshot, "0x200000000"), &regions[1]);
        assert_null(nd_find_region(&snapshot, "0x2"));

        /* By what it is, and by what it is used as. */
        assert_ptr_equal(
                nd_find_namespace(&snapshot, "0d1f6e2a-0000-4000-8000-000000000001"), &namespaces[0]);
        assert_ptr_equal(
                nd_find_namespace(&snapshot, "0D1F6E2A-0000-4000-8000-000000000002"), &namespaces[0]);
        assert_null(nd_find_namespace(&snapshot, "0d1f6e2a-0000-4000-8000-00000000000f"));
        /* By an address only where there is no uuid. */
        assert_ptr_equal(nd_find_namespace(&snapshot, "0x200000000"), &namespaces[2]);
        assert_null(nd_find_namespace(&snapshot, "0x100000000"));
        assert_null(nd_find_namespace(&snapshot, ""));

        assert_ptr_equal(nd_find_mark(&snapshot, "pmbroker:a", NULL), &namespaces[0]);
        assert_ptr_equal(nd_find_mark(&snapshot, "pmbroker:a", &namespaces[0]), &namespaces[1]);
        assert_null(nd_find_mark(&snapshot, "pmbroker:a", &namespaces[1]));
        assert_null(nd_find_mark(&snapshot, "pmbroker:b", NULL));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_mark),
                cmocka_unit_test(test_find),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
