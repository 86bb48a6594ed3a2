/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory is there after prefaulting, what was in it too, and nothing beyond what was asked for. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/pool.h"

#define U UNIT_SIZE

static struct pmb_pool *pool_of_units(uint64_t size, bool raw)
{
        struct pmb_pool *pool;
        int fd = memfd_create("pool", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)(size * U)), 0);
        assert_int_equal(pool_new(NULL, size * U, 1024 * U, raw, &pool), 0);
        assert_int_equal(pool_attach(pool, fd, size * U, size * U), 0);
        if (!raw)
                assert_int_equal(heap_open(&pool->heap), 0);
        return pool;
}

/* Bytes that the file has. */
static uint64_t present(struct pmb_pool *pool)
{
        struct stat st;

        assert_int_equal(fstat(pool->mapping.fd, &st), 0);
        return (uint64_t)st.st_blocks * 512;
}

typedef struct Told {
        unsigned n;
        uint64_t done, total;
        unsigned enough; /* calls */
} Told;

static int on_progress(uint64_t done, uint64_t total, void *userdata)
{
        Told *told = userdata;

        assert_true(done > told->done && done <= total);
        told->done = done;
        told->total = total;
        return ++told->n == told->enough;
}

static void test_all(void **state)
{
        for (unsigned threads = 0; threads < 100; threads = 3 * threads + 1) {
                struct pmb_pool *pool = pool_of_units(100, false);
                Told told = {};

                assert_int_equal(present(pool), 0);
                assert_int_equal(pmb_pool_prefault(pool, 0, threads, on_progress, &told), 0);
                assert_int_equal(present(pool), 100 * U);
                assert_int_equal(told.done, 100 * U);
                assert_int_equal(told.total, 100 * U);
                assert_true(threads != 1 || told.n > 1);
                pmb_pool_close(pool);
        }
        (void)state;
}

/* As many as were asked for, from the start; and again, what is there already. */
static void test_part(void **state)
{
        struct pmb_pool *pool = pool_of_units(64, true);

        assert_int_equal(pmb_pool_prefault(pool, 1, 2, NULL, NULL), 0);
        assert_int_equal(present(pool), U);
        assert_int_equal(pmb_pool_prefault(pool, 17 * U, 2, NULL, NULL), 0);
        assert_int_equal(present(pool), 17 * U);
        assert_int_equal(pmb_pool_prefault(pool, 18 * U - 1, 1, NULL, NULL), 0);
        assert_int_equal(present(pool), 18 * U);
        assert_int_equal(pmb_pool_prefault(pool, UINT64_MAX, 3, NULL, NULL), 0);
        assert_int_equal(present(pool), 64 * U);
        pmb_pool_close(pool);
        (void)state;
}

/* Sanitizers would have memory of their own to touch with it. */
static __attribute__((noinline, no_sanitize("address"), no_sanitize("thread"))) void touch(
        volatile uint8_t *p, uint64_t size)
{
        for (uint64_t i = 0; i < size; i += 4096)
                p[i] = 1;
}

/* The page tables are filled in, too: touching it all takes no fault. */
static void test_no_faults_afterwards(void **state)
{
        struct pmb_pool *pool = pool_of_units(16, true);
        struct rusage before, after;

        assert_int_equal(pmb_pool_prefault(pool, 0, 2, NULL, NULL), 0);
        assert_int_equal(getrusage(RUSAGE_THREAD, &before), 0);
        touch(pmb_pool_base(pool), 16 * U);
        assert_int_equal(getrusage(RUSAGE_THREAD, &after), 0);
        assert_in_range(after.ru_minflt - before.ru_minflt, 0, 16);
        pmb_pool_close(pool);
        (void)state;
}

static void test_content_stays(void **state)
{
        struct pmb_pool *pool = pool_of_units(8, true);
        uint64_t *p = pmb_pool_base(pool);

        for (uint64_t i = 0; i < 4 * U / 8; i++)
                p[i] = i * 0x9e3779b97f4a7c15;
        assert_int_equal(pmb_pool_prefault(pool, 0, 2, NULL, NULL), 0);
        for (uint64_t i = 0; i < 4 * U / 8; i++)
                if (p[i] != i * 0x9e3779b97f4a7c15)
                        fail_msg("word %ju is %jx", (uintmax_t)i, (uintmax_t)p[i]);
        for (uint64_t i = 4 * U / 8; i < 8 * U / 8; i++)
                assert_int_equal(p[i], 0);
        pmb_pool_close(pool);
        (void)state;
}

/* What is being given back, or was, is left alone. */
static void test_unbacked_units(void **state)
{
        struct pmb_pool *pool = pool_of_units(20, true);

        assert_int_equal(units_begin_give_at(&pool->arena.units, (UnitSpan){3, 5}), 0);
        assert_int_equal(units_begin_give_at(&pool->arena.units, (UnitSpan){19, 1}), 0);
        units_commit_give(&pool->arena.units, &(UnitSpan){3, 5}, 1, 15 * U, 20 * U);
        assert_int_equal(pmb_pool_prefault(pool, 0, 2, NULL, NULL), 0);
        assert_int_equal(present(pool), 14 * U);
        units_abort_give(&pool->arena.units, &(UnitSpan){19, 1}, 1);
        pmb_pool_close(pool);
        (void)state;
}

static void test_stopped(void **state)
{
        struct pmb_pool *pool = pool_of_units(100, false);
        Told told = {.enough = 2};

        assert_int_equal(pmb_pool_prefault(pool, 0, 1, on_progress, &told), -ECANCELED);
        assert_int_equal(told.n, 2);
        assert_true(told.done < 100 * U);
        assert_int_equal(present(pool), told.done);
        pmb_pool_close(pool);
        (void)state;
}

/* No signal, whatever became of the file. */
static void test_nothing_there(void **state)
{
        struct pmb_pool *pool = pool_of_units(8, true);

        assert_int_equal(ftruncate(pool->mapping.fd, (off_t)(3 * U)), 0);
        assert_int_equal(pmb_pool_prefault(pool, 0, 2, NULL, NULL), -EFAULT);
        heap_refuse(&pool->heap, ESTALE);
        assert_int_equal(pmb_pool_prefault(pool, 0, 2, NULL, NULL), -ESTALE);
        pmb_pool_close(pool);
        (void)state;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_all),
                cmocka_unit_test(test_part),
                cmocka_unit_test(test_no_faults_afterwards),
                cmocka_unit_test(test_content_stays),
                cmocka_unit_test(test_unbacked_units),
                cmocka_unit_test(test_stopped),
                cmocka_unit_test(test_nothing_there),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
