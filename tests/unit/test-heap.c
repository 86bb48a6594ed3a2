/* SPDX-License-Identifier: BSD-3-Clause */
/* The public allocation functions on a pool that no daemon knows: a file in memory. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "client/pool.h"
#include "heap-pool.h"

#define SIZE (32 * MIB)

/* ------------------------------------------------------------------------------------------------- quota */

static void test_all_of_it_is_usable(void **state)
{
        static const size_t sizes[] = {64, 4 * KIB, 64 * KIB, MIB, 8 * MIB};

        (void)state;
        for (unsigned i = 0; i < ELEMENTSOF(sizes); i++) {
                struct pmb_pool *pool = pool_of_size(SIZE);
                struct pmb_pool_stats stats;
                void *list;

                assert_int_equal(fill(pool, sizes[i], &list), SIZE / sizes[i]);
                assert_int_equal(pmb_pool_stats(pool, &stats), 0);
                assert_int_equal(stats.allocated, SIZE);
                assert_int_equal(stats.free, 0);
                assert_int_equal(stats.largest_free, 0);
                assert_int_equal(stats.refusals, 1);
                free_list(pool, list);
                assert_int_equal(pmb_pool_stats(pool, &stats), 0);
                assert_int_equal(stats.allocated, 0);
                assert_null(pmb_pool_close(pool));
        }
}

/* What one size has left behind serves every other. */
static void test_all_of_it_again_in_another_size(void **state)
{
        static const size_t sizes[] = {64, MIB, 4 * KIB, 8 * MIB, 48, 16 * KIB, 64 * KIB, MIB};
        struct pmb_pool *pool = pool_of_size(SIZE);

        (void)state;
        for (unsigned i = 0; i < ELEMENTSOF(sizes); i++) {
                void *list;

                /* Slabs of 48 bytes are 3 pages: 8192 pages leave 2. */
                assert_true(fill(pool, sizes[i], &list) >= (SIZE - 2 * 4096) / sizes[i]);
                free_list(pool, list);
        }
        pmb_pool_close(pool);
}

static void check_mixed(uint64_t size, double want)
{
        enum {
                N = 1 << 18
        };
        struct pmb_pool *pool = pool_of_size(size);
        void **blocks = calloc(N, sizeof(*blocks));
        uint64_t payload = 0;
        uint32_t seed = 99;
        int misses = 0;
        unsigned n = 0;

        assert_non_null(blocks);
        while (misses < 20 && n < N) {
                /* From 16 bytes to 1 MiB, each doubling as likely. */
                size_t bytes = (size_t)16 << rnd(&seed) % 16;

                bytes += rnd(&seed) % bytes;
                blocks[n] = pmb_malloc(pool, bytes);
                if (!blocks[n]) {
                        misses++;
                        continue;
                }
                memset(blocks[n], (int)n, bytes < 256 ? bytes : 256);
                payload += bytes;
                n++;
        }
        assert_true((double)payload >= want * (double)size);
        while (n > 0)
                pmb_free(pool, blocks[--n]);
        assert_non_null(blocks[0] = pmb_malloc(pool, size));
        pmb_free(pool, blocks[0]);
        free(blocks);
        pmb_pool_close(pool);
}

static void test_mixed_sizes(void **state)
{
        (void)state;
        check_mixed(SIZE, 0.85); /* the rest is rounding to size classes */
        check_mixed(256 * MIB, 0.88);
}

/* --------------------------------------------------------------------------------------------- functions */

static void test_small_cases(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        void *p, *q;

        (void)state;
        p = pmb_malloc(pool, 0);
        q = pmb_malloc(pool, 0);
        assert_non_null(p);
        assert_non_null(q);
        assert_ptr_not_equal(p, q);
        pmb_free(pool, p);
        pmb_free(NULL, q);
        pmb_free(pool, NULL);
        pmb_free(NULL, NULL);

        errno = 0;
        assert_null(pmb_malloc(pool, SIZE + 1));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        volatile size_t huge = SIZE_MAX;
        assert_null(pmb_malloc(pool, huge));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(pmb_calloc(pool, huge / 2, 3));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(pmb_realloc(pool, NULL, huge));
        assert_int_equal(errno, ENOMEM);

        p = pmb_malloc(pool, 100);
        assert_true(pmb_usable_size(pool, p) >= 100);
        assert_int_equal(pmb_usable_size(NULL, p), pmb_usable_size(pool, p));
        assert_int_equal(pmb_usable_size(pool, NULL), 0);
        assert_ptr_equal(pmb_pool_of(p), pool);
        assert_ptr_equal(pmb_pool_of(pmb_pool_base(pool)), pool);
        assert_null(pmb_pool_of((char *)pmb_pool_base(pool) - 1));
        assert_null(pmb_pool_of(&p));
        errno = 4711;
        pmb_free(pool, p);
        assert_int_equal(errno, 4711);
        pmb_pool_close(pool);
        assert_null(pmb_pool_of(p));
        assert_null(pmb_pool_close(NULL));
}

