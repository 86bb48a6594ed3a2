/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/store.h"

static void test_kind_names(void **state)
{
        (void)state;
        assert_string_equal(store_kind_to_string(STORE_TMPFS), "tmpfs");
        assert_string_equal(store_kind_to_string(STORE_DIR), "dir");
        assert_string_equal(store_kind_to_string(STORE_FSDAX), "fsdax");
        assert_string_equal(store_kind_to_string(STORE_KMEM), "kmem");
        assert_string_equal(store_kind_to_string(STORE_UNKNOWN), "unknown");
        assert_string_equal(store_kind_to_string(_STORE_KIND_MAX), "unknown");
        assert_string_equal(store_kind_to_string((StoreKind)-1), "unknown");
}

static void test_free_bytes(void **state)
{
        Store store = {.info = {.name = "s", .available = true, .capacity = 100}};

        (void)state;
        assert_int_equal(store_free_bytes(&store), 100);
        store.charged = 99;
        assert_int_equal(store_free_bytes(&store), 1);
        store.charged = 100;
        assert_int_equal(store_free_bytes(&store), 0);
        /* It became smaller than what was given out. */
        store.charged = 101;
        assert_int_equal(store_free_bytes(&store), 0);
        store.charged = 0;
        store.info.capacity = UINT64_MAX;
        assert_int_equal(store_free_bytes(&store), UINT64_MAX);
        store.info.available = false;
        assert_int_equal(store_free_bytes(&store), 0);
}

static void test_life(void **state)
{
        StoreInfo info = {.name = "ram", .kind = STORE_TMPFS, .available = true, .capacity = 7, .index = 3};
        Store *store = store_new(&info);

        (void)state;
        assert_non_null(store);
        assert_string_equal(store->info.name, "ram");
        assert_int_equal(store->info.index, 3);
        assert_int_equal(store->charged, 0);
        assert_int_equal(store->n_pools, 0);
        assert_false(store->gone);

        store_set_unavailable(store, "the provisioner is away");
        assert_false(store->info.available);
        assert_string_equal(store->info.reason, "the provisioner is away");
        assert_int_equal(store->info.index, 3);
        assert_int_equal(store_free_bytes(store), 0);

        store_set_gone(store);
        assert_true(store->gone);
        assert_false(store->info.available);
        assert_int_equal(store->info.index, STORE_INDEX_NONE);

        store_set_info(store, &info);
        assert_false(store->gone);
        assert_true(store->info.available);
        assert_int_equal(store->info.index, 3);
        assert_string_equal(store->info.reason, "");
        assert_int_equal(store_free_bytes(store), 7);

        assert_null(store_free(store));
        assert_null(store_free(NULL));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_kind_names),
                cmocka_unit_test(test_free_bytes),
                cmocka_unit_test(test_life),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
