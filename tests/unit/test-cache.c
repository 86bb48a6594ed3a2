/* SPDX-License-Identifier: BSD-3-Clause */
/* Caches of threads: taken back from the living, given back by the dying, stale when their heap has ended. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "client/cache.h"
#include "client/internal.h"
#include "heap-pool.h"

#define SIZE (32 * MIB)

static struct pmb_pool_stats stats_of(struct pmb_pool *pool)
{
        struct pmb_pool_stats s;

        assert_int_equal(pmb_pool_stats(pool, &s), 0);
        return s;
}

/* ------------------------------------------------------------------------------------------------ stealing */

enum {
        THREADS = 8
};

typedef struct Crowd {
        struct pmb_pool *pool;
        pthread_barrier_t barrier;
} Crowd;

/* Fill, free all, and stay: what is cached is this thread's. */
static void *fill_and_stay(void *userdata)
{
        Crowd *crowd = userdata;
        void *list;

        (void)pthread_barrier_wait(&crowd->barrier);
        (void)fill(crowd->pool, 64, &list);
        (void)pthread_barrier_wait(&crowd->barrier);
        (void)pthread_barrier_wait(&crowd->barrier); /* figures are looked at */
        free_list(crowd->pool, list);
        (void)pthread_barrier_wait(&crowd->barrier);
        (void)pthread_barrier_wait(&crowd->barrier);
        return NULL;
}

static void check_freed_by_the_living(uint64_t size)
{
        Crowd crowd = {.pool = pool_of_size(size)};
        pthread_t threads[THREADS];
        uint64_t large, bytes;
        struct pmb_pool_stats s;
        void *list;

        assert_int_equal(pthread_barrier_init(&crowd.barrier, NULL, THREADS + 1), 0);
        for (unsigned i = 0; i < THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, fill_and_stay, &crowd), 0);
        (void)pthread_barrier_wait(&crowd.barrier);
        (void)pthread_barrier_wait(&crowd.barrier);
        assert_int_equal(stats_of(crowd.pool).allocated, size);
        (void)pthread_barrier_wait(&crowd.barrier);
        (void)pthread_barrier_wait(&crowd.barrier);
        large = fill(crowd.pool, MIB, &list) * MIB;
        print_message("1 MiB: %.1f %%\n", (double)large * 100 / (double)size);
        assert_true(large >= size * 90 / 100);
        bytes = large + fill(crowd.pool, 64 * KIB, &(void *){NULL}) * 64 * KIB;
        bytes += fill(crowd.pool, 64, &(void *){NULL}) * 64;
        assert_true(bytes >= size * 99 / 100);
        s = stats_of(crowd.pool);
        assert_int_equal(s.allocated, bytes);
        assert_int_equal(s.caches, THREADS + 1);
        assert_true(s.steals > 0);

        (void)pthread_barrier_wait(&crowd.barrier);
        for (unsigned i = 0; i < THREADS; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(stats_of(crowd.pool).caches, 1);
        (void)pthread_barrier_destroy(&crowd.barrier);
        pmb_pool_close(crowd.pool);
}

static void test_freed_by_the_living(void **state)
{
        (void)state;
        check_freed_by_the_living(SIZE);
        check_freed_by_the_living(SLOW ? 64 * MIB : 256 * MIB);
}

/* A thread goes on with its cache after it was stolen from, again and again. */
typedef struct Victim {
        struct pmb_pool *pool;
        atomic_bool stop;
        uint64_t wrong;
} Victim;

static void *be_stolen_from(void *userdata)
{
        Victim *v = userdata;
        uint32_t seed = 17;

        while (!atomic_load(&v->stop)) {
                uint32_t *blocks[100];
                unsigned n = rnd(&seed) % 100;

                for (unsigned i = 0; i < n; i++) {
                        blocks[i] = pmb_malloc(v->pool, 8 + rnd(&seed) % 5000);
                        if (blocks[i])
                                *blocks[i] = i;
                }
                for (unsigned i = 0; i < n; i++) {
                        if (blocks[i] && *blocks[i] != i)
                                v->wrong++;
                        pmb_free(v->pool, blocks[i]);
                }
        }
        return NULL;
}

