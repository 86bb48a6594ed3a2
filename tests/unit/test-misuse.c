/* SPDX-License-Identifier: BSD-3-Clause */
/* Pointers that are not what they should be, and pools that are closed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "heap-pool.h"

#define SIZE (32 * MIB)

static struct {
        enum pmb_misuse what;
        struct pmb_pool *pool;
        const void *ptr;
        unsigned n;
} told;

static void handler(enum pmb_misuse what, struct pmb_pool *pool, const void *ptr, void *userdata)
{
        assert_ptr_equal(userdata, &told);
        told.what = what;
        told.pool = pool;
        told.ptr = ptr;
        told.n++;
}

static void assert_told(enum pmb_misuse what, struct pmb_pool *pool, const void *ptr)
{
        assert_int_equal(told.n, 1);
        assert_int_equal(told.what, what);
        assert_ptr_equal(told.pool, pool);
        assert_ptr_equal(told.ptr, ptr);
        told.n = 0;
}

static void test_invalid(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE), *other = pool_of_size(SIZE);
        char *base = pmb_pool_base(pool), *p, *q;
        int local;

        (void)state;
        pmb_set_misuse_handler(handler, &told);
        errno = 4711;
        pmb_free(pool, &local);
        assert_told(PMB_MISUSE_INVALID, pool, &local);
        pmb_free(NULL, &local);
        assert_told(PMB_MISUSE_INVALID, NULL, &local);
        pmb_free(pool, base + 20 * MIB); /* never used */
        assert_told(PMB_MISUSE_INVALID, pool, base + 20 * MIB);
        pmb_free(pool, base + SIZE); /* address space without memory */
        assert_told(PMB_MISUSE_INVALID, pool, base + SIZE);
        pmb_free_sized(pool, &local, 4);
        assert_told(PMB_MISUSE_INVALID, pool, &local);

        p = pmb_malloc(pool, 64 * KIB);
        pmb_free(other, p);
        assert_told(PMB_MISUSE_INVALID, other, p);
        for (size_t at = 4096; at < 64 * KIB; at += 4096) {
                pmb_free(pool, p + at);
                assert_told(PMB_MISUSE_INVALID, pool, p + at);
        }
        q = pmb_malloc(pool, 12 * MIB);
        pmb_free(pool, q + 4 * MIB);
        assert_told(PMB_MISUSE_INVALID, pool, q + 4 * MIB);
        assert_int_equal(errno, 4711);

        assert_null(pmb_realloc(pool, &local, 100));
        assert_told(PMB_MISUSE_INVALID, pool, &local);
        assert_int_equal(errno, EINVAL);
        assert_int_equal(pmb_usable_size(pool, &local), 0);
        assert_int_equal(told.n, 0);
        pmb_free(pool, p);
        pmb_free(pool, q);
        assert_int_equal(told.n, 0);
        pmb_pool_close(pool);
        pmb_pool_close(other);
        pmb_set_misuse_handler(NULL, NULL);
}

static void test_double(void **state)
{
        static const size_t sizes[] = {1, 64, 4096, 20000, MIB, 12 * MIB};
        struct pmb_pool *pool = pool_of_size(SIZE);

        (void)state;
        pmb_set_misuse_handler(handler, &told);
        for (unsigned i = 0; i < ELEMENTSOF(sizes); i++) {
                char *p = pmb_malloc(pool, sizes[i]), *q;

                assert_non_null(p);
                pmb_free(pool, p);
                assert_int_equal(told.n, 0);
                pmb_free(pool, p);
                assert_told(sizes[i] > CLASS_SIZE_MAX ? PMB_MISUSE_INVALID : PMB_MISUSE_DOUBLE, pool, p);
                pmb_free(NULL, p);
                assert_int_equal(told.n, 1);
                told.n = 0;
                if (sizes[i] <= TABLE_SIZE_MAX) {
                        pmb_free_sized(pool, p, sizes[i]);
                        assert_told(PMB_MISUSE_DOUBLE, pool, p);
                }
                /* It is there once. */
                p = pmb_malloc(pool, sizes[i]);
                q = pmb_malloc(pool, sizes[i]);
                assert_ptr_not_equal(p, q);
                pmb_free(pool, p);
                pmb_free(pool, q);
        }
        pmb_pool_close(pool);
        pmb_set_misuse_handler(NULL, NULL);
}

