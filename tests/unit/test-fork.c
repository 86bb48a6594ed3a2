/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools are dead in children, and the parent does not notice. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "base/parse.h"
#include "client/client.h"
#include "client/pool.h"
#include "child.h"
#include "fake-daemon.h"

#define U UNIT_SIZE

static int setup(void **state)
{
        *state = fake_new();
        return 0;
}

static int teardown(void **state)
{
        fake_free(*state);
        return 0;
}

typedef struct Family {
        FakeDaemon *fake;
        struct pmb_client *client;
        struct pmb_pool *pool;
        char *block;
} Family;

static Family family_new(FakeDaemon *fake)
{
        Family f = {.fake = fake};

        assert_int_equal(pmb_client_connect(fake->path, 0, &f.client), 0);
        assert_int_equal(pmb_pool_create(f.client, &(struct pmb_pool_options){.size = 16 * U}, &f.pool), 0);
        f.block = pmb_malloc(f.pool, 100);
        assert_non_null(f.block);
        strcpy(f.block, "parent");
        return f;
}

static void family_free(Family *f)
{
        pmb_pool_close(f->pool);
        pmb_client_unref(f->client);
}

/* The exit status of `fn` in a child, or minus the signal that ended it. */
static int in_child(int (*fn)(Family *f), Family *f)
{
        pid_t pid;

        if (child_begin(&pid))
                _exit(fn(f));
        return child_end(pid);
}

static int everything_is_dead(Family *f)
{
        struct pmb_pool_info info;
        struct pmb_pool_stats stats;
        struct pmb_pool *pool = NULL;
        char buf[256];
        void *p = &p;

        errno = 0;
        EXPECT(!pmb_malloc(f->pool, 1) && errno == ESTALE);
        errno = 0;
        EXPECT(!pmb_calloc(f->pool, 1, 1) && errno == ESTALE);
        errno = 0;
        EXPECT(!pmb_realloc(f->pool, f->block, 1000) && errno == ESTALE);
        EXPECT(pmb_posix_memalign(f->pool, &p, 64, 1) == ESTALE);
        pmb_free(f->pool, f->block);
        pmb_free(NULL, f->block);
        EXPECT(pmb_usable_size(f->pool, f->block) == 0);
        EXPECT(pmb_pool_of(f->block) == f->pool);
        EXPECT(pmb_pool_info(f->pool, &info) == -ESTALE);
        EXPECT(info.id == f->pool->id);
        EXPECT(pmb_pool_stats(f->pool, &stats) == -ESTALE);
        EXPECT(pmb_pool_explain(f->pool, buf, sizeof(buf)) >= 0);
        EXPECT(pmb_pool_resize(f->pool, 32 * U) == -ESTALE);
        EXPECT(pmb_pool_resize(f->pool, U) == -ESTALE);
        EXPECT(pmb_pool_trim(f->pool, 0) == -ESTALE);
        EXPECT(pmb_pool_create(f->client, &(struct pmb_pool_options){.size = U}, &pool) == -ESTALE);
        EXPECT(pmb_client_explain(f->client, buf, sizeof(buf)) >= 0);

        /* The child's own memory keeps away from the addresses. */
        for (int i = 0; i < 200; i++) {
                char *q = malloc((size_t)1 << 20);

                EXPECT(q && !pmb_pool_of(q));
        }
        EXPECT(!pmb_pool_close(f->pool));
        EXPECT(!pmb_client_unref(f->client));
        EXPECT(!pmb_pool_of(f->block));
        return 0;
}

static int touch(Family *f)
{
        return *(volatile char *)f->block;
}

static int write_to(Family *f)
{
        *(volatile char *)f->block = 'x';
        return 0;
}