static void test_stolen_from_at_work(void **state)
{
        Victim v = {.pool = pool_of_size(SIZE)};
        pthread_t threads[2];

        (void)state;
        for (unsigned i = 0; i < 2; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, be_stolen_from, &v), 0);
        for (int i = 0; i < (SLOW ? 200 : 2000); i++) {
                struct pmb_pool_stats s = stats_of(v.pool);

                /* Exact: two threads have at most a hundred blocks each. */
                assert_true(s.blocks <= 200);
                assert_true(s.allocated <= UINT64_C(200) * 5120);
                assert_true(s.allocated + s.free == s.backed);
                heap_collect(&v.pool->heap);
        }
        atomic_store(&v.stop, true);
        for (unsigned i = 0; i < 2; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(v.wrong, 0);
        assert_int_equal(stats_of(v.pool).blocks, 0);
        pmb_pool_close(v.pool);
}

/* ---------------------------------------------------------------------------------------------------- full */

static double now_sec(void)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void *free_it(void *userdata)
{
        void **argument = userdata;

        pmb_free(argument[0], argument[1]);
        return NULL;
}

/* A full pool refuses at once, and notices the first block that anybody frees. */
static void test_full_is_fast(void **state)
{
        enum {
                N = 100000
        };
        struct pmb_pool *pool = pool_of_size(SIZE);
        void *list, *last, *argument[2];
        double begin, best = 1;
        pthread_t thread;

        (void)state;
        assert_true(fill(pool, 4096, &list) > 0);
        for (int round = 0; round < 5; round++) {
                begin = now_sec();
                for (int i = 0; i < N; i++)
                        assert_null(pmb_malloc(pool, 4096));
                if (now_sec() - begin < best)
                        best = now_sec() - begin;
        }
        print_message("a refusal takes %.0f ns\n", best / N * 1e9);
        if (!SLOW)
                assert_true(best / N < 1e-6);

        for (int i = 0; i < 100; i++) {
                last = list;
                list = *(void **)list;
                argument[0] = pool;
                argument[1] = last;
                if (i % 2) {
                        assert_int_equal(pthread_create(&thread, NULL, free_it, argument), 0);
                        assert_int_equal(pthread_join(thread, NULL), 0);
                } else
                        pmb_free(pool, last);
                assert_ptr_equal(pmb_malloc(pool, 4096), last);
                *(void **)last = list;
                list = last;
                assert_null(pmb_malloc(pool, 4096));
        }

        /* So it does when the pool grows. */
        assert_int_equal(ftruncate(pool->mapping.fd, (off_t)(SIZE + UNIT_SIZE)), 0);
        pool_told_size(pool, SIZE + UNIT_SIZE, SIZE + UNIT_SIZE);
        assert_non_null(pmb_malloc(pool, UNIT_SIZE));
        assert_null(pmb_malloc(pool, 1));
        free_list(pool, list);
        assert_int_equal(stats_of(pool).allocated, UNIT_SIZE);
        pmb_pool_close(pool);
}

/* What was refused says nothing about less. */
static void test_full_for_some(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        void *p = pmb_malloc(pool, 24 * MIB);

        (void)state;
        assert_non_null(p);
        assert_null(pmb_malloc(pool, 9 * MIB));
        assert_null(pmb_aligned_alloc(pool, 16 * MIB, 9 * MIB));
        assert_non_null(pmb_malloc(pool, 6 * MIB));
        for (int i = 0; i < 1000; i++)
                assert_non_null(pmb_malloc(pool, 100));
        assert_null(pmb_malloc(pool, 9 * MIB));
        pmb_free(pool, p);
        assert_non_null(pmb_malloc(pool, 9 * MIB));
        pmb_pool_close(pool);
}

/* ------------------------------------------------------------------------------------------------ leaving */

static pthread_key_t early, late;

/* Runs before and after the library's own destructor, whichever of the two keys that is. */
static void use_at_exit(void *userdata)
{
        struct pmb_pool *pool = userdata;
        static _Thread_local unsigned rounds;
        void *blocks[50];

        for (unsigned i = 0; i < 50; i++) {
                blocks[i] = pmb_malloc(pool, (size_t)i * 100);
                assert_non_null(blocks[i]);
        }
        for (unsigned i = 0; i < 50; i++)
                pmb_free(pool, blocks[i]);
        /* The bookkeeping of sanitizers ends before the last rounds. */
        if (++rounds < (SLOW ? 1 : 6))
                (void)pthread_setspecific(late, pool);
}

