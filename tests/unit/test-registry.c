/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding pools by address, also while others come and go. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "client/registry.h"

/* The table never looks into a pool: any address will do. */
static struct pmb_pool *pool(uintptr_t n)
{
        return (struct pmb_pool *)(0x1000 + n);
}

static void *at(uintptr_t address)
{
        return (void *)address;
}

static void test_bounds(void **state)
{
        (void)state;
        assert_null(registry_find(NULL));
        assert_null(registry_find(at(UINTPTR_MAX)));
        registry_remove(pool(1)); /* was never there */

        assert_int_equal(registry_add(pool(2), at(0x200000), 0x100000), 0);
        assert_int_equal(registry_add(pool(1), at(0x100000), 0x100000), 0);
        assert_int_equal(registry_add(pool(4), at(0x400000), 0x100000), 0);

        assert_null(registry_find(at(0x0fffff)));
        assert_ptr_equal(registry_find(at(0x100000)), pool(1));
        assert_ptr_equal(registry_find(at(0x1fffff)), pool(1));
        assert_ptr_equal(registry_find(at(0x200000)), pool(2));
        assert_ptr_equal(registry_find(at(0x2fffff)), pool(2));
        assert_null(registry_find(at(0x300000)));
        assert_ptr_equal(registry_find(at(0x400000)), pool(4));
        assert_null(registry_find(at(0x500000)));

        registry_remove(pool(2));
        assert_null(registry_find(at(0x200000)));
        assert_ptr_equal(registry_find(at(0x100000)), pool(1));
        assert_ptr_equal(registry_find(at(0x4fffff)), pool(4));
        registry_remove(pool(1));
        registry_remove(pool(4));
        registry_remove(pool(4));
        assert_null(registry_find(at(0x100000)));
}

static void test_many(void **state)
{
        enum {
                N = 1000
        };

        (void)state;
        for (uintptr_t i = 0; i < N; i++) {
                uintptr_t k = i * 7919 % N;

                assert_int_equal(registry_add(pool(k), at((k + 1) * 0x200000), 0x200000), 0);
        }
        for (uintptr_t k = 0; k < N; k++)
                assert_ptr_equal(registry_find(at((k + 1) * 0x200000 + k)), pool(k));
        for (uintptr_t k = 0; k < N; k += 2)
                registry_remove(pool(k));
        for (uintptr_t k = 0; k < N; k++)
                assert_ptr_equal(registry_find(at((k + 1) * 0x200000)), k % 2 ? pool(k) : NULL);
        for (uintptr_t k = 1; k < N; k += 2)
                registry_remove(pool(k));
}

static atomic_bool stop;
static atomic_ulong n_wrong, n_found;

static void *reader(void *userdata)
{
        (void)userdata;
        while (!atomic_load(&stop)) {
                /* These stay; the neighbours come and go. */
                for (uintptr_t k = 1; k < 40; k += 4) {
                        if (registry_find(at(k << 24)) != pool(k))
                                atomic_fetch_add(&n_wrong, 1);
                        atomic_fetch_add(&n_found, 1);
                }
        }
        return NULL;
}

static void test_found_during_changes(void **state)
{
        pthread_t threads[3];

        (void)state;
        for (uintptr_t k = 1; k < 40; k += 4)
                assert_int_equal(registry_add(pool(k), at(k << 24), 1 << 24), 0);
        for (int i = 0; i < 3; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, reader, NULL), 0);
        for (int round = 0; round < 3000; round++) {
                for (uintptr_t k = 0; k < 40; k += 4)
                        assert_int_equal(registry_add(pool(k), at(k << 24), 1 << 24), 0);
                for (uintptr_t k = 0; k < 40; k += 4)
                        registry_remove(pool(k));
        }
        while (atomic_load(&n_found) < 1000)
                ;
        atomic_store(&stop, true);
        for (int i = 0; i < 3; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(n_wrong, 0);
        for (uintptr_t k = 1; k < 40; k += 4)
                registry_remove(pool(k));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_many),
                cmocka_unit_test(test_found_during_changes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