static void test_alignment(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        void *p;

        (void)state;
        for (size_t alignment = 1; alignment <= 16 * MIB; alignment *= 2)
                for (size_t size = 1; size <= 8 * MIB; size = size * 5 + 3) {
                        p = pmb_aligned_alloc(pool, alignment, size);
                        /* At most as many as are aligned in 32 MiB anywhere: 2 of 16 MiB, perhaps 1. */
                        assert_non_null(p);
                        assert_int_equal((uintptr_t)p % alignment, 0);
                        assert_true(pmb_usable_size(pool, p) >= size);
                        pmb_free(pool, p);
                }

        /* Every block of one alignment that fits. */
        unsigned n = 0;
        void *blocks[16];

        while ((p = pmb_aligned_alloc(pool, 2 * MIB, 2 * MIB)))
                blocks[n++] = p;
        assert_int_equal(n, 16);
        while (n > 0)
                pmb_free(pool, blocks[--n]);

        errno = 0;
        assert_null(pmb_aligned_alloc(pool, 3, 8));
        assert_int_equal(errno, EINVAL);
        assert_null(pmb_aligned_alloc(pool, 0, 8));
        volatile size_t huge = (size_t)1 << 62;
        errno = 0;
        assert_null(pmb_aligned_alloc(pool, huge, 8));
        assert_int_equal(errno, ENOMEM);

        errno = 4711;
        p = &p;
        assert_int_equal(pmb_posix_memalign(pool, &p, 4, 8), EINVAL);
        assert_int_equal(pmb_posix_memalign(pool, &p, 24, 8), EINVAL);
        assert_int_equal(pmb_posix_memalign(pool, &p, 64, 64 * MIB), ENOMEM);
        assert_ptr_equal(p, &p);
        assert_int_equal(errno, 4711);
        assert_int_equal(pmb_posix_memalign(pool, &p, 256, 8), 0);
        assert_int_equal((uintptr_t)p % 256, 0);
        pmb_free(pool, p);
        pmb_pool_close(pool);
}

static void test_calloc_after_use(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        uint32_t seed = 5;

        (void)state;
        for (int round = 0; round < 4; round++) {
                void *list;

                fill(pool, round % 2 ? 4096 : 64 * KIB, &list);
                for (void *p = list; p;) {
                        void *next = *(void **)p;

                        memset(p, 0xa5, pmb_usable_size(pool, p));
                        *(void **)p = next;
                        p = next;
                }
                free_list(pool, list);
                for (int i = 0; i < (SLOW ? 100 : 400); i++) {
                        size_t n = 1 + rnd(&seed) % 1000, size = 1 + rnd(&seed) % (1u << rnd(&seed) % 12);
                        uint8_t *p = pmb_calloc(pool, n, size);

                        assert_non_null(p);
                        for (size_t k = 0; k < n * size; k++)
                                if (p[k])
                                        fail_msg("byte %zu of %zu is not zero", k, n * size);
                        memset(p, 0x5a, n * size);
                        pmb_free(pool, p);
                }
        }
        pmb_pool_close(pool);
}