static void *live_shortly(void *userdata)
{
        struct pmb_pool *pool = userdata;
        void *p;

        (void)pthread_setspecific(early, pool);
        p = pmb_malloc(pool, 100);
        (void)pthread_setspecific(late, pool);
        pmb_free(pool, p);
        return NULL;
}

/* Bytes of address space, but for the stacks that libc keeps. */
static size_t space_in_use(void)
{
        unsigned long pages = 0;
        FILE *f = fopen("/proc/self/statm", "re");

        assert_non_null(f);
        assert_int_equal(fscanf(f, "%lu", &pages), 1);
        (void)fclose(f);
        return pages * 4096;
}

static void test_short_lives(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        size_t before = 0;

        (void)state;
        assert_int_equal(pthread_key_create(&early, use_at_exit), 0);
        assert_non_null(pmb_malloc(pool, 1)); /* stays */
        assert_int_equal(pthread_key_create(&late, use_at_exit), 0);
        for (int i = 0; i < 2000; i++) {
                pthread_t thread;

                assert_int_equal(pthread_create(&thread, NULL, live_shortly, pool), 0);
                assert_int_equal(pthread_join(thread, NULL), 0);
                if (i == 100)
                        before = space_in_use();
        }
        if (!SLOW)
                assert_true(space_in_use() <= before + MIB); /* not one cache in twenty threads */
        assert_int_equal(stats_of(pool).blocks, 1);
        assert_int_equal(stats_of(pool).caches, 1);
        heap_collect(&pool->heap);
        assert_true(stats_of(pool).largest_free >= SIZE - 4096 * 2);
        pmb_pool_close(pool);
        (void)pthread_key_delete(early);
        (void)pthread_key_delete(late);
}

/* ------------------------------------------------------------------------------------------------- closing */

static atomic_bool stop;

typedef struct Leaver {
        struct pmb_pool *pool;
        void *block;
        atomic_bool freed;
} Leaver;

static void *free_and_leave(void *userdata)
{
        Leaver *l = userdata;

        pmb_free(l->pool, l->block);
        atomic_store(&l->freed, true);
        return NULL;
}

/* Pools of one's own, one after the other, with blocks in them when they end. */
static void *open_and_close(void *userdata)
{
        uint32_t seed = (uint32_t)(uintptr_t)userdata + 1;

        while (!atomic_load(&stop)) {
                struct pmb_pool *pool = pool_of_size(4 * MIB);
                pthread_t thread;
                Leaver leaver;

                for (int i = 0; i < 500; i++) {
                        size_t size = 1 + rnd(&seed) % 3000;
                        uint8_t *p = pmb_malloc(pool, size);

                        assert_true(
                                p >= (uint8_t *)pool->heap.base && p < (uint8_t *)pool->heap.base + 4 * MIB);
                        memset(p, (int)i, size);
                        if (i % 3)
                                pmb_free(pool, p);
                }
                /* A thread that has a cache here ends while the pool does. */
                leaver = (Leaver){.pool = pool, .block = pmb_malloc(pool, 64)};
                assert_int_equal(pthread_create(&thread, NULL, free_and_leave, &leaver), 0);
                while (!atomic_load(&leaver.freed))
                        (void)sched_yield();
                if (rnd(&seed) % 2)
                        (void)sched_yield();
                pmb_pool_close(pool);
                assert_int_equal(pthread_join(thread, NULL), 0);
        }
        return NULL;
}

static void test_close_while_others_work(void **state)
{
        Victim v = {.pool = pool_of_size(SIZE)};
        pthread_t threads[4];

        (void)state;
        atomic_store(&stop, false);
        assert_int_equal(pthread_create(&threads[0], NULL, be_stolen_from, &v), 0);
        for (uintptr_t i = 1; i < 4; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, (void *)i), 0);
        (void)usleep(SLOW ? 500000 : 2000000);
        atomic_store(&stop, true);
        atomic_store(&v.stop, true);
        for (unsigned i = 0; i < 4; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(v.wrong, 0);
        pmb_pool_close(v.pool);
}

static void *touch_all(void *userdata)
{
        struct pmb_pool **pools = userdata;

        for (unsigned i = 0; i < 4000 && pools[i]; i++)
                pmb_free(pools[i], pmb_malloc(pools[i], 64));
        return NULL;
}

