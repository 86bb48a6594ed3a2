/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools that live on in children, as a copy or shared; and what is no fork(). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/parse.h"
#include "client/client.h"
#include "client/pool.h"
#include "child.h"
#include "fake-daemon.h"

#define U        UNIT_SIZE
#define N_BLOCKS 400

extern char **environ;

typedef struct Family {
        FakeDaemon *fake;
        struct pmb_client *client;
        struct pmb_pool *pool;
        unsigned char *blocks[N_BLOCKS];
        size_t sizes[N_BLOCKS];
        int to_child[2], to_parent[2];
} Family;

/* The child ends at once, before the library's own handler: this one was there first. */
static bool die_in_child;

static void in_every_child(void)
{
        if (die_in_child)
                _exit(7);
}

static __attribute__((constructor)) void install(void)
{
        (void)pthread_atfork(NULL, NULL, in_every_child);
}

static int setup(void **state)
{
        Family *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        f->fake = fake_new();
        assert_int_equal(pmb_client_connect(f->fake->path, 0, &f->client), 0);
        assert_int_equal(pipe2(f->to_child, O_CLOEXEC), 0);
        assert_int_equal(pipe2(f->to_parent, O_CLOEXEC), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        Family *f = *state;

        pmb_pool_close(f->pool);
        pmb_client_unref(f->client);
        fake_free(f->fake);
        for (unsigned i = 0; i < 2; i++) {
                safe_close(f->to_child[i]);
                safe_close(f->to_parent[i]);
        }
        free(f);
        return 0;
}

static void open_pool(Family *f, uint64_t size, uint64_t flags)
{
        struct pmb_pool_options options = {.size = size, .max_size = 128 * U, .flags = flags};

        assert_int_equal(pmb_pool_create(f->client, &options, &f->pool), 0);
}

static uint32_t rnd(uint32_t *s)
{
        *s ^= *s << 13;
        *s ^= *s >> 17;
        return *s ^= *s << 5;
}

static void fill_blocks(Family *f)
{
        uint32_t seed = 3;

        for (unsigned i = 0; i < N_BLOCKS; i++) {
                f->sizes[i] = 1 + rnd(&seed) % (1u << rnd(&seed) % 18);
                f->blocks[i] = pmb_malloc(f->pool, f->sizes[i]);
                assert_non_null(f->blocks[i]);
                memset(f->blocks[i], (int)i, f->sizes[i]);
        }
}

static bool blocks_are_whole(const Family *f)
{
        for (unsigned i = 0; i < N_BLOCKS; i++)
                for (size_t k = 0; k < f->sizes[i]; k++)
                        if (f->blocks[i][k] != (unsigned char)i)
                                return false;
        return true;
}

/* The exit status of `fn` in a child, or minus the signal that ended it. */
static int in_child(int (*fn)(Family *f), Family *f)
{
        pid_t pid;

        if (child_begin(&pid))
                _exit(fn(f));
        return child_end(pid);
}

/* -------------------------------------------------------------------------------------------------- copy */

static int use_copy(Family *f)
{
        struct pmb_pool_info info;
        struct pmb_pool_stats stats;
        struct pmb_pool *other = NULL;
        void *list = NULL, **p;
        uint64_t n = 0;

        EXPECT(blocks_are_whole(f));
        EXPECT(pmb_pool_info(f->pool, &info) == 0 && info.size == 16 * U);
        EXPECT(pmb_pool_stats(f->pool, &stats) == 0 && stats.blocks == N_BLOCKS);
        EXPECT(pmb_pool_of(f->blocks[3]) == f->pool);
        for (unsigned i = 0; i < N_BLOCKS; i += 2) {
                pmb_free(i % 4 ? f->pool : NULL, f->blocks[i]);
                f->sizes[i] = 1 + i * 7;
                f->blocks[i] = pmb_calloc(f->pool, 1, f->sizes[i]);
                EXPECT(f->blocks[i]);
                for (size_t k = 0; k < f->sizes[i]; k++)
                        EXPECT(f->blocks[i][k] == 0);
                memset(f->blocks[i], (int)i, f->sizes[i]);
        }
        EXPECT(blocks_are_whole(f));

        /* All of it, and not more. */
        while ((p = pmb_malloc(f->pool, 4096))) {
                memset(p, 0x77, 4096);
                *p = list;
                list = p;
                n += 4096;
        }
        EXPECT(errno == ENOMEM && n > 4 * U && n < 16 * U);
        EXPECT(blocks_are_whole(f));
        while ((p = list)) {
                list = *p;
                pmb_free(f->pool, p);
        }
        EXPECT(pmb_pool_prefault(f->pool, 0, 2, NULL, NULL) == 0);

        EXPECT(pmb_pool_resize(f->pool, 32 * U) == -ESTALE);
        EXPECT(pmb_pool_resize(f->pool, U) == -ESTALE);
        EXPECT(pmb_pool_trim(f->pool, 0) == -ESTALE);
        EXPECT(pmb_pool_create(f->client, &(struct pmb_pool_options){.size = U}, &other) == -ESTALE);
        EXPECT(blocks_are_whole(f));
        pmb_pool_close(f->pool);
        pmb_client_unref(f->client);
        return 0;
}

static void test_copy(void **state)
{
        Family *f = *state;

        open_pool(f, 16 * U, PMB_POOL_COPY_ON_FORK);
        fill_blocks(f);
        assert_int_equal(in_child(use_copy, f), 0);
        assert_true(blocks_are_whole(f));

        /* Here the pool is as it was, on the same connection. */
        assert_int_equal(pmb_pool_resize(f->pool, 20 * U), 0);
        assert_int_equal(pmb_pool_resize(f->pool, 16 * U), 0);
        assert_int_equal(in_child(use_copy, f), 0);
        assert_int_equal(f->fake->n_connects, 1);
}

/* Neither sees what the other does from then on. */
static int write_and_wait(Family *f)
{
        char byte;

        memset(f->blocks[5], 0xee, f->sizes[5]);
        EXPECT(write(f->to_parent[1], "", 1) == 1);
        EXPECT(read(f->to_child[0], &byte, 1) == 1);
        EXPECT(f->blocks[6][0] == 6 && f->blocks[5][0] == 0xee);
        return 0;
}

static void test_apart(void **state)
{
        Family *f = *state;
        char byte;
        int status;
        pid_t pid;

        open_pool(f, 16 * U, PMB_POOL_COPY_ON_FORK);
        fill_blocks(f);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                _exit(write_and_wait(f));
        assert_int_equal(read(f->to_parent[0], &byte, 1), 1);
        assert_true(blocks_are_whole(f));
        memset(f->blocks[6], 0xdd, f->sizes[6]);
        assert_int_equal(write(f->to_child[1], "", 1), 1);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static int have_child(Family *f)
{
        EXPECT(in_child(use_copy, f) == 0);
        EXPECT(blocks_are_whole(f));
        EXPECT(in_child(write_and_wait, f) == 0);
        EXPECT(blocks_are_whole(f));
        return use_copy(f);
}

static void test_grandchildren(void **state)
{
        Family *f = *state;

        open_pool(f, 16 * U, PMB_POOL_COPY_ON_FORK);
        fill_blocks(f);
        assert_int_equal(write(f->to_child[1], "", 1), 1);
        assert_int_equal(in_child(have_child, f), 0);
        assert_true(blocks_are_whole(f));
}

/* Only what is in use is copied, wherever it is; the rest of the child's memory is not even touched. */
static int look_at_raw(Family *f)
{
        const unsigned char *p = pmb_pool_base(f->pool);

        for (unsigned i = 0; i < 60; i++)
                EXPECT((i >= 10 && i < 20) || p[i * U + i] == i);
        EXPECT(pmb_pool_give_back(f->pool, 30, 1) == -ESTALE);
        return 0;
}

static void test_raw(void **state)
{
        Family *f = *state;
        unsigned char *p;

        open_pool(f, 60 * U, PMB_POOL_COPY_ON_FORK | PMB_POOL_RAW);
        p = pmb_pool_base(f->pool);
        for (unsigned i = 0; i < 60; i++)
                p[i * U + i] = (unsigned char)i;
        assert_int_equal(pmb_pool_give_back(f->pool, 10, 10), 0);
        assert_int_equal(in_child(look_at_raw, f), 0);
}

static int is_dead(Family *f)
{
        errno = 0;
        EXPECT(!pmb_malloc(f->pool, 1) && errno == ESTALE);
        pmb_free(f->pool, f->blocks[0]);
        pmb_pool_close(f->pool);
        pmb_client_unref(f->client);
        return 0;
}

static int touch(Family *f)
{
        return *(volatile unsigned char *)f->blocks[0];
}

static void test_no_descriptor(void **state)
{
        struct rlimit before, none;
        Family *f = *state;

        open_pool(f, 16 * U, PMB_POOL_COPY_ON_FORK);
        fill_blocks(f);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        none = before;
        none.rlim_cur = 0;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        assert_int_equal(in_child(is_dead, f), 0);
        assert_int_equal(in_child(touch, f), -SIGSEGV);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(in_child(use_copy, f), 0);
        assert_true(blocks_are_whole(f));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_LIMIT_OF_ADDRESSES 0 /* they would run into it themselves */
#else
#define HAS_LIMIT_OF_ADDRESSES 1
#endif

static void test_no_memory(void **state)
{
        struct rlimit before, none;
        Family *f = *state;

        if (!HAS_LIMIT_OF_ADDRESSES)
                skip();
        open_pool(f, 16 * U, PMB_POOL_COPY_ON_FORK);
        fill_blocks(f);
        assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
        none = before;
        none.rlim_cur = MIB;
        assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
        assert_int_equal(in_child(is_dead, f), 0);
        assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
        assert_true(blocks_are_whole(f));
}

/* What is taken away in this moment is not mistaken for what was never written. */
static void test_taken_away(void **state)
{
        Family *f = *state;

        open_pool(f, 16 * U, PMB_POOL_COPY_ON_FORK);
        fill_blocks(f);
        assert_int_equal(ftruncate(f->pool->mapping.fd, 0), 0);
        assert_int_equal(in_child(is_dead, f), 0);
        assert_int_equal(ftruncate(f->pool->mapping.fd, (off_t)(16 * U)), 0);
}

static int nothing(Family *f)
{
        (void)f;
        return 0;
}

static void test_child_ends_at_once(void **state)
{
        Family *f = *state;

        open_pool(f, 16 * U, PMB_POOL_COPY_ON_FORK);
        fill_blocks(f);
        die_in_child = true;
        for (unsigned i = 0; i < 20; i++)
                assert_int_equal(in_child(nothing, f), 7);
        die_in_child = false;
        assert_true(blocks_are_whole(f));
        assert_int_equal(in_child(use_copy, f), 0);
}

static void test_revoked(void **state)
{
        Family *f = *state;

        open_pool(f, 16 * U, PMB_POOL_COPY_ON_FORK);
        fill_blocks(f);
        fake_revoke(f->fake, f->pool->id);
        while (!pool_is_dead(f->pool))
                (void)usleep(1000);
        assert_int_equal(in_child(is_dead, f), 0);
}

/* ------------------------------------------------------------------------------------------------- threads */

static atomic_bool stop;

static void *allocator(void *userdata)
{
        Family *f = userdata;
        uint32_t seed = (uint32_t)(uintptr_t)&seed | 1;

        while (!atomic_load(&stop)) {
                void *blocks[64];

                for (size_t i = 0; i < ELEMENTSOF(blocks); i++)
                        blocks[i] = pmb_malloc(f->pool, rnd(&seed) % 20000);
                for (size_t i = 0; i < ELEMENTSOF(blocks); i++)
                        pmb_free(f->pool, blocks[i]);
        }
        return NULL;
}

static void *resizer(void *userdata)
{
        Family *f = userdata;

        for (uint64_t n = 0; !atomic_load(&stop); n++) {
                (void)pmb_pool_resize(f->pool, (24 + n % 16) * U);
                (void)pmb_pool_trim(f->pool, 2 * U);
        }
        return NULL;
}

static int use_a_little(Family *f)
{
        void *list = NULL, **p;
        uint64_t n = 0;

        EXPECT(blocks_are_whole(f));
        while ((p = pmb_malloc(f->pool, 65536))) {
                memset(p, 0x77, 65536);
                *p = list;
                list = p;
                n++;
        }
        EXPECT(errno == ENOMEM);
        EXPECT(blocks_are_whole(f));
        while ((p = list)) {
                list = *p;
                pmb_free(f->pool, p);
        }
        for (unsigned i = 0; i < N_BLOCKS; i++)
                pmb_free(f->pool, f->blocks[i]);
        pmb_pool_close(f->pool);
        pmb_client_unref(f->client);
        return 0;
}

static void test_under_load(void **state)
{
        void *(*const roles[])(void *) = {allocator, allocator, allocator, resizer};
        pthread_t threads[ELEMENTSOF(roles)];
        Family *f = *state;

        open_pool(f, 24 * U, PMB_POOL_COPY_ON_FORK);
        fill_blocks(f);
        atomic_store(&stop, false);
        for (unsigned i = 0; i < ELEMENTSOF(roles); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, roles[i], f), 0);
        for (int i = 0; i < 60; i++)
                assert_int_equal(in_child(use_a_little, f), 0);
        atomic_store(&stop, true);
        for (unsigned i = 0; i < ELEMENTSOF(roles); i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(blocks_are_whole(f));
}

/* ------------------------------------------------------------------------------------------------- share */

static int use_shared(Family *f)
{
        unsigned char *p = pmb_pool_base(f->pool);
        struct pmb_pool_info info;

        EXPECT(p[0] == 1 && p[3 * U] == 2);
        p[5 * U] = 3;
        EXPECT(pmb_pool_info(f->pool, &info) == 0 && info.size == 8 * U);
        EXPECT(!pmb_malloc(f->pool, 1) && errno == EINVAL);
        EXPECT(pmb_pool_resize(f->pool, 16 * U) == -ESTALE);
        EXPECT(pmb_pool_give_back(f->pool, 1, 1) == -ESTALE);
        /* What was only reserved is still nobody's. */
        for (int i = 0; i < 200; i++) {
                char *q = malloc((size_t)1 << 20);

                EXPECT(q && !pmb_pool_of(q));
        }
        pmb_pool_close(f->pool);
        pmb_client_unref(f->client);
        return 0;
}

static int share_again(Family *f)
{
        EXPECT(in_child(use_shared, f) == 0);
        return use_shared(f);
}

static void test_share(void **state)
{
        struct pmb_pool *other = NULL;
        Family *f = *state;
        unsigned char *p;

        assert_int_equal(
                pmb_pool_create(f->client,
                        &(struct pmb_pool_options){.size = U, .flags = PMB_POOL_SHARE_ON_FORK}, &other),
                -EINVAL);
        assert_int_equal(
                pmb_pool_create(f->client,
                        &(struct pmb_pool_options){.size = U,
                                .flags = PMB_POOL_SHARE_ON_FORK | PMB_POOL_RAW | PMB_POOL_COPY_ON_FORK},
                        &other),
                -EINVAL);
        open_pool(f, 8 * U, PMB_POOL_SHARE_ON_FORK | PMB_POOL_RAW);
        p = pmb_pool_base(f->pool);
        p[0] = 1;
        p[3 * U] = 2;
        assert_int_equal(in_child(share_again, f), 0);
        assert_int_equal(p[5 * U], 3);
        assert_int_equal(pmb_pool_resize(f->pool, 16 * U), 0);
        p[15 * U] = 1;
}

/* ---------------------------------------------------------------------------------------------- no fork() */

static void test_spawn(void **state)
{
        char sh[] = "sh", option[] = "-c", command[] = "exit 3", *argv[] = {sh, option, command, NULL};
        pthread_t threads[2];
        Family *f = *state;
        int status;
        pid_t pid;

        open_pool(f, 16 * U, 0);
        fill_blocks(f);
        atomic_store(&stop, false);
        for (unsigned i = 0; i < ELEMENTSOF(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, allocator, f), 0);
        for (unsigned i = 0; i < 30; i++) {
                assert_int_equal(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ), 0);
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_int_equal(WEXITSTATUS(status), 3);

                pid = vfork();
                if (pid == 0) {
                        (void)execv("/bin/sh", argv);
                        _exit(127);
                }
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_int_equal(WEXITSTATUS(status), 3);
                /* Memory that is shared with such a child stays where it is while there is one. */
                assert_true(blocks_are_whole(f));
        }
        atomic_store(&stop, true);
        for (unsigned i = 0; i < ELEMENTSOF(threads); i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(pmb_pool_resize(f->pool, 20 * U), 0);
        assert_int_equal(f->fake->n_connects, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_copy),
                TEST(test_apart),
                TEST(test_grandchildren),
                TEST(test_raw),
                TEST(test_no_descriptor),
                TEST(test_no_memory),
                TEST(test_taken_away),
                TEST(test_child_ends_at_once),
                TEST(test_revoked),
                TEST(test_under_load),
                TEST(test_share),
                TEST(test_spawn),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
