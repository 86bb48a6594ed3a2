/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients and pools against a daemon that refuses, stutters, hangs up and comes back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <stdatomic.h>

#include "base/parse.h"
#include "client/client.h"
#include "client/clock.h"
#include "client/pool.h"
#include "fake-daemon.h"

#define U UNIT_SIZE

#define HELLO     PMBROKER__V1__CLIENT_PACKET__BODY_HELLO
#define CREATE    PMBROKER__V1__CLIENT_PACKET__BODY_CREATE_POOL
#define DESTROY   PMBROKER__V1__CLIENT_PACKET__BODY_DESTROY_POOL
#define RESIZE    PMBROKER__V1__CLIENT_PACKET__BODY_RESIZE_POOL
#define GIVE_BACK PMBROKER__V1__CLIENT_PACKET__BODY_GIVE_BACK
#define RESUME    PMBROKER__V1__CLIENT_PACKET__BODY_RESUME_POOLS

static int setup(void **state)
{
        *state = fake_new();
        return 0;
}

static int teardown(void **state)
{
        FakeDaemon *f = *state;
        unsigned n_not_backed = f->n_not_backed;

        fake_free(f);
        return n_not_backed > 0; /* the library never gives back a unit twice */
}

static struct pmb_client *connect_to(FakeDaemon *f, unsigned flags)
{
        struct pmb_client *client = NULL;

        assert_int_equal(pmb_client_connect(f->path, flags, &client), 0);
        return client;
}

static struct pmb_pool *create(struct pmb_client *client, uint64_t size)
{
        struct pmb_pool *pool = NULL;

        assert_int_equal(pmb_pool_create(client, &(struct pmb_pool_options){.size = size}, &pool), 0);
        return pool;
}

/* What the library believes and what is true: the same units. */
static void check_units(FakeDaemon *f, struct pmb_pool *pool)
{
        uint32_t n_backed, n_giving, n_wrong = 0;
        FakePool truth = {};

        /* Assertions leave by a jump: first look, then judge. */
        fake_lock(f);
        if (fake_find(f, pool->id))
                truth = *fake_find(f, pool->id);
        arena_lock(&pool->arena);
        n_giving = pool->arena.units.n_giving;
        n_backed = pool->arena.units.n_backed;
        for (uint32_t i = 0; i < FAKE_UNITS && i < pool->arena.units.max; i++)
                n_wrong += (pool->arena.units.backed[i / 64] >> (i % 64) & 1) != truth.backed[i];
        arena_unlock(&pool->arena);
        fake_unlock(f);

        assert_int_equal(truth.id, pool->id);
        assert_int_equal(n_giving, 0);
        assert_int_equal(n_backed, truth.n_backed);
        assert_int_equal(n_wrong, 0);
        assert_int_equal(pool->size, truth.n_backed * U);
}

#define WAIT_FOR(condition)                                         \
        do {                                                        \
                uint64_t give_up_ = now_usec() + 10 * USEC_PER_SEC; \
                while (!(condition)) {                              \
                        assert_true(now_usec() < give_up_);         \
                        (void)usleep(200);                          \
                }                                                   \
        } while (0)

/* ------------------------------------------------------------------------------------------------ events */

typedef struct Told {
        atomic_uint n[8];
        _Atomic uint64_t size;
        _Atomic uint64_t target;
} Told;

static void on_told(const struct pmb_event *event, void *userdata)
{
        Told *told = userdata;

        atomic_store(&told->size, event->size);
        atomic_store(&told->target, event->target);
        atomic_fetch_add(&told->n[event->type], 1);
}

/* ----------------------------------------------------------------------------------------------- connect */

static void test_connect_errors(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = (void *)1;
        char longer[200];

        assert_int_equal(pmb_client_connect("/nonexistent/socket", 0, &client), -ENOENT);
        assert_int_equal(pmb_client_connect(f->path, 8, &client), -EINVAL);
        memset(longer, 'x', sizeof(longer) - 1);
        longer[sizeof(longer) - 1] = '\0';
        assert_int_equal(pmb_client_connect(longer, 0, &client), -EINVAL);

        fake_lock(f);
        f->refusal = (Refusal){.code = RESULT_VERSION, .asked = 1, .limit = 7, .used = 5};
        fake_unlock(f);
        fake_script(f, HELLO, FAKE_REFUSE);
        assert_int_equal(pmb_client_connect(f->path, 0, &client), -EPROTONOSUPPORT);
        fake_lock(f);
        f->refusal = (Refusal){.code = RESULT_SESSION_LIMIT};
        fake_unlock(f);
        fake_script(f, HELLO, FAKE_REFUSE);
        assert_int_equal(pmb_client_connect(f->path, 0, &client), -EUSERS);
        fake_script(f, HELLO, FAKE_DROP_BEFORE);
        assert_int_equal(pmb_client_connect(f->path, 0, &client), -ECONNRESET);
        fake_script(f, HELLO, FAKE_GARBAGE);
        assert_int_equal(pmb_client_connect(f->path, 0, &client), -EBADMSG);
        fake_script(f, HELLO, FAKE_EMPTY);
        assert_int_equal(pmb_client_connect(f->path, 0, &client), -ECONNRESET);
        assert_ptr_equal(client, (void *)1);

        fake_drop_all(f, /* away= */ true);
        assert_int_equal(pmb_client_connect(f->path, 0, &client), -ENOENT);

        /* Somebody was there once. */
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        strcpy(sa.sun_path, f->path);
        assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
        close(fd);
        assert_int_equal(pmb_client_connect(f->path, 0, &client), -ECONNREFUSED);
}

