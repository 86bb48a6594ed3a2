/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every function of the heap, at random, by many threads on a few pools: blocks are handed from thread to
 * thread through shared slots, and each is checked whenever it is taken out of one. Pools run full, grow,
 * shrink, are trimmed, asked for units, closed and opened again; threads end and others begin; the process
 * forks.
 *
 *     heap [--ops N] [--threads N] [--seed N]
 *
 * Silent but for a summary at the end. A pool is closed under a lock that all others hold shared: that nobody
 * else uses it is the caller's duty.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/parse.h"
#include "client/client.h"
#include "client/pool.h"
#include "tests/unit/fake-daemon.h"

#define POOLS   4
#define SLOTS   1024
#define UNITS   32 /* that a pool has at most, but for the first: it runs full */
#define LIFE    50000
#define MIX_END 10000

/* At the start of each block. */
typedef struct Block {
        uint32_t tag;
        uint32_t size; /* that was asked for */
        uint32_t aligned;
        uint32_t pad;
} Block;

static uint64_t arg_ops = 10000000;
static unsigned arg_threads = 8;
static uint32_t arg_seed = 1;

static FakeDaemon *fake;
static struct pmb_client *client;

static struct {
        pthread_rwlock_t lock;
        struct pmb_pool *pool;
        _Atomic(Block *) slots[SLOTS];
} pools[POOLS];

static atomic_ulong n_ops, n_null, n_forks, n_closed, n_moved, n_threads, n_given;

static uint32_t rnd(uint32_t *s)
{
        *s ^= *s << 13;
        *s ^= *s >> 17;
        return *s ^= *s << 5;
}

static _Noreturn void wrong(const char *what, const void *p, size_t at)
{
        fprintf(stderr, "heap: %s: block %p, byte %zu, after %lu operations, seed %" PRIu32 "\n", what, p,
                at, atomic_load(&n_ops), arg_seed);
        abort();
}

/* ------------------------------------------------------------------------------------------------ content */

/* All of small blocks, and of large ones a word here and there and the last bytes. */
static size_t stride(size_t size)
{
        return size <= 2048 ? 4 : size <= 65536 ? 508 : 4004;
}

static uint32_t word_at(uint32_t tag, size_t at)
{
        return tag * 2654435761u + (uint32_t)at;
}

static void stamp(Block *b, size_t size, bool aligned, uint32_t tag)
{
        uint8_t *p = (uint8_t *)b;

        *b = (Block){.tag = tag, .size = (uint32_t)size, .aligned = aligned};
        for (size_t at = sizeof(*b); at + 4 < size; at += stride(size)) {
                uint32_t w = word_at(tag, at);

                memcpy(p + at, &w, 4);
        }
        if (size > sizeof(*b))
                p[size - 1] = (uint8_t)(tag ^ size);
}

/* The first `n` bytes are as stamp() has left them. */
static void check(struct pmb_pool *pool, const Block *b, size_t n)
{
        const uint8_t *p = (const uint8_t *)b;
        size_t size = b->size;

        if (size < sizeof(*b) || size > 16 * MIB)
                wrong("header", b, 0);
        for (size_t at = sizeof(*b); at + 4 < size && at + 4 <= n; at += stride(size)) {
                uint32_t w;

                memcpy(&w, p + at, 4);
                if (w != word_at(b->tag, at))
                        wrong("content", b, at);
        }
        if (n >= size && size > sizeof(*b) && p[size - 1] != (uint8_t)(b->tag ^ size))
                wrong("last byte", b, size - 1);
        if (pmb_usable_size(pool, b) < n)
                wrong("usable size", b, pmb_usable_size(pool, b));
}

static void check_zero(const uint8_t *p, size_t size)
{
        size_t step = size <= 4096 ? 1 : 61;

        for (size_t at = 0; at < size; at += step)
                if (p[at])
                        wrong("calloc", p, at);
        if (p[size - 1])
                wrong("calloc", p, size - 1);
}

/* ------------------------------------------------------------------------------------------------- blocks */

