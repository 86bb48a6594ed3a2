/* SPDX-License-Identifier: BSD-3-Clause */
/* Figures: to the byte, by class, by cause, as text. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "heap-pool.h"

#define SIZE (32 * MIB)

static void test_to_the_byte(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        struct pmb_pool_stats s;
        uint32_t seed = 5;
        uint64_t bytes = 0, n = 0;
        void *blocks[2000] = {};

        (void)state;
        for (int i = 0; i < 20000; i++) {
                unsigned at = rnd(&seed) % ELEMENTSOF(blocks);

                if (blocks[at]) {
                        bytes -= pmb_usable_size(pool, blocks[at]);
                        n--;
                        if (rnd(&seed) % 4 == 0) {
                                void *p = pmb_realloc(pool, blocks[at], 1 + rnd(&seed) % 40000);

                                blocks[at] = p ?: blocks[at];
                                bytes += pmb_usable_size(pool, blocks[at]);
                                n++;
                        } else {
                                pmb_free(pool, blocks[at]);
                                blocks[at] = NULL;
                        }
                } else {
                        blocks[at] = rnd(&seed) % 50 == 0
                                             ? pmb_aligned_alloc(pool, 8192, 1 + rnd(&seed) % 100000)
                                             : pmb_calloc(pool, 1, 1 + rnd(&seed) % 30000);
                        bytes += pmb_usable_size(pool, blocks[at]);
                        n += blocks[at] != NULL;
                }
                if (i % 1000 == 0) {
                        assert_int_equal(pmb_pool_stats(pool, &s), 0);
                        assert_int_equal(s.allocated, bytes);
                        assert_int_equal(s.blocks, n);
                        assert_int_equal(s.limit, SIZE);
                        assert_int_equal(s.backed, SIZE);
                        assert_int_equal(s.max_size, GIB);
                        assert_int_equal(s.free, SIZE - bytes);
                        assert_true(s.cached <= s.free);
                        assert_true(s.largest_free <= s.free - s.cached);
                        assert_true(s.fragmentation <= 1000);
                }
        }
        for (unsigned i = 0; i < ELEMENTSOF(blocks); i++)
                pmb_free(pool, blocks[i]);
        heap_collect(&pool->heap);
        assert_int_equal(pmb_pool_stats(pool, &s), 0);
        assert_int_equal(s.allocated, 0);
        assert_int_equal(s.cached, 0);
        assert_int_equal(s.largest_free, SIZE);
        assert_int_equal(s.fragmentation, 0);
        pmb_pool_close(pool);
}

static void test_classes(void **state)
{
        struct pmb_class_stats classes[N_CLASSES + 5], some[3] = {};
        struct pmb_pool *pool = pool_of_size(SIZE);
        void *p[10], *huge;
        int n;

        (void)state;
        for (int i = 0; i < 10; i++)
                p[i] = pmb_malloc(pool, 100);
        huge = pmb_malloc(pool, 9 * MIB);
        for (int i = 0; i < 3; i++)
                pmb_free(pool, p[i]);
        n = pmb_pool_stats_classes(pool, classes, ELEMENTSOF(classes));
        assert_int_equal(n, 74);
        assert_int_equal(classes[0].size, 8);
        assert_int_equal(classes[n - 2].size, 8 * MIB);
        assert_int_equal(classes[n - 1].size, 0);
        for (int i = 0; i < n - 1; i++) {
                assert_int_equal(classes[i].allocated, classes[i].size == 112 ? 7 : 0);
                if (classes[i].size == 112)
                        assert_true(classes[i].cached >= 3);
                else
                        assert_int_equal(classes[i].cached, 0);
        }
        assert_int_equal(classes[n - 1].allocated, pmb_usable_size(pool, huge));
        assert_int_equal(classes[n - 1].cached, 0);
        assert_int_equal(pmb_pool_stats_classes(pool, some, 2), n);
        assert_int_equal(some[1].size, 16);
        assert_int_equal(some[2].size, 0);
        assert_int_equal(pmb_pool_stats_classes(pool, NULL, 0), n);
        pmb_pool_close(pool);
}

static void test_causes(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE), *raw;
        struct pmb_pool_stats s;
        void *p[16];

        (void)state;
        assert_null(pmb_aligned_alloc(pool, 3, 1));
        assert_null(pmb_malloc(pool, 2 * GIB));
        assert_null(pmb_malloc(pool, 2 * GIB));
        for (int i = 0; i < 16; i++)
                assert_non_null(p[i] = pmb_malloc(pool, 2 * MIB));
        for (int i = 0; i < 3; i++)
                assert_null(pmb_malloc(pool, 100));
        for (int i = 0; i < 16; i += 2)
                pmb_free(pool, p[i]);
        for (int i = 0; i < 4; i++)
                assert_null(pmb_malloc(pool, 4 * MIB));
        assert_int_equal(pmb_pool_stats(pool, &s), 0);
        assert_int_equal(s.refused_misuse, 1);
        assert_int_equal(s.refused_size, 2);
        assert_int_equal(s.refused_full, 3);
        assert_int_equal(s.refused_shape, 4);
        assert_int_equal(s.refusals, 10);
        assert_int_equal(s.largest_free, 2 * MIB);
        assert_int_equal(s.free, 16 * MIB);
        assert_int_equal(s.fragmentation, 875);
        heap_refuse(&pool->heap, ESTALE);
        for (int i = 0; i < 5; i++)
                assert_null(pmb_malloc(pool, 1));
        assert_int_equal(pmb_pool_stats(pool, &s), -ESTALE);
        assert_int_equal(s.refused_dead, 5);
        assert_int_equal(s.refusals, 15);
        pmb_pool_close(pool);

        assert_int_equal(pool_new(NULL, SIZE, SIZE, true, &raw), 0);
        assert_null(pmb_malloc(raw, 1));
        assert_int_equal(pmb_pool_stats(raw, &s), 0);
        assert_int_equal(s.refused_misuse, 1);
        assert_int_equal(s.allocated, 0);
        assert_int_equal(pmb_pool_stats_classes(raw, NULL, 0), 74);
        pmb_pool_close(raw);
}

static void test_json(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        char text[4096], small[10];
        void *p = pmb_malloc(pool, 100);
        int n;

        (void)state;
        assert_non_null(p);
        strcpy(pool->store, "a\"b\\c\n");
        strcpy(pool->tenant, "default");
        heap_collect(&pool->heap);
        n = pmb_pool_stats_json(pool, 0, text, sizeof(text));
        assert_int_equal(n, strlen(text));
        assert_string_equal(text,
                "{\"id\":\"0123456789abcdef\",\"store\":\"a\\\"b\\\\c\\u000a\",\"tenant\":\"default\","
                "\"name\":\"\",\"limit\":33554432,\"backed\":33554432,\"max_size\":1073741824,"
                "\"allocated\":112,\"blocks\":1,\"cached\":0,\"free\":33554320,\"largest_free\":33525760,"
                "\"fragmentation\":1,\"refusals\":0,\"refused_full\":0,\"refused_shape\":0,\"refused_size\":"
                "0,"
                "\"refused_misuse\":0,\"refused_dead\":0,\"given_back\":0,\"caches\":1,\"steals\":0}");
        assert_int_equal(pmb_pool_stats_json(pool, 0, small, sizeof(small)), n);
        assert_string_equal(small, "{\"id\":\"01");
        assert_int_equal(pmb_pool_stats_json(pool, 0, NULL, 0), n);
        n = pmb_pool_stats_json(pool, PMB_STATS_CLASSES, text, sizeof(text));
        assert_string_equal(
                strstr(text, ",\"classes\""), ",\"classes\":[{\"size\":112,\"allocated\":1,\"cached\":0}]}");
        assert_int_equal(n, strlen(text));
        assert_int_equal(pmb_pool_stats_json(pool, 2, text, sizeof(text)), -EINVAL);
        pmb_pool_close(pool);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_to_the_byte),
                cmocka_unit_test(test_classes),
                cmocka_unit_test(test_causes),
                cmocka_unit_test(test_json),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