static void test_environment_names_the_socket(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client;

        assert_int_equal(setenv("PMBROKER_SOCKET", f->path, 1), 0);
        assert_int_equal(pmb_client_connect(NULL, 0, &client), 0);
        assert_int_equal(unsetenv("PMBROKER_SOCKET"), 0);
        assert_ptr_equal(pmb_client_ref(client), client);
        assert_null(pmb_client_unref(client));
        assert_null(pmb_client_unref(client));
        assert_null(pmb_client_ref(NULL));
        assert_null(pmb_client_unref(NULL));
}

/* ------------------------------------------------------------------------------------------------- pools */

static void test_life_of_a_pool(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool_options options = {.size = 32 * MIB - 1, .name = "a-name", .store = "fake"};
        struct pmb_pool_info info;
        struct pmb_pool *pool;
        void *p;

        assert_int_equal(pmb_client_fd(client), -EINVAL);
        assert_int_equal(pmb_client_dispatch(client), -EINVAL);
        assert_int_equal(pmb_pool_create(client, &options, &pool), 0);
        client = pmb_client_unref(client); /* the pool has its own */
        assert_int_equal(pmb_pool_info(pool, &info), 0);
        assert_int_equal(info.size, 32 * MIB);
        assert_int_equal(info.max_size, GIB);
        assert_int_equal(info.page_size, 4096);
        assert_string_equal(info.store, "fake");
        assert_string_equal(info.tenant, "tester");
        assert_string_equal(info.name, "a-name");
        check_units(f, pool);

        p = pmb_malloc(pool, 1000);
        assert_non_null(p);
        memset(p, 1, 1000);
        assert_ptr_equal(pmb_pool_of(p), pool);
        assert_null(pmb_pool_close(pool));
        assert_int_equal(fake_count_pools(f), 0);
        assert_null(pmb_pool_of(p));
}