static size_t any_size(uint32_t *s)
{
        uint32_t r = rnd(s) % 1000;
        size_t most = r < 800 ? 1000 : r < 960 ? 20000 : r < 995 ? 200000 : r < 999 ? 2000000 : 10000000;

        return sizeof(Block) + rnd(s) % most;
}

static void drop(struct pmb_pool *pool, Block *b, uint32_t *s)
{
        check(pool, b, b->size);
        switch (rnd(s) % 4) {
        case 0:
                pmb_free(NULL, b);
                break;
        case 1:
                if (!b->aligned) {
                        pmb_free_sized(pool, b, b->size);
                        break;
                }
                /* fall through */
        default:
                pmb_free(pool, b);
        }
}

static void leave(unsigned i, Block *b, uint32_t *s)
{
        Block *old = atomic_exchange(&pools[i].slots[rnd(s) % SLOTS], b);

        if (old)
                drop(pools[i].pool, old, s);
}

static Block *take(unsigned i, uint32_t *s)
{
        return atomic_exchange(&pools[i].slots[rnd(s) % SLOTS], NULL);
}

static Block *make(struct pmb_pool *pool, size_t size, uint32_t *s, bool *ret_aligned)
{
        uint32_t r = rnd(s) % 16;
        size_t alignment = (size_t)8 << rnd(s) % 14;
        void *p = NULL;

        *ret_aligned = false;
        if (r < 10)
                return pmb_malloc(pool, size);
        if (r < 14) {
                p = pmb_calloc(pool, 1, size);
                if (p)
                        check_zero(p, size);
                return p;
        }
        *ret_aligned = true;
        if (r == 14)
                p = pmb_aligned_alloc(pool, alignment, size);
        else if (pmb_posix_memalign(pool, &p, alignment, size) != 0)
                p = NULL;
        if ((uintptr_t)p % alignment)
                wrong("alignment", p, alignment);
        return p;
}

static void add(unsigned i, uint32_t *s)
{
        struct pmb_pool *pool = pools[i].pool;
        size_t size = any_size(s);
        bool aligned;
        Block *b = make(pool, size, s, &aligned);

        if (!b) {
                atomic_fetch_add(&n_null, 1);
                for (int k = 0; k < 8; k++) {
                        b = take(i, s);
                        if (b)
                                drop(pool, b, s);
                }
                return;
        }
        if (pmb_pool_of(b) != pool)
                wrong("of another pool", b, 0);
        stamp(b, size, aligned, rnd(s));
        leave(i, b, s);
}

static void change(unsigned i, uint32_t *s)
{
        struct pmb_pool *pool = pools[i].pool;
        Block *b = take(i, s), *now;
        size_t size = any_size(s);

        if (!b)
                return;
        check(pool, b, b->size);
        if (rnd(s) % 4 == 0) {
                bool aligned = b->aligned;

                now = pmb_defrag(pool, b);
                if (now) {
                        atomic_fetch_add(&n_moved, 1);
                        b = now;
                        b->aligned = aligned;
                        check(pool, b, b->size);
                }
        } else {
                now = pmb_realloc(pool, b, size);
                if (now) {
                        b = now;
                        check(pool, b, b->size < size ? b->size : size);
                        stamp(b, size, false, rnd(s));
                } else {
                        atomic_fetch_add(&n_null, 1);
                        check(pool, b, b->size);
                }
        }
        leave(i, b, s);
}

/* -------------------------------------------------------------------------------------------------- pools */

static struct pmb_pool *open_pool(unsigned i)
{
        struct pmb_pool_options options = {
                .size = (i == 0 ? 4 : UNITS / 2) * UNIT_SIZE,
                .max_size = UNITS * UNIT_SIZE,
        };
        struct pmb_pool *pool;

        assert_int_equal(pmb_pool_create(client, &options, &pool), 0);
        return pool;
}

