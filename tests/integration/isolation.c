/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library and the rest of the process leave each other alone, for test_isolation.py. The daemon is that of
 * $PMBROKER_SOCKET.
 *
 *     isolation malloc [LIBRARY]    the application's malloc is LIBRARY's (default: libc's) and knows nothing of pools
 *     isolation exit                pools are used by destructors of threads that end
 *     isolation threads N           by very many threads, each for a moment
 *
 * Ends with 0, or with 1 and a line that says what was not as it should be.
 */

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pmbroker.h>

#include "expect.h"

#define MIB (UINT64_C(1) << 20)

static struct pmb_client *client;
static struct pmb_pool *pool;

static void open_pool(void)
{
        EXPECT(pmb_client_connect(NULL, 0, &client) == 0);
        EXPECT(pmb_pool_create(client, &(struct pmb_pool_options){.size = 32 * MIB}, &pool) == 0);
}

static void close_pool(void)
{
        pmb_pool_close(pool);
        pmb_client_unref(client);
}

/* ------------------------------------------------------------------------------------------------- malloc */

/* Whose function is that? */
static const char *library_of(const void *function)
{
        Dl_info info;

        EXPECT(dladdr(function, &info) != 0);
        return strrchr(info.dli_fname, '/') ? strrchr(info.dli_fname, '/') + 1 : info.dli_fname;
}

/* Bytes that this thread has ever allocated from an application's jemalloc; 0 if it has none. */
static uint64_t taken_from_jemalloc(void)
{
        int (*mallctl)(const char *, void *, size_t *, void *, size_t);
        uint64_t n = 0;
        size_t size = sizeof(n);

        mallctl = (int (*)(const char *, void *, size_t *, void *, size_t))(uintptr_t)dlsym(
                RTLD_DEFAULT, "mallctl");
        if (mallctl)
                EXPECT(mallctl("thread.allocated", &n, &size, NULL, 0) == 0);
        return n;
}

/* What libc allocates for its caller is freed by the caller, and neither is a pool's business. */
static void use_libc(void)
{
        char *copy = strdup("a copy"), *text = NULL, *line = NULL;
        FILE *f = fmemopen(copy, strlen(copy), "r");
        size_t size = 0;

        EXPECT(f && asprintf(&text, "%s of %d", copy, 4711) == 14);
        EXPECT(getline(&line, &size, f) == 6);
        EXPECT(!pmb_pool_of(copy) && !pmb_pool_of(text) && !pmb_pool_of(line));
        (void)fclose(f);
        free(line);
        free(text);
        free(copy);
}

static int app_malloc(const char *library)
{
        const void *functions[] = {(void *)(uintptr_t)malloc, (void *)(uintptr_t)free,
                (void *)(uintptr_t)calloc, (void *)(uintptr_t)realloc};
        void *blocks[1000], *own[1000];
        uint64_t before;

        for (unsigned i = 0; i < 4; i++)
                EXPECT(strncmp(library_of(functions[i]), library, strlen(library)) == 0);
        EXPECT((taken_from_jemalloc() > 0) == (strstr(library, "jemalloc") != NULL));
        open_pool();
        use_libc();

        /* Nothing of what pools are made of is to be seen. */
        EXPECT(!dlsym(RTLD_DEFAULT, "pmbj_mallocx") && !dlsym(RTLD_DEFAULT, "pmbj_mallctl"));
        EXPECT(strncmp(library_of((void *)(uintptr_t)pmb_malloc), "libpmbroker", 11) == 0);

        before = taken_from_jemalloc();
        for (unsigned i = 0; i < 1000; i++)
                EXPECT((blocks[i] = pmb_malloc(pool, 20 * i)));
        EXPECT(taken_from_jemalloc() - before < 100 * 1000);
        for (unsigned i = 0; i < 1000; i++) {
                EXPECT((own[i] = malloc(20 * i)));
                EXPECT(pmb_pool_of(blocks[i]) == pool && !pmb_pool_of(own[i]));
        }
        EXPECT(!taken_from_jemalloc() || taken_from_jemalloc() - before >= 20 * 999 * 500);
        use_libc();
        for (unsigned i = 0; i < 1000; i++) {
                free(own[i]);
                pmb_free(NULL, blocks[i]);
        }
        close_pool();
        use_libc();
        return 0;
}

/* --------------------------------------------------------------------------------------------------- exit */

static pthread_key_t keys[3];

/* Each destructor frees what the thread has left for it, and leaves something for the next round. */
static void on_exit_of_thread(void *value)
{
        void **block = value, *more = pmb_malloc(pool, 3000);
        unsigned n = (unsigned)(uintptr_t)block[0], key = (unsigned)(uintptr_t)block[1];

        EXPECT(more);
        memset(more, 1, 3000);
        pmb_free(pool, more);
        if (n > 0) {
                block[0] = (void *)(uintptr_t)(n - 1);
                block = pmb_realloc(pool, block, 100 * n);
                EXPECT(block && pthread_setspecific(keys[key], block) == 0);
        } else
                pmb_free(n % 2 ? pool : NULL, block);
}

static void *end_soon(void *userdata)
{
        for (unsigned i = 0; i < 3; i++) {
                void **block = pmb_malloc(pool, 100);

                EXPECT(block);
                block[0] = userdata;
                block[1] = (void *)(uintptr_t)i;
                EXPECT(pthread_setspecific(keys[i], block) == 0);
        }
        return NULL;
}

static int exits(void)
{
        struct pmb_pool_stats stats;
        pthread_t threads[8];

        /* One key from before the library's own, which the first block makes, and two after it. */
        EXPECT(pthread_key_create(&keys[0], on_exit_of_thread) == 0);
        open_pool();
        pmb_free(pool, pmb_malloc(pool, 1));
        EXPECT(pthread_key_create(&keys[1], on_exit_of_thread) == 0);
        EXPECT(pthread_key_create(&keys[2], on_exit_of_thread) == 0);
        for (unsigned round = 0; round < 100; round++) {
                for (uintptr_t i = 0; i < 8; i++)
                        EXPECT(pthread_create(&threads[i], NULL, end_soon, (void *)(i % 4)) == 0);
                for (unsigned i = 0; i < 8; i++)
                        EXPECT(pthread_join(threads[i], NULL) == 0);
        }
        EXPECT(pmb_pool_stats(pool, &stats) == 0);
        EXPECT(stats.blocks == 0 && stats.caches <= 1);
        close_pool();
        return 0;
}

/* ------------------------------------------------------------------------------------------------- threads */

static void *live_briefly(void *userdata)
{
        void *blocks[20];

        for (unsigned i = 0; i < 20; i++) {
                EXPECT((blocks[i] = pmb_malloc(pool, 1 + 700 * i)));
                memset(blocks[i], (int)i, 1 + 700 * i);
        }
        for (unsigned i = 0; i < 20; i++)
                pmb_free(pool, blocks[i]);
        return userdata;
}

static uint64_t rss(void)
{
        unsigned long pages = 0;
        FILE *f = fopen("/proc/self/statm", "re");

        EXPECT(f && fscanf(f, "%*u %lu", &pages) == 1);
        (void)fclose(f);
        return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int many_threads(unsigned n)
{
        struct pmb_pool_stats stats;
        uint64_t before = 0;

        open_pool();
        for (unsigned i = 0; i < n; i += 8) {
                pthread_t threads[8];

                for (unsigned k = 0; k < 8; k++)
                        EXPECT(pthread_create(&threads[k], NULL, live_briefly, NULL) == 0);
                for (unsigned k = 0; k < 8; k++)
                        EXPECT(pthread_join(threads[k], NULL) == 0);
                if (i == n / 10 / 8 * 8)
                        before = rss();
        }
        EXPECT(rss() < before + MIB);
        EXPECT(pmb_pool_stats(pool, &stats) == 0);
        EXPECT(stats.blocks == 0 && stats.caches == 0 && stats.allocated == 0);

        /* What they had is there for those who come after them. */
        EXPECT(pmb_malloc(pool, 30 * MIB));
        close_pool();
        return 0;
}

int main(int argc, char **argv)
{
        if (argc >= 2 && strcmp(argv[1], "malloc") == 0)
                return app_malloc(argc >= 3 ? argv[2] : "libc.so");
        if (argc == 2 && strcmp(argv[1], "exit") == 0)
                return exits();
        if (argc == 3 && strcmp(argv[1], "threads") == 0)
                return many_threads((unsigned)strtoul(argv[2], NULL, 10));
        return 64;
}