static void test_options(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool = NULL;
        struct pmb_pool_options bad[] = {
                {.size = 0, .flags = PMB_POOL_RAW},
                {.size = UINT64_MAX},
                {.size = 4 * U, .max_size = 2 * U},
                {.size = U, .max_size = UINT64_MAX},
                {.size = U, .flags = 1u << 31},
                {.size = U, .name = "Capital"},
                {.size = U, .name = "thirty-three-characters-are-too-many"},
                {.size = U, .store = "a-store-with-a-name-that-nobody-would-ever-have-given-it"},
        };

        for (unsigned i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(pmb_pool_create(client, &bad[i], &pool), -EINVAL);
        assert_null(pool);
        assert_int_equal(f->n_requests[CREATE], 0);

        struct pmb_pool_options least = {.size = 1, .max_size = 1};

        assert_int_equal(pmb_pool_create(client, &least, &pool), 0);
        assert_int_equal(pool->max_size, U);
        pmb_pool_close(pool);
        pool = create(client, 256 * MIB);
        assert_int_equal(pool->max_size, 2 * GIB);
        pmb_pool_close(pool);

        /* Eight times that would be more than a pool can have. */
        fake_lock(f);
        f->refusal = (Refusal){.code = RESULT_STORE_FULL};
        fake_unlock(f);
        fake_script(f, CREATE, FAKE_REFUSE);
        pool = NULL;
        assert_int_equal(
                pmb_pool_create(client, &(struct pmb_pool_options){.size = 9 * TIB}, &pool), -ENOSPC);
        assert_in_range(f->asked_max, 9 * TIB, 64 * TIB);
        pmb_client_unref(client);
}

static void test_refusal_has_its_numbers(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        Refusal refusal = {.code = RESULT_QUOTA_BYTES,
                .asked = 64 * MIB,
                .limit = 8 * GIB,
                .used = 8 * GIB,
                .subject = "batch"};
        char sentence[REFUSAL_SENTENCE_MAX], buf[512];
        struct pmb_pool *pool = NULL;

        assert_int_equal(pmb_client_explain(client, buf, sizeof(buf)), 0);
        assert_string_equal(buf, "");
        fake_lock(f);
        f->refusal = refusal;
        fake_unlock(f);
        fake_script(f, CREATE, FAKE_REFUSE);
        assert_int_equal(
                pmb_pool_create(client, &(struct pmb_pool_options){.size = 64 * MIB}, &pool), -EDQUOT);
        assert_null(pool);
        refusal_to_sentence(&refusal, sentence);
        assert_int_equal(pmb_client_explain(client, buf, sizeof(buf)), strlen(sentence));
        assert_string_equal(buf, sentence);
        assert_int_equal(pmb_client_explain(client, NULL, 0), strlen(sentence));

        /* The same for a pool; the last refusal counts. */
        pool = create(client, 4 * U);
        fake_lock(f);
        f->refusal.code = RESULT_STORE_FULL;
        fake_unlock(f);
        fake_script(f, RESIZE, FAKE_REFUSE);
        assert_int_equal(pmb_pool_resize(pool, 64 * MIB), -ENOSPC);
        refusal.code = RESULT_STORE_FULL;
        refusal_to_sentence(&refusal, sentence);
        pmb_pool_explain(pool, buf, sizeof(buf));
        assert_string_equal(buf, sentence);
        assert_null(pmb_malloc(pool, 16 * MIB));
        pmb_pool_explain(pool, buf, sizeof(buf));
        assert_non_null(strstr(buf, "of 8M has 0B in live blocks and no contiguous 16M left"));
        assert_int_equal(pmb_pool_resize(pool, 2 * GIB), -EDQUOT);
        pmb_pool_explain(pool, buf, sizeof(buf));
        assert_non_null(strstr(buf, "1G"));
        assert_non_null(strstr(buf, "2G"));

        /* A failure carries the errno itself. */
        fake_lock(f);
        f->refusal = (Refusal){.code = RESULT_FAILED, .errno_value = ENOMEDIUM};
        fake_unlock(f);
        fake_script(f, RESIZE, FAKE_REFUSE);
        assert_int_equal(pmb_pool_resize(pool, 64 * MIB), -ENOMEDIUM);
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

static void test_resize(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool = create(client, 16 * U);
        struct pmb_pool_stats stats;
        void *low, *high;

        assert_int_equal(pmb_pool_resize(pool, 0), -EINVAL);
        assert_int_equal(pmb_pool_resize(pool, UINT64_MAX), -EINVAL);
        assert_int_equal(pmb_pool_resize(pool, 16 * U), 0);
        assert_int_equal(pmb_pool_resize(pool, 16 * U - 5), 0);

        low = pmb_malloc(pool, 10 * U);
        high = pmb_malloc(pool, 2 * U);
        assert_non_null(low);
        assert_non_null(high);
        assert_null(pmb_malloc(pool, 20 * U));
        assert_int_equal(pmb_pool_resize(pool, 40 * U - 1), 0);
        check_units(f, pool);
        void *p = pmb_malloc(pool, 20 * U);
        assert_non_null(p);
        memset(p, 1, 20 * U);
        pmb_free(pool, p);

        /* Down to what lives, and not below. */
        assert_int_equal(pmb_pool_resize(pool, 12 * U), 0);
        check_units(f, pool);
        assert_int_equal(pmb_pool_resize(pool, 6 * U), -EBUSY);
        check_units(f, pool);
        pmb_free(pool, low);
        assert_int_equal(pmb_pool_resize(pool, 4 * U), 0);
        check_units(f, pool);
        memset(high, 2, 2 * U);

        /* Holes first. */
        assert_int_equal(pmb_pool_resize(pool, 20 * U), 0);
        check_units(f, pool);
        assert_int_equal(pmb_pool_stats(pool, &stats), 0);
        assert_int_equal(stats.given_back, 36 * U);
        pmb_free(pool, high);

        assert_int_equal(pmb_pool_trim(pool, 3 * U - 1), 17 * U);
        check_units(f, pool);
        assert_int_equal(pmb_pool_trim(pool, 3 * U), 0);
        assert_int_equal(pmb_pool_trim(pool, 0), 2 * U);
        assert_int_equal(pool->size, U); /* one stays */
        assert_int_equal(pmb_pool_trim(pool, 0), 0);
        check_units(f, pool);
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

/* More pieces than fit into one request. */
static void test_give_back_in_pieces(void **state)
{
        enum {
                N = 400
        };
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool = create(client, N * U);
        void *blocks[N];

        for (unsigned i = 0; i < N; i++)
                assert_non_null(blocks[i] = pmb_aligned_alloc(pool, U, U));
        for (unsigned i = 0; i < N; i += 2)
                pmb_free(pool, blocks[i]);
        assert_int_equal(pmb_pool_trim(pool, 0), N / 2 * U);
        assert_int_equal(f->n_requests[GIVE_BACK], 2);
        check_units(f, pool);
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

static void test_raw_pool(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool_options options = {.size = 8 * U, .flags = PMB_POOL_RAW};
        struct pmb_pool *pool;
        uint8_t *base;

        assert_int_equal(pmb_pool_create(client, &options, &pool), 0);
        base = pmb_pool_base(pool);
        assert_int_equal((uintptr_t)base % U, 0);
        memset(base, 3, 8 * U);
        assert_null(pmb_malloc(pool, 1));
        assert_int_equal(errno, EINVAL);
        assert_int_equal(pmb_pool_resize(pool, 4 * U), -EINVAL);
        assert_int_equal(pmb_pool_trim(pool, 0), -EINVAL);
        assert_int_equal(pmb_pool_give_back(pool, 7, 2), -EINVAL);
        assert_int_equal(pmb_pool_give_back(pool, 2, 0), -EINVAL);
        assert_int_equal(pmb_pool_give_back(pool, 2, 3), 0);
        assert_int_equal(pmb_pool_give_back(pool, 4, 1), -EINVAL);
        check_units(f, pool);
        assert_int_equal(base[U], 3);
        assert_int_equal(pmb_pool_resize(pool, 9 * U), 0);
        check_units(f, pool);
        assert_int_equal(base[2 * U], 0);
        memset(base, 4, 9 * U);
        pmb_pool_close(pool);

        pool = create(client, U);
        assert_int_equal(pmb_pool_give_back(pool, 0, 1), -EINVAL); /* a heap's */
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

static void test_refused_give_back_changes_nothing(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool = create(client, 8 * U);

        fake_lock(f);
        f->refusal = (Refusal){.code = RESULT_BUSY};
        fake_unlock(f);
        fake_script(f, GIVE_BACK, FAKE_REFUSE);
        assert_int_equal(pmb_pool_resize(pool, 4 * U), -EBUSY);
        check_units(f, pool);
        assert_non_null(pmb_malloc(pool, 8 * U));
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

/* ------------------------------------------------------------------------------------------- bad manners */

static void test_for_the_moment(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool;

        fake_lock(f);
        f->refusal = (Refusal){.code = RESULT_RETRY};
        fake_unlock(f);
        for (int i = 0; i < 5; i++)
                fake_script(f, CREATE, FAKE_REFUSE);
        pool = create(client, 8 * U);
        assert_int_equal(f->n_requests[CREATE], 6);

        client->connection.timeout_usec = USEC_PER_SEC;
        for (int i = 0; i < 50; i++)
                fake_script(f, RESIZE, FAKE_REFUSE);
        assert_int_equal(pmb_pool_resize(pool, 16 * U), -EAGAIN);
        assert_true(f->n_requests[RESIZE] >= 4);
        assert_true(f->n_requests[RESIZE] < 16);
        fake_lock(f);
        f->n_script = 0;
        fake_unlock(f);
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

/* Done by a daemon that could not say so, and the next one asks for patience before it knows that: the same request
 * again, not another one. */
static void test_once_in_spite_of_patience(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool;

        fake_lock(f);
        f->refusal = (Refusal){.code = RESULT_RETRY};
        fake_unlock(f);
        fake_script(f, CREATE, FAKE_DROP_AFTER);
        fake_script(f, CREATE, FAKE_REFUSE);
        fake_script(f, CREATE, FAKE_REFUSE);
        pool = create(client, 8 * U);
        assert_int_equal(fake_count_pools(f), 1);
        pmb_pool_close(pool);
        assert_int_equal(fake_count_pools(f), 0);
        pmb_client_unref(client);
}

static void test_asides_are_ignored(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool;

        for (int i = 0; i < 20; i++)
                fake_script(f, 0, FAKE_ASIDE);
        pool = create(client, 8 * U);
        assert_int_equal(pmb_pool_resize(pool, 10 * U), 0);
        assert_int_equal(pmb_pool_trim(pool, 0), 9 * U);
        check_units(f, pool);
        pmb_pool_close(pool);
        assert_int_equal(f->n_connects, 1);
        pmb_client_unref(client);
}

static void test_garbage(void **state)
{
        static const FakeAction kinds[] = {FAKE_GARBAGE, FAKE_EMPTY};
        FakeDaemon *f = *state;

        for (unsigned i = 0; i < ELEMENTSOF(kinds); i++) {
                struct pmb_client *client = connect_to(f, 0);
                struct pmb_pool *pool;

                /* Once is forgiven: connect again, ask again. */
                fake_script(f, CREATE, kinds[i]);
                pool = create(client, 8 * U);
                fake_script(f, RESIZE, kinds[i]);
                assert_int_equal(pmb_pool_resize(pool, 10 * U), 0);
                fake_script(f, GIVE_BACK, kinds[i]);
                assert_int_equal(pmb_pool_resize(pool, 5 * U), 0);
                check_units(f, pool);
                pmb_pool_close(pool);
                WAIT_FOR(fake_count_pools(f) == 0);
                pmb_client_unref(client);
        }

        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool = create(client, 8 * U);

        fake_script(f, RESIZE, FAKE_GARBAGE);
        fake_script(f, RESIZE, FAKE_GARBAGE);
        assert_int_equal(pmb_pool_resize(pool, 10 * U), -EBADMSG);
        fake_script(f, RESIZE, FAKE_WRONG_ANSWER);
        assert_int_equal(pmb_pool_resize(pool, 10 * U), -EPROTO);
        fake_script(f, CREATE, FAKE_WRONG_ANSWER);
        assert_int_equal(
                pmb_pool_create(client, &(struct pmb_pool_options){.size = U}, &(struct pmb_pool *){NULL}),
                -EPROTO);
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

static void test_no_answer(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool = create(client, 8 * U), *other = NULL;
        struct pmb_pool_options options = {.size = 4 * U};
        uint64_t before = now_usec();

        client->connection.timeout_usec = 400000;
        fake_script(f, RESIZE, FAKE_SILENT);
        assert_int_equal(pmb_pool_resize(pool, 10 * U), -ETIMEDOUT);
        assert_true(now_usec() - before < 5 * USEC_PER_SEC);
        /* It was done all the same, and asking again finds that out. */
        assert_int_equal(pmb_pool_resize(pool, 10 * U), 0);
        check_units(f, pool);

        /*
         * Units that were perhaps given back are not used until that is known, and then they are accounted
         * for.
         */
        fake_script(f, GIVE_BACK, FAKE_SILENT);
        assert_int_equal(pmb_pool_resize(pool, 6 * U), -ETIMEDOUT);
        fake_lock(f);
        f->in_flux = 1000;
        fake_unlock(f);
        assert_int_equal(pmb_pool_resize(pool, 6 * U), -EAGAIN);
        assert_int_equal(pool->arena.units.n_giving, 4);
        assert_int_equal(pool->arena.units.n_backed, 6);
        assert_null(pmb_malloc(pool, 8 * U));
        fake_lock(f);
        f->in_flux = 3;
        fake_unlock(f);
        assert_int_equal(pmb_pool_resize(pool, 6 * U), 0);
        check_units(f, pool);

        /* An answer that was not heard is an answer all the same. */
        fake_script(f, GIVE_BACK, FAKE_SILENT);
        assert_int_equal(pmb_pool_trim(pool, 4 * U), -ETIMEDOUT);
        assert_int_equal(pmb_pool_trim(pool, 4 * U), 0);
        check_units(f, pool);

        /* A pool that comes too late is not wanted any more. */
        fake_script(f, CREATE, FAKE_LATE);
        assert_int_equal(pmb_pool_create(client, &options, &other), -ETIMEDOUT);
        assert_int_equal(fake_count_pools(f), 2);
        fake_answer_late(f);
        WAIT_FOR(fake_count_pools(f) == 1);

        /* Nor is one without memory. */
        fake_script(f, CREATE, FAKE_WITHOUT_FD);
        other = create(client, 4 * U);
        assert_int_equal(fake_count_pools(f), 2);
        pmb_pool_close(other);
        for (int i = 0; i < 10; i++)
                fake_script(f, CREATE, FAKE_WITHOUT_FD);
        assert_int_equal(pmb_pool_create(client, &options, &other), -EPROTO);
        WAIT_FOR(fake_count_pools(f) == 1);
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

/* ------------------------------------------------------------------------------------------- disconnects */

static void test_hung_up_in_a_request(void **state)
{
        static const FakeAction how[] = {FAKE_DROP_BEFORE, FAKE_DROP_AFTER};
        FakeDaemon *f = *state;

        for (unsigned i = 0; i < ELEMENTSOF(how); i++) {
                struct pmb_client *client = connect_to(f, 0);
                struct pmb_pool *pool;

                fake_script(f, CREATE, how[i]);
                pool = create(client, 8 * U);
                assert_int_equal(fake_count_pools(f), 1); /* no second one */
                check_units(f, pool);
                fake_script(f, RESIZE, how[i]);
                assert_int_equal(pmb_pool_resize(pool, 12 * U), 0);
                check_units(f, pool);
                fake_script(f, GIVE_BACK, how[i]);
                assert_int_equal(pmb_pool_resize(pool, 4 * U), 0);
                check_units(f, pool);
                fake_script(f, GIVE_BACK, how[i]);
                fake_script(f, GIVE_BACK, how[1 - i]);
                assert_int_equal(pmb_pool_trim(pool, 0), 3 * U);
                check_units(f, pool);
                fake_script(f, DESTROY, how[i]);
                pmb_pool_close(pool);
                if (how[i] == FAKE_DROP_AFTER)
                        WAIT_FOR(fake_count_pools(f) == 0);
                pmb_client_unref(client);
                fake_lock(f);
                while (f->n_pools > 0)
                        fake_remove(f, &f->pools[0]);
                fake_unlock(f);
        }
}

static void test_restart_while_idle(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pools[8];
        Told told = {};
        char *p;

        pmb_client_set_handler(client, on_told, &told);
        for (unsigned i = 0; i < ELEMENTSOF(pools); i++)
                pools[i] = create(client, (2 + i) * U);
        p = pmb_malloc(pools[0], 100);
        strcpy(p, "still here");

        fake_drop_all(f, /* away= */ true);
        (void)usleep(20000);
        assert_non_null(pmb_malloc(pools[1], 100)); /* life goes on */

        /* Meanwhile one grew, and one was taken away. */
        fake_lock(f);
        fake_grow(fake_find(f, pools[3]->id), 5);
        fake_remove(f, fake_find(f, pools[5]->id));
        fake_unlock(f);
        fake_listen(f);
        WAIT_FOR(told.n[PMB_EVENT_RECONNECTED] == 1 && told.n[PMB_EVENT_REVOKED] == 1 &&
                 told.n[PMB_EVENT_RESIZED] == 1);

        assert_string_equal(p, "still here");
        for (unsigned i = 0; i < ELEMENTSOF(pools); i++) {
                if (i == 5) {
                        errno = 0;
                        assert_null(pmb_malloc(pools[i], 1));
                        assert_int_equal(errno, ESTALE);
                        assert_int_equal(pmb_pool_resize(pools[i], U), -ESTALE);
                } else {
                        check_units(f, pools[i]);
                        assert_int_equal(pmb_pool_resize(pools[i], 20 * U), 0);
                        check_units(f, pools[i]);
                }
                pmb_pool_close(pools[i]);
        }
        assert_int_equal(fake_count_pools(f), 0);
        assert_int_equal(told.n[PMB_EVENT_REVOKED], 1);
        pmb_client_unref(client);
}

static void test_daemon_stays_away(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool = create(client, 8 * U), *other = create(client, 4 * U);
        uint64_t before;

        client->connection.timeout_usec = 100000;
        fake_drop_all(f, /* away= */ true);
        before = now_usec();
        assert_int_equal(pmb_pool_resize(pool, 16 * U), -ENOTCONN);
        assert_true(now_usec() - before >= 100000);
        assert_int_equal(
                pmb_pool_create(client, &(struct pmb_pool_options){.size = U}, &(struct pmb_pool *){NULL}),
                -ENOTCONN);
        /* Closing does not wait; the daemon is told when it is back. */
        client->connection.timeout_usec = CALL_TIMEOUT_USEC;
        before = now_usec();
        pmb_pool_close(other);
        assert_true(now_usec() - before < 2 * USEC_PER_SEC);
        assert_int_equal(fake_count_pools(f), 2);
        fake_listen(f);
        WAIT_FOR(fake_count_pools(f) == 1);
        pmb_pool_close(pool);
        assert_int_equal(fake_count_pools(f), 0);
        pmb_client_unref(client);
}

/* A resume that is refused for the moment is no reason to believe that all pools are gone. */
static void test_resume_refused(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool = create(client, 8 * U);

        fake_lock(f);
        f->refusal = (Refusal){.code = RESULT_RETRY};
        fake_unlock(f);
        for (int i = 0; i < 3; i++)
                fake_script(f, RESUME, FAKE_REFUSE);
        fake_script(f, RESUME, FAKE_DROP_BEFORE);
        fake_script(f, RESUME, FAKE_GARBAGE);
        fake_script(f, HELLO, FAKE_DROP_AFTER);
        fake_drop_all(f, /* away= */ false);
        assert_int_equal(pmb_pool_resize(pool, 10 * U), 0);
        check_units(f, pool);
        assert_non_null(pmb_malloc(pool, 10 * U));
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

/* ------------------------------------------------------------------------------------------------ events */

static void test_events(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool = create(client, 8 * U), *other = create(client, 8 * U);
        Told told = {};
        void *p;

        pmb_client_set_handler(client, on_told, &told);
        fake_grow_pool(f, pool->id, 8);
        WAIT_FOR(told.n[PMB_EVENT_RESIZED] == 1);
        assert_int_equal(told.size, 16 * U);
        check_units(f, pool);
        p = pmb_malloc(pool, 12 * U);
        assert_non_null(p);

        /* As far as it goes; again when more is free. */
        fake_reclaim(f, pool->id, 4 * U);
        WAIT_FOR(told.n[PMB_EVENT_RECLAIM] == 1);
        assert_in_range(pool->size, 12 * U, 13 * U);
        check_units(f, pool);
        pmb_free(pool, p);
        fake_reclaim(f, pool->id, 4 * U);
        WAIT_FOR(told.n[PMB_EVENT_RECLAIM] == 2);
        assert_int_equal(pool->size, 4 * U);
        check_units(f, pool);

        fake_reclaim(f, 4711, U); /* nobody's */
        fake_announce(f, 4711, 1);
        fake_announce(f, pool->id, 30000000);
        WAIT_FOR(told.n[PMB_EVENT_REVOKING] == 1);
        assert_int_equal(told.target, 30000000);
        p = pmb_malloc(pool, 1); /* until then it is as it was */
        assert_non_null(p);
        fake_revoke(f, pool->id);
        WAIT_FOR(told.n[PMB_EVENT_REVOKED] == 1);
        errno = 0;
        assert_null(pmb_malloc(pool, 1));
        assert_int_equal(errno, ESTALE);
        pmb_client_set_handler(client, NULL, NULL);
        assert_non_null(pmb_malloc(other, 1));
        pmb_pool_close(pool);
        pmb_pool_close(other);
        pmb_client_unref(client);
}

static int readable(int fd, int timeout_ms)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};

        return poll(&p, 1, timeout_ms);
}

static void dispatch_until(struct pmb_client *client, atomic_uint *n, unsigned want)
{
        while (*n < want) {
                assert_int_equal(readable(pmb_client_fd(client), 5000), 1);
                assert_true(pmb_client_dispatch(client) >= 0);
        }
}

static void test_without_a_thread(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, PMB_CLIENT_NO_THREAD);
        struct pmb_pool *pool = create(client, 8 * U);
        int fd = pmb_client_fd(client);
        Told told = {};

        assert_false(client->has_thread);
        assert_true(fd >= 0);
        pmb_client_set_handler(client, on_told, &told);
        while (readable(fd, 0) > 0)
                assert_int_equal(pmb_client_dispatch(client), 0);

        fake_grow_pool(f, pool->id, 2);
        assert_int_equal(readable(fd, 5000), 1);
        assert_int_equal(told.n[PMB_EVENT_RESIZED], 0);
        assert_int_equal(pmb_client_dispatch(client), 1);
        assert_int_equal(told.n[PMB_EVENT_RESIZED], 1);
        assert_int_equal(readable(fd, 0), 0);
        check_units(f, pool);

        /* What comes while a request reads is told later, but counts at once. */
        fake_grow_pool(f, pool->id, 2);
        assert_int_equal(pmb_pool_resize(pool, 15 * U), 0);
        check_units(f, pool);
        assert_int_equal(told.n[PMB_EVENT_RESIZED], 1);
        assert_int_equal(readable(fd, 5000), 1);
        dispatch_until(client, &told.n[PMB_EVENT_RESIZED], 2);

        fake_reclaim(f, pool->id, 3 * U);
        dispatch_until(client, &told.n[PMB_EVENT_RECLAIM], 1);
        assert_int_equal(pool->size, 3 * U);
        check_units(f, pool);

        fake_drop_all(f, /* away= */ true);
        assert_int_equal(readable(fd, 5000), 1);
        for (int i = 0; i < 5; i++) {
                assert_int_equal(pmb_client_dispatch(client), 0);
                assert_int_equal(readable(fd, 5000), 1); /* the next attempt */
        }
        fake_listen(f);
        dispatch_until(client, &told.n[PMB_EVENT_RECONNECTED], 1);
        assert_int_equal(pmb_client_fd(client), fd);
        check_units(f, pool);
        while (readable(fd, 0) > 0)
                assert_int_equal(pmb_client_dispatch(client), 0);
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

/* The last reference is given up while the library's thread is busy: it ends by itself. */
static void on_slow(const struct pmb_event *event, void *userdata)
{
        (void)event;
        atomic_fetch_add((atomic_uint *)userdata, 1);
        (void)usleep(50000);
}

static void test_closed_during_an_event(void **state)
{
        FakeDaemon *f = *state;

        for (int i = 0; i < 5; i++) {
                struct pmb_client *client = connect_to(f, 0);
                struct pmb_pool *pool = create(client, 8 * U), *other = create(client, 8 * U);
                static atomic_uint n;

                atomic_store(&n, 0);
                pmb_client_set_handler(client, on_slow, &n);
                fake_grow_pool(f, pool->id, 1);
                WAIT_FOR(n == 1);
                if (i % 2)
                        pmb_pool_close(pool); /* waits */
                pmb_pool_close(other);
                if (i % 2 == 0)
                        pmb_pool_close(pool);
                pmb_client_unref(client);
                assert_int_equal(fake_count_pools(f), 0);
        }
        /* Nothing but the connection was made again: the threads are gone. */
        WAIT_FOR(({
                bool none = true;
                fake_lock(f);
                for (int k = 0; k < FAKE_SESSIONS; k++)
                        none = none && f->sessions[k] < 0;
                fake_unlock(f);
                none;
        }));
}

/* ----------------------------------------------------------------------------------------------- threads */

typedef struct Crowd {
        FakeDaemon *fake;
        struct pmb_client *client;
        unsigned n;
        atomic_uint wrong;
} Crowd;

static void *member(void *userdata)
{
        Crowd *crowd = userdata;
        uint32_t seed = (uint32_t)(uintptr_t)&seed | 1;

        for (unsigned i = 0; i < crowd->n; i++) {
                struct pmb_pool *pool;
                uint64_t size = 0;
                void *p = NULL;

                if (pmb_pool_create(crowd->client, &(struct pmb_pool_options){.size = 4 * U}, &pool) < 0) {
                        atomic_fetch_add(&crowd->wrong, 1);
                        continue;
                }
                for (int k = 0; k < 6; k++) {
                        seed = seed * 1103515245 + 12345;
                        size = (1 + (seed >> 16) % 20) * U;
                        if (k % 2 == 0)
                                p = pmb_malloc(pool, 100000);
                        else
                                pmb_free(pool, p);
                        int r = pmb_pool_resize(pool, size);

                        if (r < 0 && r != -EBUSY)
                                atomic_fetch_add(&crowd->wrong, 1);
                        if (r == 0 && pool->size != size)
                                atomic_fetch_add(&crowd->wrong, 1);
                }
                check_units(crowd->fake, pool);
                pmb_pool_close(pool);
        }
        return NULL;
}

static void run_crowd(FakeDaemon *f, uint32_t chaos, unsigned n)
{
        Crowd crowd = {.fake = f, .client = connect_to(f, 0), .n = n};
        pthread_t threads[8];

        fake_lock(f);
        f->chaos = chaos;
        fake_unlock(f);
        for (unsigned i = 0; i < ELEMENTSOF(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, member, &crowd), 0);
        for (unsigned i = 0; i < ELEMENTSOF(threads); i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        fake_lock(f);
        f->chaos = 0;
        fake_unlock(f);
        assert_int_equal(crowd.wrong, 0);
        /* What could not be destroyed in the turmoil goes later. */
        struct pmb_pool *last = create(crowd.client, U);

        WAIT_FOR(fake_count_pools(f) == 1);
        pmb_pool_close(last);
        pmb_client_unref(crowd.client);
}

static void test_many_threads(void **state)
{
        run_crowd(*state, 0, 20);
}

static void test_many_threads_and_disconnects(void **state)
{
        run_crowd(*state, 15, 4);
}

/* ------------------------------------------------------------------------------------------------- model */

/* An answer has all events before it; this waits until the library's thread has seen to them. */
static bool is_quiet(struct pmb_client *client, struct pmb_pool *pool)
{
        bool quiet;

        connection_lock(&client->connection);
        quiet = pool->todo == 0 && pool->pins == 0 && !client->reconnected;
        connection_unlock(&client->connection);
        return quiet;
}

static bool is_heard(FakeDaemon *f, struct pmb_pool *pool)
{
        bool heard;

        fake_lock(f);
        heard = pool->size == fake_find(f, pool->id)->n_backed * U;
        fake_unlock(f);
        return heard;
}

/* A gift is not answered, and an administrator lets the pool grow by as much: the size is what it was. Only the count
 * tells whether the gift was taken. */
static void test_gift_and_growth_look_alike(void **state)
{
        for (int taken = 0; taken < 2; taken++) {
                FakeDaemon *f = *state;
                struct pmb_client *client = connect_to(f, PMB_CLIENT_NO_THREAD);
                struct pmb_pool *pool;

                assert_int_equal(
                        pmb_pool_create(client,
                                &(struct pmb_pool_options){.size = 8 * U, .flags = PMB_POOL_RAW}, &pool),
                        0);
                assert_int_equal(pmb_pool_give_back(pool, 2, 3), 0);
                fake_script(f, GIVE_BACK, taken ? FAKE_DROP_AFTER : FAKE_DROP_BEFORE);
                fake_lock(f);
                f->grow_after_drop = taken ? 3 : 0;
                fake_unlock(f);
                assert_int_equal(pmb_pool_give_back(pool, 5, 3), 0);
                assert_int_equal(f->n_not_backed, 0);
                assert_int_equal(pool->size, (taken ? 5 : 2) * U);
                assert_int_equal(fake_find(f, pool->id)->n_backed, taken ? 5 : 2);
                pmb_pool_close(pool);
                pmb_client_unref(client);
        }
}

/* What a pool becomes by its own request is no news, even if the answer was lost. */
static void test_lost_growth_is_no_event(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool = create(client, 8 * U);
        Told told = {};

        pmb_client_set_handler(client, on_told, &told);
        fake_script(f, RESIZE, FAKE_DROP_AFTER);
        assert_int_equal(pmb_pool_resize(pool, 12 * U), 0);
        WAIT_FOR(told.n[PMB_EVENT_RECONNECTED] == 1);
        check_units(f, pool);
        fake_grow_pool(f, pool->id, 1);
        WAIT_FOR(pool->size == 13 * U && told.n[PMB_EVENT_RESIZED] > 0);
        assert_int_equal(told.n[PMB_EVENT_RESIZED], 1);
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

static void set_chaos(FakeDaemon *f, uint32_t chaos)
{
        fake_lock(f);
        f->chaos = chaos;
        fake_unlock(f);
}

/*
 * Whatever the order of growing, giving back, being grown, being asked, and losing the connection: one
 * truth.
 */
static void test_units_stay_in_step(void **state)
{
        FakeDaemon *f = *state;
        struct pmb_client *client = connect_to(f, 0);
        struct pmb_pool *pool = create(client, 8 * U);
        void *blocks[64] = {};
        uint32_t seed = 42;

        set_chaos(f, 12);
        for (int step = 0; step < 300; step++) {
                seed = seed * 1103515245 + 12345;
                uint32_t dice = seed >> 16, k = dice / 16 % ELEMENTSOF(blocks);

                switch (dice % 8) {
                case 0:
                        (void)pmb_pool_resize(pool, (1 + dice / 8 % 60) * U);
                        break;
                case 1:
                        (void)pmb_pool_trim(pool, dice / 8 % 8 * U);
                        break;
                case 2:
                        /*
                         * Not while an answer to a gift may be lost: a growth that nobody has heard of yet
                         * and a gift that nobody knows to be taken can look alike.
                         */
                        set_chaos(f, 0);
                        if (pool->size < 100 * U) {
                                WAIT_FOR(pmb_pool_resize(pool, pool->size + U) == 0 &&
                                         is_quiet(client, pool));
                                fake_grow_pool(f, pool->id, 1 + dice / 8 % 5);
                                WAIT_FOR(is_heard(f, pool));
                        }
                        set_chaos(f, 12);
                        break;
                case 3:
                        fake_reclaim(f, pool->id, (1 + dice / 8 % 40) * U);
                        break;
                default:
                        pmb_free(pool, blocks[k]);
                        blocks[k] = pmb_malloc(pool, (dice * 977) % (4 * U));
                        if (blocks[k])
                                *(volatile uint8_t *)blocks[k] = 1;
                        break;
                }
                if (step % 20 == 19) {
                        /* In quiet both have heard everything. */
                        set_chaos(f, 0);
                        WAIT_FOR(pmb_pool_resize(pool, 128 * U) == 0 && is_quiet(client, pool));
                        check_units(f, pool);
                        assert_true(pmb_pool_trim(pool, 0) >= 0);
                        check_units(f, pool);
                        set_chaos(f, 12);
                }
        }
        set_chaos(f, 0);
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_connect_errors),
                TEST(test_environment_names_the_socket),
                TEST(test_life_of_a_pool),
                TEST(test_options),
                TEST(test_refusal_has_its_numbers),
                TEST(test_resize),
                TEST(test_give_back_in_pieces),
                TEST(test_raw_pool),
                TEST(test_refused_give_back_changes_nothing),
                TEST(test_for_the_moment),
                TEST(test_once_in_spite_of_patience),
                TEST(test_asides_are_ignored),
                TEST(test_garbage),
                TEST(test_no_answer),
                TEST(test_hung_up_in_a_request),
                TEST(test_restart_while_idle),
                TEST(test_daemon_stays_away),
                TEST(test_resume_refused),
                TEST(test_events),
                TEST(test_without_a_thread),
                TEST(test_closed_during_an_event),
                TEST(test_many_threads),
                TEST(test_many_threads_and_disconnects),
                TEST(test_gift_and_growth_look_alike),
                TEST(test_lost_growth_is_no_event),
                TEST(test_units_stay_in_step),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
