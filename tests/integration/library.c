/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library at work, for test_library.py. The daemon is that of $PMBROKER_SOCKET.
 *
 *     library life     fill, trim, resize and close a pool, and be refused what is too much
 *     library grow     a pool without a size, until the quota is used up and beyond
 *     library churn    allocate, free, grow and shrink from several threads until standard input ends; the
 *                      daemon may come and go
 *     library hold     keep a pool; each line on standard input is answered by one on standard output
 *     library events [poll] [raw]
 *                      keep a pool and print what is told about it, until standard input ends; with a loop of
 *                      its own; with a raw pool, of which it gives back what is wanted
 *     library touch [STORE]
 *                      keep a raw pool and print that it is damaged, and at which offset; each offset on standard input is
 *                      touched, which is answered by "well" or "fault POOL OFFSET"
 *
 * Ends with 0, or with 1 and a line that says what was not as it should be.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pmbroker.h>

#include "expect.h"

#define MIB (UINT64_C(1) << 20)

static struct pmb_client *client;
static struct pmb_pool *pool;
static atomic_uint n_told[8];

static void on_event(const struct pmb_event *event, void *userdata)
{
        (void)userdata;
        atomic_fetch_add(&n_told[event->type], 1);
}

static void open_pool(uint64_t size, uint64_t max_size)
{
        struct pmb_pool_options options = {.size = size, .max_size = max_size, .name = "library"};

        EXPECT(pmb_client_connect(NULL, 0, &client) == 0);
        pmb_client_set_handler(client, on_event, NULL);
        EXPECT(pmb_pool_create(client, &options, &pool) == 0);
}