static void test_sizes(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        char *p = pmb_malloc(pool, 100), *q;

        (void)state;
        pmb_set_misuse_handler(handler, &told);
        pmb_free_sized(pool, p, 113); /* its class is 112 */
        assert_told(PMB_MISUSE_SIZE, pool, p);
        pmb_free_sized(pool, p, 5000);
        assert_told(PMB_MISUSE_SIZE, pool, p);
        pmb_free_sized(pool, p, 112);
        assert_int_equal(told.n, 0);

        /* A smaller size than it is does no harm: the table knows. */
        p = pmb_malloc(pool, 1000);
        pmb_free_sized(pool, p, 10);
        assert_int_equal(told.n, 0);
        for (unsigned i = 0; (q = pmb_malloc(pool, 1000)) != p; i++)
                assert_true(q && i < 1000);
        pmb_free_sized(NULL, p, 1000);
        pmb_free_sized(pool, NULL, 1000);
        p = pmb_malloc(pool, 10 * MIB);
        pmb_free_sized(pool, p, 10 * MIB);
        assert_int_equal(told.n, 0);
        pmb_pool_close(pool);
        pmb_set_misuse_handler(NULL, NULL);
}

/* Without a handler the process ends, and says which pool it was. */
static void test_default(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        char text[256] = "";
        int fds[2], status;
        pid_t pid;

        (void)state;
        strcpy(pool->name, "shop");
        assert_int_equal(pipe(fds), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                (void)dup2(fds[1], STDERR_FILENO);
                (void)signal(SIGABRT, SIG_DFL);
                pmb_free(pool, text);
                _exit(1);
        }
        (void)close(fds[1]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
        assert_non_null(strstr(text, "libpmbroker: pool 0123456789abcdef shop: 0x"));
        assert_non_null(strstr(text, ": not a block of this pool\n"));
        (void)close(fds[0]);
        pmb_pool_close(pool);
}

static void test_closed_pools(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        struct pmb_pool_stats stats;
        struct pmb_pool_info info;
        char *p = pmb_malloc(pool, 100), buf[100];
        void *q = NULL;

        (void)state;
        pmb_pool_close(pool);
        for (int i = 0; i < POOLS_BURIED; i++) {
                errno = 0;
                assert_null(pmb_malloc(pool, 100));
                assert_int_equal(errno, ESTALE);
                assert_null(pmb_calloc(pool, 1, 100));
                assert_null(pmb_aligned_alloc(pool, 64, 64));
                assert_int_equal(pmb_posix_memalign(pool, &q, 8192, 100), ESTALE);
                errno = 0;
                assert_null(pmb_realloc(pool, p, 200));
                assert_int_equal(errno, ESTALE);
                assert_null(pmb_defrag(pool, p));
                pmb_free(pool, p);
                pmb_free_sized(pool, p, 100);
                assert_int_equal(pmb_usable_size(pool, p), 0);
                assert_int_equal(pmb_pool_stats(pool, &stats), -ESTALE);
                assert_int_equal(pmb_pool_stats_classes(pool, NULL, 0), -ESTALE);
                assert_true(pmb_pool_stats_json(pool, PMB_STATS_CLASSES, buf, sizeof(buf)) > 0);
                assert_int_equal(pmb_pool_info(pool, &info), -ESTALE);
                assert_int_equal(pmb_pool_trim(pool, 0), -ESTALE);
                assert_int_equal(pmb_pool_resize(pool, SIZE), -ESTALE);
                assert_int_equal(pmb_pool_give_back(pool, 0, 1), -ESTALE);
                assert_null(pmb_pool_base(pool));
                assert_null(pmb_pool_of(p));
                assert_true(pmb_pool_explain(pool, buf, sizeof(buf)) >= 0);
                assert_null(pmb_pool_close(pool));
                if (i < POOLS_BURIED - 1)
                        pmb_pool_close(pool_of_size(2 * MIB));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_invalid),
                cmocka_unit_test(test_double),
                cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_default),
                cmocka_unit_test(test_closed_pools),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
