/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools that grow by themselves: when, by how much, how often they ask, and what happens when they may not. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <sys/wait.h>

#include "base/parse.h"
#include "client/client.h"
#include "client/clock.h"
#include "client/grow.h"
#include "client/pool.h"
#include "fake-daemon.h"

#define U      UNIT_SIZE
#define RESIZE PMBROKER__V1__CLIENT_PACKET__BODY_RESIZE_POOL

typedef struct Fixture {
        FakeDaemon *fake;
        struct pmb_client *client;
        struct pmb_pool *pool;
} Fixture;

static int setup(void **state)
{
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        f->fake = fake_new();
        assert_int_equal(pmb_client_connect(f->fake->path, 0, &f->client), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        Fixture *f = *state;

        pmb_pool_close(f->pool);
        pmb_client_unref(f->client);
        fake_free(f->fake);
        free(f);
        return 0;
}

#define OPEN(f, ...)      \
        assert_int_equal( \
                pmb_pool_create((f)->client, &(struct pmb_pool_options){__VA_ARGS__}, &(f)->pool), 0)

static unsigned n_asked(Fixture *f)
{
        unsigned n;

        fake_lock(f->fake);
        n = f->fake->n_requests[RESIZE];
        fake_unlock(f->fake);
        return n;
}

static uint64_t size_of_pool(Fixture *f)
{
        struct pmb_pool_info info;

        assert_int_equal(pmb_pool_info(f->pool, &info), 0);
        return info.size;
}

static uint64_t fill(Fixture *f, size_t size)
{
        uint64_t n = 0;

        while (pmb_malloc(f->pool, size))
                n += size;
        assert_int_equal(errno, ENOMEM);
        return n;
}

/* ------------------------------------------------------------------------------------------------ growing */

static void test_from_nothing_to_the_quota(void **state)
{
        Fixture *f = *state;
        struct pmb_pool_info info;

        f->fake->quota = 100 * MIB;
        OPEN(f, .size = 0);
        assert_int_equal(pmb_pool_info(f->pool, &info), 0);
        assert_int_equal(info.size, 8 * MIB);
        assert_int_equal(info.max_size, 100 * MIB);
        assert_int_equal(fill(f, 4096), 100 * MIB);
        assert_int_equal(size_of_pool(f), 100 * MIB);
        /* 16, 24, 32, 40, 50, 62, 76, 94, 100 */
        assert_int_equal(n_asked(f), 9);
}

static void test_by_what_is_needed(void **state)
{
        Fixture *f = *state;

        OPEN(f, .size = 4 * MIB, .max_size = 200 * MIB, .flags = PMB_POOL_AUTO_GROW);
        assert_non_null(pmb_malloc(f->pool, 100 * MIB));
        /* What was free at the end of the pool is made use of, but for what classes of sizes round up. */
        assert_true(size_of_pool(f) >= 100 * MIB && size_of_pool(f) <= 112 * MIB);
        assert_int_equal(n_asked(f), 1);
        assert_non_null(pmb_aligned_alloc(f->pool, 16 * MIB, 16 * MIB));
        assert_int_equal(n_asked(f), 2);
}

static void test_grown_block(void **state)
{
        Fixture *f = *state;
        char *p;

        OPEN(f, .size = 0);
        p = pmb_malloc(f->pool, 6 * MIB);
        assert_non_null(p);
        memset(p, 3, 6 * MIB);
        assert_int_equal(n_asked(f), 0);
        p = pmb_realloc(f->pool, p, 60 * MIB);
        assert_non_null(p);
        assert_int_equal(p[6 * MIB - 1], 3);
        assert_int_equal(n_asked(f), 1);
}

/* Given back and grown again; the holes are filled first. */
static void test_after_a_trim(void **state)
{
        Fixture *f = *state;
        void *p, *q, *r;

        OPEN(f, .size = 0, .max_size = 64 * MIB);
        p = pmb_malloc(f->pool, 20 * MIB);
        q = pmb_malloc(f->pool, 2 * MIB);
        assert_non_null(p);
        assert_non_null(q);
        pmb_free(f->pool, p);
        assert_true(pmb_pool_trim(f->pool, 0) > 0);
        assert_true(size_of_pool(f) <= 4 * MIB);
        r = pmb_malloc(f->pool, 40 * MIB);
        assert_non_null(r);
        memset(r, 1, 40 * MIB);
        assert_true(size_of_pool(f) <= 64 * MIB);
        assert_int_equal(f->fake->n_not_backed, 0);
        pmb_free(f->pool, q);
        pmb_free(f->pool, r);
}

static void test_only_when_asked_to(void **state)
{
        Fixture *f = *state;
        char why[512];

        OPEN(f, .size = 4 * MIB);
        assert_int_equal(fill(f, 4096), 4 * MIB);
        assert_int_equal(n_asked(f), 0);
        assert_true(pmb_pool_explain(f->pool, why, sizeof(why)) > 0);
        assert_null(strstr(why, "grow by itself"));
}

static void test_options(void **state)
{
        Fixture *f = *state;
        struct pmb_pool *pool = NULL;

        assert_int_equal(
                pmb_pool_create(f->client, &(struct pmb_pool_options){.flags = PMB_POOL_RAW}, &pool),
                -EINVAL);
        assert_int_equal(pmb_pool_create(f->client,
                                 &(struct pmb_pool_options){
                                         .size = 4 * MIB, .flags = PMB_POOL_RAW | PMB_POOL_AUTO_GROW},
                                 &pool),
                -EINVAL);
        assert_int_equal(pmb_pool_create(f->client,
                                 &(struct pmb_pool_options){.size = 4 * MIB, .max_size = MIB}, &pool),
                -EINVAL);
        /* A maximum below what such pools begin with. */
        OPEN(f, .max_size = 3 * MIB);
        assert_int_equal(size_of_pool(f), 4 * MIB);
        assert_int_equal(fill(f, 4096), 4 * MIB);
        assert_int_equal(n_asked(f), 0);
}

/* ------------------------------------------------------------------------------------------------- threads */

static void *take_one(void *userdata)
{
        Fixture *f = userdata;

        return pmb_malloc(f->pool, 1 * MIB);
}

/* All wait for the one that asks. */
static void test_threads_ask_once(void **state)
{
        Fixture *f = *state;
        pthread_t threads[8];
        void *p;

        OPEN(f, .size = 8 * MIB, .max_size = 64 * MIB, .flags = PMB_POOL_AUTO_GROW);
        while ((p = pmb_malloc(f->pool, 1 * MIB)) && size_of_pool(f) == 8 * MIB)
                ;
        pmb_free(f->pool, p);
        assert_int_equal(n_asked(f), 1);
        while (pmb_malloc(f->pool, 1 * MIB) && size_of_pool(f) == 16 * MIB && n_asked(f) < 2)
                ;
        assert_int_equal(n_asked(f), 2); /* 24 MiB, one of the new 8 taken */
        for (int i = 0; i < 7; i++)
                assert_non_null(pmb_malloc(f->pool, 1 * MIB));
        assert_int_equal(n_asked(f), 2);

        /* Full to the brim, as the fake daemon is stopped: all eight come to the lock before it answers. */
        fake_lock(f->fake);
        for (unsigned i = 0; i < 8; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, take_one, f), 0);
        (void)usleep(100000);
        fake_unlock(f->fake);
        for (unsigned i = 0; i < 8; i++) {
                assert_int_equal(pthread_join(threads[i], &p), 0);
                assert_non_null(p);
        }
        assert_int_equal(n_asked(f), 3);
        assert_int_equal(size_of_pool(f), 32 * MIB);
}