static void test_realloc_keeps(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        size_t old = 1;
        uint8_t *p, *q;

        (void)state;
        p = pmb_realloc(pool, NULL, old);
        assert_non_null(p);
        p[0] = 0;
        for (size_t size = 2; size < 8 * MIB; size = size * 3 / 2 + 1) {
                p = pmb_realloc(pool, p, size);
                assert_non_null(p);
                for (size_t i = 0; i < old; i += 1 + old / 999)
                        assert_int_equal(p[i], i % 251);
                for (size_t i = 0; i < size; i++)
                        p[i] = (uint8_t)(i % 251);
                old = size;
        }
        p = pmb_realloc(pool, p, 100);
        assert_non_null(p);
        for (size_t i = 0; i < 100; i++)
                assert_int_equal(p[i], i);

        /* What does not fit leaves the block alone. */
        errno = 0;
        assert_null(pmb_realloc(pool, p, SIZE + 1));
        assert_int_equal(errno, ENOMEM);
        assert_int_equal(p[99], 99);

        p = pmb_realloc(pool, p, 0);
        assert_non_null(p);
        assert_true(pmb_usable_size(pool, p) <= 16);
        pmb_free(pool, p);

        pmb_pool_close(pool);

        /* A block that grows over all of the pool, with its own memory as the only room. */
        pool = pool_of_size(SIZE);
        p = pmb_malloc(pool, SIZE / 2);
        q = pmb_realloc(pool, p, SIZE);
        assert_ptr_equal(p, q);
        pmb_free(pool, q);
        pmb_pool_close(pool);
}

static void test_explain(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        char buf[512], small[8];
        void *p;
        int n;

        (void)state;
        assert_int_equal(pmb_pool_explain(pool, buf, sizeof(buf)), 0);
        assert_string_equal(buf, "");
        p = pmb_malloc(pool, 24 * MIB);
        assert_non_null(p);
        assert_null(pmb_malloc(pool, 16 * MIB));
        n = pmb_pool_explain(pool, buf, sizeof(buf));
        assert_int_equal(n, strlen(buf));
        assert_string_equal(buf,
                "pool 0123456789abcdef of 32M has 24M in live blocks and no contiguous 16M left; "
                "the largest free range is 8M, and the pool may grow to 1G");
        assert_int_equal(pmb_pool_explain(pool, small, sizeof(small)), n);
        assert_string_equal(small, "pool 01");
        assert_int_equal(pmb_pool_explain(pool, NULL, 0), n);
        pmb_pool_close(pool);
}

static void test_not_for_everyone(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        struct pmb_pool_info info;
        void *p = pmb_malloc(pool, 100);

        (void)state;
        heap_refuse(&pool->heap, ESTALE); /* revoked */
        errno = 0;
        assert_null(pmb_malloc(pool, 1));
        assert_int_equal(errno, ESTALE);
        errno = 0;
        assert_null(pmb_realloc(pool, p, 1000));
        assert_int_equal(errno, ESTALE);
        assert_int_equal(pmb_posix_memalign(pool, &p, 64, 1), ESTALE);
        assert_int_equal(pmb_pool_info(pool, &info), -ESTALE);
        assert_int_equal(info.size, SIZE);
        assert_int_equal(pmb_pool_resize(pool, MIB), -ESTALE);
        assert_int_equal(pmb_pool_trim(pool, 0), -ESTALE);
        pmb_free(pool, p);
        pmb_pool_close(pool);

        assert_int_equal(pool_new(NULL, SIZE, SIZE, true, &pool), 0);
        errno = 0;
        assert_null(pmb_malloc(pool, 1));
        assert_int_equal(errno, EINVAL);
        assert_null(pmb_calloc(pool, 1, 1));
        assert_null(pmb_aligned_alloc(pool, 64, 1));
        pmb_free(pool, pmb_pool_base(pool));
        assert_int_equal(pmb_usable_size(pool, pmb_pool_base(pool)), 0);
        pmb_pool_close(pool);
}

/* ------------------------------------------------------------------------------------------------ shrink */

/* Give back as a daemon would take it: the units cease to be in the file. */
static uint64_t shrink(struct pmb_pool *pool, uint64_t target)
{
        UnitSpan spans[128];
        uint64_t size = pool->size;
        unsigned n;

        heap_collect(&pool->heap);
        arena_lock(&pool->arena);
        n = units_begin_give(&pool->arena.units, (uint32_t)((size - target) / UNIT_SIZE), spans, 128);
        for (unsigned i = 0; i < n; i++) {
                assert_int_equal(
                        fallocate(pool->mapping.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                (off_t)(spans[i].first * UNIT_SIZE), (off_t)(spans[i].count * UNIT_SIZE)),
                        0);
                size -= spans[i].count * UNIT_SIZE;
        }
        units_commit_give(&pool->arena.units, spans, n, size, pool->length);
        arena_unlock(&pool->arena);
        pool_units_changed(pool);
        pool->size = size;
        return size;
}