/* As many as there may be, each with its own memory, for two threads. */
static void test_4000_pools(void **state)
{
        static struct pmb_pool *pools[4001];
        static void *blocks[4000];
        pthread_t thread;

        (void)state;
        for (unsigned i = 0; i < 4000; i++) {
                pools[i] = pool_with_max(2 * MIB, 4 * MIB);
                blocks[i] = pmb_malloc(pools[i], 64);
                assert_non_null(blocks[i]);
                *(struct pmb_pool **)blocks[i] = pools[i];
        }
        assert_int_equal(pthread_create(&thread, NULL, touch_all, pools), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        for (unsigned i = 0; i < 4000; i++) {
                assert_ptr_equal(*(struct pmb_pool **)blocks[i], pools[i]);
                assert_ptr_equal(pmb_pool_of(blocks[i]), pools[i]);
                pmb_free(i % 2 ? pools[i] : NULL, blocks[i]);
                if (i % 100 == 0)
                        assert_int_equal(stats_of(pools[i]).blocks, 0);
        }
        for (unsigned i = 0; i < 4000; i++)
                pmb_pool_close(pools[i]);
}

/* -------------------------------------------------------------------------------------------------- place */

static bool is_inside(const Cache *c, const void *other)
{
        return ((uintptr_t)other / 64 * 64 - (uintptr_t)c) % 4096 < offsetof(Cache, firsts);
}

static void *count_meetings(void *userdata)
{
        struct pmb_pool **pools = userdata;
        uintptr_t n = 0;

        for (unsigned i = 0; i < 200; i++) {
                pmb_free(pools[i], pmb_malloc(pools[i], 64));
                n += is_inside(thread_caches.current, &pools[i]->heap);
                n += is_inside(thread_caches.current, &thread_caches);
        }
        return (void *)n;
}

/* What every call looks at has different places in its pages. In a thread that has no caches yet. */
static void test_places_in_pages(void **state)
{
        struct pmb_pool *pools[200];
        pthread_t thread;
        void *meetings;

        (void)state;
        for (unsigned i = 0; i < 200; i++)
                pools[i] = pool_of_size(2 * MIB);
        assert_int_equal(pthread_create(&thread, NULL, count_meetings, pools), 0);
        assert_int_equal(pthread_join(thread, &meetings), 0);
        assert_null(meetings);
        for (unsigned i = 0; i < 200; i++)
                pmb_pool_close(pools[i]);
}

/* Blocks that grow where they are end in a class that nobody asks for: their memory is used again nevertheless. */
static void test_grown_and_freed(void **state)
{
        struct pmb_pool *pool = pool_of_size(256 * MIB);

        (void)state;
        for (int i = 0; i < 2000; i++) {
                char *p = NULL;

                for (size_t size = 16; size < 128 * KIB; size += size / 2) {
                        p = pmb_realloc(pool, p, size);
                        assert_non_null(p);
                }
                pmb_free(pool, p);
        }
        assert_in_range(pool->arena.units.fresh_from, 1, 8 * MIB);
        pmb_pool_close(pool);
}

/* -------------------------------------------------------------------------------------------------- decay */

static void test_decay(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        Heap *h = &pool->heap;
        void *list;

        (void)state;
        assert_true(fill(pool, 4096, &list) > 0);
        free_list(pool, list);
        assert_true(depot_count(h->depot, sizeclass_of(4096)) > SIZE / 4096 / 2);
        heap_decay(h); /* they were full within this period */
        assert_true(depot_count(h->depot, sizeclass_of(4096)) > SIZE / 4096 / 2);
        pmb_free(pool, pmb_malloc(pool, 4096));
        heap_decay(h);
        assert_int_equal(depot_count(h->depot, sizeclass_of(4096)), 0);
        assert_true(stats_of(pool).largest_free >= SIZE - MIB);
        pmb_pool_close(pool);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_freed_by_the_living),
                cmocka_unit_test(test_stolen_from_at_work),
                cmocka_unit_test(test_full_is_fast),
                cmocka_unit_test(test_full_for_some),
                cmocka_unit_test(test_short_lives),
                cmocka_unit_test(test_close_while_others_work),
                cmocka_unit_test(test_4000_pools),
                cmocka_unit_test(test_places_in_pages),
                cmocka_unit_test(test_grown_and_freed),
                cmocka_unit_test(test_decay),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