/* ------------------------------------------------------------------------------------------------- refused */

static void test_refused(void **state)
{
        Fixture *f = *state;
        uint64_t begin;
        char why[512];

        f->fake->refusal = (Refusal){.code = RESULT_QUOTA_BYTES,
                .asked = 8 * MIB,
                .limit = 64 * MIB,
                .used = 60 * MIB,
                .subject = "batch"};
        OPEN(f, .size = 8 * MIB, .max_size = 64 * MIB, .flags = PMB_POOL_AUTO_GROW);
        fake_script(f->fake, RESIZE, FAKE_REFUSE); /* the step */
        fake_script(f->fake, RESIZE, FAKE_REFUSE); /* what is needed */
        begin = now_usec();
        assert_int_equal(fill(f, 4096), 8 * MIB);
        for (int i = 0; i < 100; i++)
                assert_null(pmb_malloc(f->pool, 4096));
        if (now_usec() - begin < 90000)
                assert_int_equal(n_asked(f), 2);
        assert_true(pmb_pool_explain(f->pool, why, sizeof(why)) > 0);
        assert_non_null(strstr(why, "8M"));
        assert_non_null(strstr(why, "batch"));
        assert_non_null(strstr(why, "60M"));

        /* After a while it is tried again. */
        (void)usleep(110000);
        assert_non_null(pmb_malloc(f->pool, 4096));
        assert_int_equal(n_asked(f), 3);
        assert_int_equal(size_of_pool(f), 16 * MIB);
}