static void test_usable_after_a_shrink(void **state)
{
        static const size_t sizes[] = {64, 4 * KIB, 64 * KIB};
        const uint64_t size = 64 * MIB;

        (void)state;
        for (unsigned i = 0; i < ELEMENTSOF(sizes); i++) {
                struct pmb_pool *pool = pool_of_size(size);
                uint32_t seed = 3;
                uint64_t n, live = 0, now;
                void *list, *kept = NULL, *next;

                /*
                 * Full, then one block of a thousand stays, here and there, and whole units are free between
                 * them.
                 */
                n = fill(pool, sizes[i], &list);
                for (void *p = list; p; p = next) {
                        next = *(void **)p;
                        if (n > 2000 ? rnd(&seed) % (n / 10) == 0 : rnd(&seed) % 200 == 0) {
                                *(void **)p = kept;
                                kept = p;
                                live++;
                        } else
                                pmb_free(pool, p);
                }
                now = shrink(pool, size / 2);
                assert_int_equal(now, size / 2);

                n = fill(pool, sizes[i], &list);
                assert_true((n + live) * sizes[i] >= now * 97 / 100);
                free_list(pool, list);

                /* And as large blocks, what the living leave. */
                n = fill(pool, MIB, &list);
                assert_true((double)n * MIB >= 0.97 * (double)now - (double)live * 2 * MIB);
                free_list(pool, list);
                free_list(pool, kept);

                /* Grown again, by holes first and then the end. */
                assert_int_equal(ftruncate(pool->mapping.fd, (off_t)(size + 2 * UNIT_SIZE)), 0);
                pool_told_size(pool, size + 2 * UNIT_SIZE, size + 2 * UNIT_SIZE);
                assert_int_equal(fill(pool, sizes[i], &list), (size + 2 * UNIT_SIZE) / sizes[i]);
                free_list(pool, list);
                heap_collect(&pool->heap);
                assert_int_equal(ranges_largest(&pool->arena.units.free), size + 2 * UNIT_SIZE);
                pmb_pool_close(pool);
        }
}

/* Units that are away are never handed out: the file has a hole there that must stay one. */
static void test_holes_stay_holes(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        void *list;

        (void)state;
        assert_int_equal(shrink(pool, 8 * MIB), 8 * MIB);
        assert_int_equal(fill(pool, 4 * KIB, &list), 8 * MIB / (4 * KIB));
        assert_true(lseek(pool->mapping.fd, 0, SEEK_HOLE) >= 8 * (off_t)MIB);
        assert_true(lseek(pool->mapping.fd, 8 * (off_t)MIB, SEEK_DATA) < 0);
        pmb_pool_close(pool);
}

/* ----------------------------------------------------------------------------------------------- threads */

enum {
        SLOTS = 1024,
        THREADS = 4
};

static struct {
        struct pmb_pool *pool;
        _Atomic(uint32_t *) slots[SLOTS];
        atomic_ulong wrong, refused;
} shared;

static void stamp(uint32_t *p, size_t size, uint32_t tag)
{
        p[0] = tag;
        p[1] = (uint32_t)size;
        p[size / 4 - 1] = tag;
}

static void check_and_free(uint32_t *p)
{
        if (p[p[1] / 4 - 1] != p[0] && p[1] > 12)
                atomic_fetch_add(&shared.wrong, 1);
        if (pmb_usable_size(shared.pool, p) < p[1])
                atomic_fetch_add(&shared.wrong, 1);
        pmb_free(rnd(&p[0]) % 2 ? shared.pool : NULL, p);
}

static void *worker(void *userdata)
{
        uint32_t seed = (uint32_t)(uintptr_t)userdata * 7919 + 1;

        for (int i = 0; i < (SLOW ? 20000 : 200000); i++) {
                uint32_t *old = atomic_exchange(&shared.slots[rnd(&seed) % SLOTS], NULL), *p;
                uint32_t kind = rnd(&seed) % 100;
                size_t size = 16 + rnd(&seed) % (kind < 80 ? 1000 : kind < 97 ? 20000 : 2000000);

                if (old && rnd(&seed) % 8 == 0) {
                        uint32_t tag = old[0];

                        size &= ~(size_t)3;
                        p = pmb_realloc(shared.pool, old, size);
                        if (!p) {
                                check_and_free(old);
                                continue;
                        }
                        if (p[0] != tag)
                                atomic_fetch_add(&shared.wrong, 1);
                } else {
                        if (old)
                                check_and_free(old);
                        size &= ~(size_t)3;
                        p = pmb_malloc(shared.pool, size);
                        if (!p) {
                                atomic_fetch_add(&shared.refused, 1);
                                continue;
                        }
                }
                stamp(p, size, rnd(&seed));
                old = atomic_exchange(&shared.slots[rnd(&seed) % SLOTS], p);
                if (old)
                        check_and_free(old);
        }
        return NULL;
}