/* Alone with the pool: it is closed with whatever is in it, and made anew. */
static void replace_pool(unsigned i, bool checked, uint32_t *s)
{
        (void)pthread_rwlock_wrlock(&pools[i].lock);
        for (unsigned k = 0; k < SLOTS; k++) {
                Block *b = atomic_exchange(&pools[i].slots[k], NULL);

                if (b && checked)
                        drop(pools[i].pool, b, s);
        }
        if (checked) {
                struct pmb_pool_stats stats;

                /* The library's thread may be giving back what was asked for: units are neither here nor there. */
                assert_int_equal(pthread_mutex_lock(&pools[i].pool->change_lock), 0);
                assert_int_equal(pmb_pool_stats(pools[i].pool, &stats), 0);
                assert_int_equal(pthread_mutex_unlock(&pools[i].pool->change_lock), 0);
                assert_int_equal(stats.allocated, 0);
                assert_int_equal(stats.blocks, 0);
                assert_int_equal(stats.backed, stats.limit);
                heap_collect(&pools[i].pool->heap);
                assert_int_equal(pmb_pool_stats(pools[i].pool, &stats), 0);
                assert_int_equal(stats.cached, 0);
                assert_int_equal(stats.free, stats.backed);
        }
        pmb_pool_close(pools[i].pool);
        pools[i].pool = open_pool(i);
        atomic_fetch_add(&n_closed, 1);
        (void)pthread_rwlock_unlock(&pools[i].lock);
}

/* One that nobody else knows. */
static void short_pool(uint32_t *s)
{
        struct pmb_pool *pool;
        bool aligned;

        assert_int_equal(
                pmb_pool_create(client, &(struct pmb_pool_options){.size = 2 * UNIT_SIZE}, &pool), 0);
        for (int k = 0; k < 100; k++) {
                size_t size = sizeof(Block) + rnd(s) % 20000;
                Block *b = make(pool, size, s, &aligned);

                if (!b)
                        break;
                stamp(b, size, aligned, rnd(s));
                if (k % 2)
                        drop(pool, b, s);
        }
        pmb_pool_close(pool);
        atomic_fetch_add(&n_closed, 1);
}

static void look(struct pmb_pool *pool, uint32_t *s)
{
        struct pmb_class_stats classes[100];
        struct pmb_pool_stats stats;
        char text[8192];
        int n;

        assert_int_equal(pmb_pool_stats(pool, &stats), 0);
        if (stats.allocated > stats.backed || stats.cached > stats.free || stats.largest_free > stats.free)
                wrong("figures", pool, stats.allocated);
        n = pmb_pool_stats_classes(pool, classes, ELEMENTSOF(classes));
        assert_true(n > 0 && n < (int)ELEMENTSOF(classes));
        assert_true(pmb_pool_stats_json(pool, rnd(s) % 2, text, sizeof(text)) > 0);
        assert_true(pmb_pool_explain(pool, text, sizeof(text)) >= 0);
}

static void resize(unsigned i, uint32_t *s)
{
        struct pmb_pool *pool = pools[i].pool;
        int64_t n;

        switch (rnd(s) % 4) {
        case 0:
                n = pmb_pool_trim(pool, rnd(s) % 4 * UNIT_SIZE);
                assert_true(n >= 0);
                atomic_fetch_add(&n_given, (unsigned long)n);
                break;
        case 1:
                if (i > 0)
                        fake_reclaim(fake, pool->id, (4 + rnd(s) % UNITS) * UNIT_SIZE);
                break;
        default:
                (void)pmb_pool_resize(pool, (2 + rnd(s) % (i == 0 ? 4 : UNITS - 2)) * UNIT_SIZE);
        }
}

/* In the child all pools are dead, and the child's own malloc lives. */
static void fork_once(void)
{
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
                void *p;

                (void)alarm(30);
                (void)signal(SIGABRT, SIG_DFL);
                for (unsigned i = 0; i < POOLS; i++) {
                        errno = 0;
                        if (pmb_malloc(pools[i].pool, 100) || errno != ESTALE)
                                _exit(1);
                        pmb_free(pools[i].pool, &p);
                }
                p = malloc(1000);
                free(p);
                pmb_pool_close(pools[0].pool);
                _exit(p ? 0 : 2);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (status != 0)
                wrong("child", NULL, (size_t)status);
        atomic_fetch_add(&n_forks, 1);
}

/* ------------------------------------------------------------------------------------------------ threads */