static void test_step_refused_need_granted(void **state)
{
        Fixture *f = *state;

        f->fake->refusal = (Refusal){.code = RESULT_QUOTA_BYTES, .subject = "batch"};
        OPEN(f, .size = 8 * MIB, .max_size = 64 * MIB, .flags = PMB_POOL_AUTO_GROW);
        fake_script(f->fake, RESIZE, FAKE_REFUSE);
        assert_non_null(pmb_malloc(f->pool, 8 * MIB));
        assert_non_null(pmb_malloc(f->pool, 4 * MIB));
        assert_int_equal(size_of_pool(f), 12 * MIB);
        assert_int_equal(n_asked(f), 2);
}

/* The pause grows while nothing comes of it, and ends when somebody else has let the pool grow. */
static void test_pauses(void **state)
{
        Fixture *f = *state;
        uint64_t pause;

        f->fake->refusal = (Refusal){.code = RESULT_QUOTA_BYTES, .subject = "batch"};
        OPEN(f, .size = 8 * MIB, .max_size = 64 * MIB, .flags = PMB_POOL_AUTO_GROW);
        for (int i = 0; i < 16; i++)
                fake_script(f->fake, RESIZE, FAKE_REFUSE);
        (void)fill(f, 4096);
        pause = f->pool->grow_pause_usec;
        assert_int_equal(pause, 100000);
        for (int i = 0; i < 7; i++) {
                atomic_store(&f->pool->grow_not_before, 0);
                assert_int_equal(pool_grow_for_slowly(f->pool, 4096), -EDQUOT);
        }
        assert_int_equal(f->pool->grow_pause_usec, 10000000);
        assert_int_equal(n_asked(f), 16);
        assert_null(pmb_malloc(f->pool, 4096));
        assert_int_equal(n_asked(f), 16);

        fake_grow_pool(f->fake, f->pool->id, 1);
        while (size_of_pool(f) == 8 * MIB)
                (void)usleep(1000);
        assert_int_equal(fill(f, MIB), 64 * MIB - 8 * MIB);
        assert_int_equal(f->pool->grow_pause_usec, 0);
}

static void test_no_answer(void **state)
{
        Fixture *f = *state;
        uint64_t begin, spent;

        OPEN(f, .size = 8 * MIB, .max_size = 64 * MIB, .flags = PMB_POOL_AUTO_GROW);
        fake_script(f->fake, RESIZE, FAKE_SILENT);
        begin = now_usec();
        assert_int_equal(fill(f, 4096), 8 * MIB);
        spent = now_usec() - begin;
        assert_in_range(spent, 900000, 2500000);
}

