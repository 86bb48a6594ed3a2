/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mistakes with the blocks of a pool, those that are named, for test_watched.py: AddressSanitizer and valgrind shall
 * see them. And `right`, in which there is none.
 *
 *     watched [right | after-free | neighbour | slack | beyond | unset | twice | moved | cut | inside]...
 */

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pmbroker.h>

#include "expect.h"

#define MIB   (UINT64_C(1) << 20)
#define COUNT 1000

typedef volatile char Byte; /* so that no access is left out */

static struct pmb_client *client;
static struct pmb_pool *pool;

static struct pmb_pool *open_pool(unsigned flags)
{
        struct pmb_pool_options options = {.size = 32 * MIB, .name = "watched", .flags = flags};
        struct pmb_pool *p;

        EXPECT(pmb_pool_create(client, &options, &p) == 0);
        return p;
}

/* The compiler sees some of these mistakes, too: not here. */
static __attribute__((noinline)) void *take(size_t size)
{
        void *p = pmb_malloc(pool, size);

        EXPECT(p);
        return p;
}

/* ------------------------------------------------------------------------------------------------- mistakes */

static void after_free(void)
{
        Byte *p = take(100);

        p[0] = 1;
        pmb_free(pool, (void *)p);
        p[99] = 2;
}

/* Two blocks of which one begins where the other ends. */
static void neighbour(void)
{
        Byte *p = take(64), *q = take(64);

        for (int i = 0; q != p + 64; i++) {
                EXPECT(i < COUNT);
                p = q;
                q = take(64);
        }
        p[63] = q[0] = 1;
        pmb_free(pool, (void *)q);
        p[64] = 2;
}

static void slack(void)
{
        Byte *p = take(100);

        p[99] = 1;
        p[100] = 2;
}

static void beyond(void)
{
        Byte *p = take(MIB);

        p[MIB - 1] = 1;
        p[MIB] = 2;
}

/* What was there before is not what is there now. */
static void unset(void)
{
        Byte *p = take(4096);

        memset((void *)(uintptr_t)p, 1, 4096);
        pmb_free(pool, (void *)p);
        p = take(4096);
        if (p[17])
                printf("set\n");
}

static void twice(void)
{
        char *p = take(64), *q = take(64);

        pmb_free(pool, p);
        pmb_free(pool, q);
        pmb_free(pool, p);
}

static void moved(void)
{
        Byte *p = take(200), *q = pmb_realloc(pool, (void *)p, 5000);

        EXPECT(q && q != p);
        q[4999] = 1;
        p[0] = 2;
}

static void cut(void)
{
        Byte *p = take(MIB), *q = pmb_realloc(pool, (void *)p, 512 * 1024);

        EXPECT(q == p);
        p[512 * 1024 - 1] = 1;
        p[512 * 1024] = 2;
}

static void inside(void)
{
        Byte *p = take(100), *q = pmb_realloc(pool, (void *)p, 97);

        EXPECT(q == p);
        p[96] = 1;
        p[97] = 2;
}

/* -------------------------------------------------------------------------------------------------- right */

static void *free_all(void *userdata)
{
        char **blocks = userdata;

        for (unsigned i = 0; i < COUNT; i++)
                pmb_free(pool, blocks[i]);
        return NULL;
}

static void in_child(struct pmb_pool *copied, char *block)
{
        pid_t pid = fork();
        int status;

        EXPECT(pid >= 0);
        if (pid == 0) {
                char *p = pmb_malloc(copied, 1000);

                EXPECT(p && strcmp(block, "copied") == 0 && !pmb_malloc(pool, 10) && errno == ESTALE);
                memset(p, 1, 1000);
                pmb_free(copied, block);
                pmb_free(copied, p);
                pmb_pool_close(copied);
                pmb_pool_close(pool);
                _exit(0);
        }
        EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
}

static void right(void)
{
        static const size_t sizes[] = {0, 1, 7, 8, 100, 512, 4096, 5000, 16384, 100000, 3 * MIB, 9 * MIB};
        static char *blocks[COUNT];
        struct pmb_pool *copied = open_pool(PMB_POOL_COPY_ON_FORK);
        char *p;

        for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
                size_t size = sizes[i];

                p = take(size);
                memset(p, 1, size);
                memset(p, 2, pmb_usable_size(pool, p));
                pmb_free_sized(pool, p, size);

                p = pmb_calloc(pool, 1, size);
                EXPECT(p);
                for (size_t k = 0; k < size; k += 509)
                        EXPECT(p[k] == 0);
                p = pmb_realloc(pool, p, size / 2);
                EXPECT(p);
                memset(p, 3, size / 2);
                p = pmb_realloc(pool, p, size + size / 3);
                EXPECT(p);
                for (size_t k = 0; k < size / 2; k += 509)
                        EXPECT(p[k] == 3);
                memset(p, 4, size + size / 3);
                pmb_free(NULL, p);

                EXPECT(pmb_posix_memalign(pool, (void **)&p, 8192, size) == 0);
                memset(p, 5, size);
                pmb_free(pool, p);
                p = pmb_aligned_alloc(pool, 64, size);
                EXPECT(p);
                memset(p, 6, size);
                pmb_free(pool, p);
        }
        for (unsigned round = 0; round < 2; round++) {
                pthread_t thread;

                for (unsigned i = 0; i < COUNT; i++) {
                        blocks[i] = take(1 + i * 7);
                        memset(blocks[i], 7, 1 + i * 7);
                }
                for (unsigned i = COUNT / 2; i < COUNT; i++) {
                        p = pmb_defrag(pool, blocks[i]);
                        if (p)
                                blocks[i] = p;
                        EXPECT(blocks[i][i * 7] == 7);
                }
                EXPECT(pthread_create(&thread, NULL, free_all, blocks) == 0);
                EXPECT(pthread_join(thread, NULL) == 0);
                EXPECT(pmb_pool_trim(pool, 0) >= 0);
                EXPECT(pmb_pool_resize(pool, 32 * MIB) == 0);
        }
        while ((p = pmb_malloc(pool, 100000)))
                memset(p, 8, 100000);
        p = pmb_malloc(copied, 10);
        EXPECT(p);
        strcpy(p, "copied");
        in_child(copied, p);
        pmb_free(copied, p);
        pmb_pool_close(copied);

        /* Blocks that nobody frees go with the pool; another may get its addresses. */
        pmb_pool_close(pool);
        pool = open_pool(0);
        memset(take(20 * MIB), 9, 20 * MIB);
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*fn)(void);
        } all[] = {
                {"right", right},
                {"after-free", after_free},
                {"neighbour", neighbour},
                {"slack", slack},
                {"beyond", beyond},
                {"unset", unset},
                {"twice", twice},
                {"moved", moved},
                {"cut", cut},
                {"inside", inside},
        };

        EXPECT(pmb_client_connect(NULL, 0, &client) == 0);
        pool = open_pool(0);
        for (int a = 1; a < argc; a++)
                for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
                        if (strcmp(argv[a], all[i].name) == 0)
                                all[i].fn();
        pmb_pool_close(pool);
        pmb_client_unref(client);
        return 0;
}