static void close_pool(void)
{
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

static uint64_t size_of_pool(void)
{
        struct pmb_pool_info info;

        EXPECT(pmb_pool_info(pool, &info) == 0);
        return info.size;
}

/* Take all there is in blocks of one size, touch every page of it, and free it. Returns the bytes. */
static uint64_t fill(size_t size)
{
        void *list = NULL, **p;
        uint64_t n = 0;

        while ((p = pmb_malloc(pool, size))) {
                memset(p, 0x5a, size);
                *p = list;
                list = p;
                n += size;
        }
        EXPECT(errno == ENOMEM);
        while ((p = list)) {
                list = *p;
                pmb_free(NULL, p);
        }
        return n;
}

static int life(void)
{
        struct pmb_pool *other;
        char why[512];

        open_pool(32 * MIB, 128 * MIB);
        EXPECT(fill(4096) == 32 * MIB);
        EXPECT(fill(MIB) == 32 * MIB);
        EXPECT(pmb_pool_explain(pool, why, sizeof(why)) > 0);
        EXPECT(strstr(why, " of 32M has 32M in live blocks"));

        EXPECT(pmb_pool_resize(pool, 48 * MIB) == 0);
        EXPECT(fill(64) == 48 * MIB);
        EXPECT(pmb_pool_resize(pool, 8 * MIB) == 0);
        EXPECT(size_of_pool() == 8 * MIB);
        EXPECT(fill(4096) == 8 * MIB);
        EXPECT(pmb_pool_trim(pool, 0) == (int64_t)(6 * MIB));
        EXPECT(pmb_pool_resize(pool, 32 * MIB) == 0);
        EXPECT(fill(2 * MIB) == 32 * MIB);

        /* Above the pool's own limit, and above the tenant's. */
        EXPECT(pmb_pool_resize(pool, 130 * MIB) == -EDQUOT);
        EXPECT(pmb_pool_explain(pool, why, sizeof(why)) > 0 && strstr(why, "128M"));
        EXPECT(pmb_pool_create(client, &(struct pmb_pool_options){.size = 4096 * MIB}, &other) == -EDQUOT);
        EXPECT(pmb_client_explain(client, why, sizeof(why)) > 0 && strstr(why, "4G"));

        /* The quota is free again as soon as closing returns. */
        for (int i = 0; i < 20; i++) {
                pmb_pool_close(pool);
                EXPECT(pmb_pool_create(client, &(struct pmb_pool_options){.size = 40 * MIB}, &pool) == 0);
        }
        close_pool();
        return 0;
}

/* ------------------------------------------------------------------------------------------------- grow */

static int grow(void)
{
        struct pmb_pool_info info;
        struct pmb_pool *other;
        char why[512];

        open_pool(0, 0);
        EXPECT(size_of_pool() == 8 * MIB);
        EXPECT(pmb_pool_info(pool, &info) == 0 && info.max_size == 64 * MIB);
        EXPECT(fill(4096) == 64 * MIB);
        EXPECT(size_of_pool() == 64 * MIB);
        EXPECT(fill(64 * MIB) == 64 * MIB);
        EXPECT(pmb_pool_trim(pool, 0) == (int64_t)(62 * MIB));
        EXPECT(fill(MIB) == 64 * MIB);

        /* What somebody else of the tenant has is not there to grow into. */
        EXPECT(pmb_pool_trim(pool, 0) == (int64_t)(62 * MIB));
        EXPECT(pmb_pool_create(client, &(struct pmb_pool_options){.size = 40 * MIB}, &other) == 0);
        EXPECT(fill(4096) == 24 * MIB);
        EXPECT(pmb_pool_explain(pool, why, sizeof(why)) > 0);
        EXPECT(strstr(why, " of 24M ") && strstr(why, "did not") && strstr(why, "64M of 64M"));
        pmb_pool_close(other);
        (void)usleep(500000);
        EXPECT(fill(4096) == 64 * MIB);
        close_pool();
        return 0;
}

/* ------------------------------------------------------------------------------------------------- churn */

static atomic_bool stop;

/* Blocks of a thread carry its number; what calloc gives is zero. */
static void *churn_blocks(void *userdata)
{
        uint32_t seed = (uint32_t)(uintptr_t)userdata * 77 + 1;
        struct {
                unsigned char *p;
                size_t size;
        } blocks[64] = {};

        while (!atomic_load(&stop)) {
                seed = seed * 1103515245 + 12345;
                size_t i = (seed >> 16) % 64, size = 1 + (seed >> 8) % (1u << (seed >> 3) % 21);
                unsigned char mark = (unsigned char)((uintptr_t)userdata * 64 + i), *p = blocks[i].p;

                if (p) {
                        for (size_t k = 0; k < blocks[i].size; k += 512)
                                EXPECT(p[k] == mark);
                        pmb_free(pool, p);
                        blocks[i].p = NULL;
                        continue;
                }
                p = seed & 4 ? pmb_calloc(pool, 1, size) : pmb_malloc(pool, size);
                EXPECT(p || errno == ENOMEM);
                if (!p)
                        continue;
                for (size_t k = 0; seed & 4 && k < size; k += 64)
                        EXPECT(p[k] == 0);
                memset(p, mark, size);
                blocks[i].p = p;
                blocks[i].size = size;
        }
        for (size_t i = 0; i < 64; i++)
                pmb_free(pool, blocks[i].p);
        return NULL;
}

static void *churn_size(void *userdata)
{
        uint32_t seed = 5;

        while (!atomic_load(&stop)) {
                seed = seed * 1103515245 + 12345;
                if (seed & 0x1000) {
                        int r = pmb_pool_resize(pool, (2 + (seed >> 16) % 60) * MIB);

                        EXPECT(r == 0 || r == -EBUSY);
                } else
                        EXPECT(pmb_pool_trim(pool, 0) >= 0);
                (void)usleep(2000);
        }
        return userdata;
}

static int churn(void)
{
        void *(*const roles[])(void *) = {churn_blocks, churn_blocks, churn_size};
        pthread_t threads[3];
        char byte;

        open_pool(32 * MIB, 128 * MIB);
        for (uintptr_t i = 0; i < 3; i++)
                EXPECT(pthread_create(&threads[i], NULL, roles[i], (void *)i) == 0);
        while (read(0, &byte, 1) > 0)
                ;
        atomic_store(&stop, true);
        for (unsigned i = 0; i < 3; i++)
                EXPECT(pthread_join(threads[i], NULL) == 0);

        /* Every unit that is paid for can be used, to the last page. */
        EXPECT(pmb_pool_resize(pool, 60 * MIB) == 0);
        EXPECT(fill(4096) == 60 * MIB);
        EXPECT(pmb_pool_resize(pool, 4 * MIB) == 0);
        printf("reconnected %u\n", atomic_load(&n_told[PMB_EVENT_RECONNECTED]));
        close_pool();
        return 0;
}

/* -------------------------------------------------------------------------------------------------- hold */

static int hold(void)
{
        unsigned char *block;
        char line[64];

        open_pool(32 * MIB, 128 * MIB);
        block = pmb_malloc(pool, 10 * MIB);
        EXPECT(block);
        memset(block, 7, 10 * MIB);
        (void)setvbuf(stdout, NULL, _IOLBF, 0);
        puts("ready");
        while (fgets(line, sizeof(line), stdin)) {
                struct pmb_pool_info info;
                int r = pmb_pool_info(pool, &info);

                /* A pool that was revoked has no memory to look at. */
                for (size_t i = 0; r == 0 && i < 10 * MIB; i += 4096)
                        EXPECT(block[i] == 7);
                printf("%s %u %u %u %u\n", r == 0 ? "alive" : "revoked", (unsigned)(info.size / MIB),
                        atomic_load(&n_told[PMB_EVENT_RESIZED]), atomic_load(&n_told[PMB_EVENT_RECLAIM]),
                        atomic_load(&n_told[PMB_EVENT_REVOKED]));
        }
        close_pool();
        return 0;
}

/* ------------------------------------------------------------------------------------------------ events */

static void print_event(const struct pmb_event *event, void *userdata)
{
        static const char *const names[] = {
                [PMB_EVENT_RESIZED] = "resized",
                [PMB_EVENT_RECLAIM] = "reclaim",
                [PMB_EVENT_REVOKED] = "revoked",
                [PMB_EVENT_RECONNECTED] = "reconnected",
                [PMB_EVENT_CLOSING] = "closing",
                [PMB_EVENT_REVOKING] = "revoking",
                [PMB_EVENT_DAMAGED] = "damaged",
        };
        bool raw = *(bool *)userdata;

        EXPECT(!event->pool == (event->type == PMB_EVENT_RECONNECTED || event->type == PMB_EVENT_CLOSING));
        EXPECT(!event->pool || event->pool == pool);
        printf("%s %u %u\n", names[event->type], (unsigned)(event->size / MIB),
                (unsigned)(event->target / MIB));
        if (raw && event->type == PMB_EVENT_RECLAIM && event->size > event->target)
                EXPECT(pmb_pool_give_back(pool, (uint32_t)(event->target / PMB_UNIT),
                               (uint32_t)((event->size - event->target) / PMB_UNIT)) == 0);
}

static int events(bool poll_ourselves, bool raw)
{
        struct pmb_pool_options options = {
                .size = 32 * MIB, .max_size = 128 * MIB, .name = "events", .flags = raw ? PMB_POOL_RAW : 0};
        char byte;

        (void)setvbuf(stdout, NULL, _IOLBF, 0);
        EXPECT(pmb_client_connect(NULL, poll_ourselves ? PMB_CLIENT_NO_THREAD : 0, &client) == 0);
        pmb_client_set_handler(client, print_event, &raw);
        EXPECT(pmb_pool_create(client, &options, &pool) == 0);
        EXPECT(raw || pmb_malloc(pool, 10 * MIB));
        puts("ready");
        if (!poll_ourselves) {
                while (read(0, &byte, 1) > 0)
                        ;
        } else {
                struct pollfd p[] = {
                        {.fd = 0, .events = POLLIN}, {.fd = pmb_client_fd(client), .events = POLLIN}};

                for (;;) {
                        EXPECT(poll(p, 2, -1) > 0);
                        if (p[0].revents)
                                break;
                        EXPECT(pmb_client_dispatch(client) >= 0);
                }
        }
        close_pool();
        return 0;
}

/* ------------------------------------------------------------------------------------------------- touch */

static sigjmp_buf fault_out;
static struct pmb_fault fault_told;

static int on_fault(const struct pmb_fault *fault, void *userdata)
{
        (void)userdata;
        fault_told = *fault;
        siglongjmp(fault_out, 1);
}

static void print_damage(const struct pmb_event *event, void *userdata)
{
        (void)userdata;
        if (event->type == PMB_EVENT_DAMAGED)
                printf("damaged %" PRIu64 "\n", event->target);
}

static int touch(const char *store)
{
        struct pmb_pool_options options = {
                .size = 32 * MIB, .store = store, .name = "touch", .flags = PMB_POOL_RAW};
        char line[64];

        (void)setvbuf(stdout, NULL, _IOLBF, 0);
        EXPECT(pmb_set_fault_handler(on_fault, NULL) == 0);
        EXPECT(pmb_client_connect(NULL, 0, &client) == 0);
        pmb_client_set_handler(client, print_damage, NULL);
        EXPECT(pmb_pool_create(client, &options, &pool) == 0);
        puts("ready");
        while (fgets(line, sizeof(line), stdin)) {
                volatile char *p = (char *)pmb_pool_base(pool) + strtoull(line, NULL, 10);

                if (sigsetjmp(fault_out, 1) == 0) {
                        *p = 1;
                        puts("well");
                } else {
                        EXPECT(fault_told.pool == pool && fault_told.address == p);
                        printf("fault %016" PRIx64 " %" PRIu64 "\n", fault_told.id, fault_told.offset);
                }
        }
        close_pool();
        return 0;
}

int main(int argc, char **argv)
{
        bool poll_ourselves = false, raw = false;

        if (argc >= 2 && strcmp(argv[1], "events") == 0) {
                for (int i = 2; i < argc; i++) {
                        poll_ourselves = poll_ourselves || strcmp(argv[i], "poll") == 0;
                        raw = raw || strcmp(argv[i], "raw") == 0;
                }
                return events(poll_ourselves, raw);
        }
        if (argc == 2 && strcmp(argv[1], "life") == 0)
                return life();
        if (argc == 2 && strcmp(argv[1], "grow") == 0)
                return grow();
        if (argc == 2 && strcmp(argv[1], "churn") == 0)
                return churn();
        if (argc == 2 && strcmp(argv[1], "hold") == 0)
                return hold();
        if (argc >= 2 && argc <= 3 && strcmp(argv[1], "touch") == 0)
                return touch(argv[2]);
        return 64;
}