/* A child may have clients and pools of its own, and children with theirs. */
static int own_pool(Family *f)
{
        Family own = {.fake = f->fake};

        EXPECT(pmb_client_connect(f->fake->path, 0, &own.client) == 0);
        EXPECT(pmb_pool_create(own.client, &(struct pmb_pool_options){.size = 4 * U}, &own.pool) == 0);
        EXPECT((own.block = pmb_malloc(own.pool, 3 * U)));
        memset(own.block, 1, 3 * U);
        EXPECT(pmb_pool_resize(own.pool, 8 * U) == 0);
        EXPECT(!pmb_malloc(f->pool, 1));

        pid_t pid = fork();
        int status;

        EXPECT(pid >= 0);
        if (pid == 0) {
                int r = 0;

                r |= pmb_malloc(own.pool, 1) != NULL;
                r |= pmb_malloc(f->pool, 1) != NULL;
                pmb_pool_close(own.pool);
                pmb_client_unref(own.client);
                pmb_pool_close(f->pool);
                pmb_client_unref(f->client);
                _exit(r);
        }
        EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
        EXPECT(own.block[3 * U - 1] == 1);
        pmb_pool_close(f->pool);
        pmb_client_unref(f->client);
        EXPECT((own.block = pmb_malloc(own.pool, 100)));
        pmb_pool_close(own.pool);
        pmb_client_unref(own.client);
        return 0;
}

static void test_child(void **state)
{
        Family f = family_new(*state);

        assert_int_equal(in_child(everything_is_dead, &f), 0);
        assert_int_equal(in_child(touch, &f), -SIGSEGV);
        assert_int_equal(in_child(write_to, &f), -SIGSEGV);
        assert_int_equal(in_child(own_pool, &f), 0);

        /* Here all is as it was, on the same connection but for the grandchildren's. */
        assert_string_equal(f.block, "parent");
        assert_int_equal(pmb_pool_resize(f.pool, 20 * U), 0);
        assert_non_null(pmb_malloc(f.pool, 10 * U));
        assert_int_equal(f.fake->n_connects, 2);
        assert_int_equal(fake_count_pools(f.fake), 1);
        family_free(&f);
        assert_int_equal(fake_count_pools(*state), 0);
}

static atomic_bool stop;

static void *allocator(void *userdata)
{
        Family *f = userdata;

        while (!atomic_load(&stop)) {
                void *blocks[64];

                for (size_t i = 0; i < ELEMENTSOF(blocks); i++)
                        blocks[i] = pmb_malloc(f->pool, i * 997 + 1);
                for (size_t i = 0; i < ELEMENTSOF(blocks); i++)
                        pmb_free(f->pool, blocks[i]);
                heap_collect(&f->pool->heap);
        }
        return NULL;
}

static void *resizer(void *userdata)
{
        Family *f = userdata;

        for (uint64_t n = 0; !atomic_load(&stop); n++)
                (void)pmb_pool_resize(f->pool, (8 + n % 16) * U);
        return NULL;
}

static void *creator(void *userdata)
{
        Family *f = userdata;

        while (!atomic_load(&stop)) {
                struct pmb_pool *pool;

                if (pmb_pool_create(f->client, &(struct pmb_pool_options){.size = U}, &pool) == 0)
                        pmb_pool_close(pool);
        }
        return NULL;
}

static int look_and_go(Family *f)
{
        char *p;

        EXPECT(!pmb_malloc(f->pool, 1));
        p = malloc(100000);
        EXPECT(p);
        free(p);
        pmb_pool_close(f->pool);
        pmb_client_unref(f->client);
        return 0;
}

static void test_fork_under_load(void **state)
{
        Family f = family_new(*state);
        void *(*const roles[])(void *) = {allocator, allocator, resizer, creator};
        pthread_t threads[ELEMENTSOF(roles)];

        atomic_store(&stop, false);
        for (unsigned i = 0; i < ELEMENTSOF(roles); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, roles[i], &f), 0);
        for (int i = 0; i < 200; i++)
                assert_int_equal(in_child(look_and_go, &f), 0);
        atomic_store(&stop, true);
        for (unsigned i = 0; i < ELEMENTSOF(roles); i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_string_equal(f.block, "parent");
        family_free(&f);
}

static atomic_int in_handler;

static void on_event(const struct pmb_event *event, void *userdata)
{
        (void)event;
        atomic_store(&in_handler, in_child(look_and_go, userdata) == 0 ? 1 : -1);
}

static void test_fork_in_a_handler(void **state)
{
        Family f = family_new(*state);

        atomic_store(&in_handler, 0);
        pmb_client_set_handler(f.client, on_event, &f);
        fake_grow_pool(f.fake, f.pool->id, 1);
        while (atomic_load(&in_handler) == 0)
                (void)usleep(1000);
        assert_int_equal(in_handler, 1);
        family_free(&f);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_child),
                TEST(test_fork_under_load),
                TEST(test_fork_in_a_handler),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