static void test_daemon_away(void **state)
{
        Fixture *f = *state;
        uint64_t begin;

        OPEN(f, .size = 8 * MIB, .max_size = 64 * MIB, .flags = PMB_POOL_AUTO_GROW);
        fake_drop_all(f->fake, /* away= */ true);
        begin = now_usec();
        assert_int_equal(fill(f, 4096), 8 * MIB);
        assert_in_range(now_usec() - begin, 900000, 2500000);
        fake_listen(f->fake);
        while (!pmb_malloc(f->pool, 4096))
                (void)usleep(1000);
        assert_int_equal(size_of_pool(f), 16 * MIB);
}

/* Who holds the size meanwhile is waited for no longer than that either. */
static void *take_and_time(void *userdata)
{
        Fixture *f = userdata;
        uint64_t begin = now_usec();

        (void)fill(f, 4096);
        return (void *)(uintptr_t)(now_usec() - begin);
}

static void test_change_under_way(void **state)
{
        Fixture *f = *state;
        pthread_t thread;
        void *spent;

        OPEN(f, .size = 8 * MIB, .max_size = 64 * MIB, .flags = PMB_POOL_AUTO_GROW);
        (void)pthread_mutex_lock(&f->pool->change_lock);
        assert_int_equal(pthread_create(&thread, NULL, take_and_time, f), 0);
        assert_int_equal(pthread_join(thread, &spent), 0);
        (void)pthread_mutex_unlock(&f->pool->change_lock);
        assert_in_range((uintptr_t)spent, 900000, 2500000);
        assert_int_equal(n_asked(f), 0);
}

/* What nobody needed between two looks goes back, but for two steps. */
static void test_idle(void **state)
{
        Fixture *f = *state;
        void *p;

        OPEN(f, .size = 0, .max_size = 256 * MIB);
        p = pmb_malloc(f->pool, 100 * MIB);
        assert_non_null(p);
        pool_idle(f->pool);
        pool_give_back_idle(f->pool); /* in use: nothing happens, now or the next time */
        pmb_free(f->pool, p);
        arena_purge(&f->pool->arena);
        pool_give_back_idle(f->pool);
        assert_true(size_of_pool(f) >= 100 * MIB);

        /* As the heap tells it: the dispatcher does the rest. */
        pool_idle(f->pool);
        while (size_of_pool(f) >= 100 * MIB)
                (void)usleep(1000);
        assert_in_range(size_of_pool(f), 48 * MIB, 60 * MIB); /* two steps of a quarter of what it was */
        assert_int_equal(f->fake->n_not_backed, 0);
        for (int i = 0; i < 2; i++) {
                pool_give_back_idle(f->pool);
                pool_give_back_idle(f->pool);
        }
        assert_in_range(size_of_pool(f), 16 * MIB, 40 * MIB);
        assert_non_null(pmb_malloc(f->pool, 100 * MIB));
}

/* Others keep what they were created with. */
static void test_idle_of_others(void **state)
{
        Fixture *f = *state;

        OPEN(f, .size = 64 * MIB);
        for (int i = 0; i < 3; i++)
                pool_idle(f->pool);
        (void)usleep(50000);
        assert_int_equal(size_of_pool(f), 64 * MIB);
}

static void test_child(void **state)
{
        Fixture *f = *state;
        int status;
        pid_t pid;

        OPEN(f, .size = 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                errno = 0;
                _exit(pmb_malloc(f->pool, 16 * MIB) || errno != ESTALE);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(n_asked(f), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_from_nothing_to_the_quota),
                TEST(test_by_what_is_needed),
                TEST(test_grown_block),
                TEST(test_after_a_trim),
                TEST(test_only_when_asked_to),
                TEST(test_options),
                TEST(test_threads_ask_once),
                TEST(test_refused),
                TEST(test_step_refused_need_granted),
                TEST(test_pauses),
                TEST(test_no_answer),
                TEST(test_daemon_away),
                TEST(test_change_under_way),
                TEST(test_idle),
                TEST(test_idle_of_others),
                TEST(test_child),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