static void *worker(void *userdata)
{
        uint32_t seed = (uint32_t)(uintptr_t)userdata * 7919 + arg_seed, *s = &seed;
        uint64_t life = LIFE / 2 + rnd(s) % LIFE, n = 0;

        while (n < life && atomic_load_explicit(&n_ops, memory_order_relaxed) < arg_ops) {
                unsigned i = rnd(s) % POOLS;

                (void)pthread_rwlock_rdlock(&pools[i].lock);
                for (int k = 0; k < 100; k++) {
                        uint32_t r = rnd(s) % MIX_END;
                        Block *b;

                        if (r < 5000)
                                add(i, s);
                        else if (r < 8000) {
                                b = take(i, s);
                                if (b)
                                        drop(pools[i].pool, b, s);
                        } else if (r < MIX_END - 12)
                                change(i, s);
                        else if (r < MIX_END - 3)
                                look(pools[i].pool, s);
                        else
                                resize(i, s);
                }
                (void)pthread_rwlock_unlock(&pools[i].lock);
                if (rnd(s) % 400 == 0)
                        short_pool(s);
                if (rnd(s) % 2000 == 0)
                        replace_pool(i, rnd(s) % 2, s);
                if (rnd(s) % 1000 == 0) {
                        for (unsigned k = 0; k < POOLS; k++)
                                (void)pthread_rwlock_rdlock(&pools[k].lock);
                        fork_once();
                        for (unsigned k = 0; k < POOLS; k++)
                                (void)pthread_rwlock_unlock(&pools[k].lock);
                }
                n += 100;
                atomic_fetch_add_explicit(&n_ops, 100, memory_order_relaxed);
        }
        return NULL;
}

/* Threads one after the other, as long as there is something to do. */
static void *keep_going(void *userdata)
{
        uintptr_t id = (uintptr_t)userdata;

        while (atomic_load(&n_ops) < arg_ops) {
                pthread_t thread;

                assert_int_equal(pthread_create(&thread, NULL, worker, (void *)id), 0);
                assert_int_equal(pthread_join(thread, NULL), 0);
                atomic_fetch_add(&n_threads, 1);
                id += arg_threads;
        }
        return NULL;
}

static void test_everything(void **state)
{
        pthread_t threads[64];
        uint32_t seed = arg_seed;
        struct timespec begin, end;

        (void)state;
        (void)clock_gettime(CLOCK_MONOTONIC, &begin);
        fake = fake_new();
        assert_int_equal(pmb_client_connect(fake->path, 0, &client), 0);
        for (unsigned i = 0; i < POOLS; i++) {
                (void)pthread_rwlock_init(&pools[i].lock, NULL);
                pools[i].pool = open_pool(i);
        }
        for (uintptr_t i = 0; i < arg_threads; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, keep_going, (void *)(i + 1)), 0);
        for (unsigned i = 0; i < arg_threads; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        for (unsigned i = 0; i < POOLS; i++) {
                replace_pool(i, /* checked= */ true, &seed);
                pmb_pool_close(pools[i].pool);
        }
        pmb_client_unref(client);
        assert_int_equal(fake_count_pools(fake), 0);
        fake_free(fake);
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        print_message(
                "heap: %lu operations by %lu threads in %ld s: %lu refused, %lu pools closed, %lu forks, "
                "%lu blocks moved, %lu MiB given back\n",
                atomic_load(&n_ops), atomic_load(&n_threads), (long)(end.tv_sec - begin.tv_sec),
                atomic_load(&n_null), atomic_load(&n_closed), atomic_load(&n_forks), atomic_load(&n_moved),
                atomic_load(&n_given) >> 20);
        assert_true(n_null > 0 && n_closed > 0 && n_moved > 0);
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"ops", required_argument, NULL, 'o'},
                {"threads", required_argument, NULL, 't'},
                {"seed", required_argument, NULL, 's'},
                {0},
        };
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_everything)};
        uint32_t threads = arg_threads;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if ((c == 'o' && parse_u64(optarg, &arg_ops) < 0) ||
                        (c == 't' && (parse_u32(optarg, &threads) < 0 || threads < 1 || threads > 64)) ||
                        (c == 's' && (parse_u32(optarg, &arg_seed) < 0 || arg_seed == 0)) || c == '?')
                        return 64;
        arg_threads = threads;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