static void test_threads(void **state)
{
        pthread_t threads[THREADS];

        (void)state;
        shared.pool = pool_of_size(SIZE);
        for (uintptr_t i = 0; i < THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)i), 0);
        for (unsigned i = 0; i < THREADS; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        for (unsigned i = 0; i < SLOTS; i++) {
                uint32_t *p = atomic_load(&shared.slots[i]);

                if (p)
                        check_and_free(p);
        }
        assert_int_equal(shared.wrong, 0);
        /* All came back, from all threads. */
        assert_non_null(pmb_malloc(shared.pool, SIZE));
        pmb_pool_close(shared.pool);
}

static void *filler(void *userdata)
{
        return fill(userdata, 4096, &(void *){NULL}) > 0 ? userdata : NULL;
}

/* Threads that meet the limit at once get all of it between them. */
static void test_threads_at_the_limit(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        struct pmb_pool_stats stats;
        pthread_t threads[THREADS];

        (void)state;
        for (unsigned i = 0; i < THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, filler, pool), 0);
        for (unsigned i = 0; i < THREADS; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(pmb_pool_stats(pool, &stats), 0);
        assert_int_equal(stats.allocated, SIZE);
        assert_int_equal(stats.refusals, THREADS);
        pmb_pool_close(pool);
}

/* Between blocks that stay there are five pages at a time: too few for a slab of pages, and all of them used. */
static void test_pages_between_others(void **state)
{
        struct pmb_pool *pool = pool_of_size(16 * MIB);
        void *others, *kept = NULL, *pages, *p;
        uint64_t n = fill(pool, 20 * KIB, &others), freed = 0, n_pages;
        struct pmb_pool_stats stats;

        (void)state;
        for (uint64_t i = 0; i < n; i++) {
                p = others;
                others = *(void **)p;
                if (i % 2) {
                        *(void **)p = kept;
                        kept = p;
                        continue;
                }
                pmb_free(pool, p);
                freed += 20 * KIB;
        }
        n_pages = fill(pool, 4096, &pages);
        assert_true(n_pages * 4096 >= freed);
        assert_int_equal(pmb_pool_stats(pool, &stats), 0);
        assert_int_equal(stats.allocated, n_pages * 4096 + (n - freed / (20 * KIB)) * 20 * KIB);
        assert_int_equal(stats.blocks, n_pages + n - freed / (20 * KIB));

        /* They are blocks as any other. */
        assert_int_equal(pmb_usable_size(pool, pages), 4096);
        assert_ptr_equal(pmb_realloc(pool, pages, 4000), pages);
        assert_null(pmb_realloc(pool, pages, 5000));
        p = *(void **)pages;
        memset(pages, 1, 4000);
        pmb_free_sized(pool, pages, 4000);
        pages = pmb_malloc(pool, 4096);
        assert_non_null(pages);
        *(void **)pages = p;
        free_list(pool, pages);
        free_list(pool, kept);
        assert_int_equal(fill(pool, MIB, &others), 16);
        free_list(pool, others);
        pmb_pool_close(pool);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_all_of_it_is_usable),
                cmocka_unit_test(test_all_of_it_again_in_another_size),
                cmocka_unit_test(test_mixed_sizes),
                cmocka_unit_test(test_small_cases),
                cmocka_unit_test(test_alignment),
                cmocka_unit_test(test_calloc_after_use),
                cmocka_unit_test(test_realloc_keeps),
                cmocka_unit_test(test_explain),
                cmocka_unit_test(test_not_for_everyone),
                cmocka_unit_test(test_usable_after_a_shrink),
                cmocka_unit_test(test_holes_stay_holes),
                cmocka_unit_test(test_threads),
                cmocka_unit_test(test_threads_at_the_limit),
                cmocka_unit_test(test_pages_between_others),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
