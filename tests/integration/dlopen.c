/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library is loaded at run time, used, closed and loaded again, for test_isolation.py:
 *
 *     dlopen LIBRARY
 *
 * Threads that were there before it was use it, too. Not linked with it. Ends with 0, or with 1 and a line that says
 * what was not as it should be.
 */

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pmbroker.h>

#define MIB (UINT64_C(1) << 20)

#define EXPECT(condition)                                                                                 \
        do {                                                                                              \
                if (!(condition)) {                                                                       \
                        const char *error_ = dlerror();                                                   \
                        printf("line %d: %s (%s)\n", __LINE__, #condition, error_ ? error_ : "no error"); \
                        exit(EXIT_FAILURE);                                                               \
                }                                                                                         \
        } while (0)

static struct {
        void *handle;
        __typeof__(&pmb_client_connect) connect;
        __typeof__(&pmb_client_unref) unref;
        __typeof__(&pmb_pool_create) create;
        __typeof__(&pmb_pool_close) close;
        __typeof__(&pmb_malloc) malloc;
        __typeof__(&pmb_free) free;
        __typeof__(&pmb_pool_of) pool_of;
} lib;

#define LOOK_UP(member, name) (lib.member = (__typeof__(lib.member))(uintptr_t)dlsym(lib.handle, name))

static void load(const char *path)
{
        lib.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        EXPECT(lib.handle);
        EXPECT(LOOK_UP(connect, "pmb_client_connect") && LOOK_UP(unref, "pmb_client_unref"));
        EXPECT(LOOK_UP(create, "pmb_pool_create") && LOOK_UP(close, "pmb_pool_close"));
        EXPECT(LOOK_UP(malloc, "pmb_malloc") && LOOK_UP(free, "pmb_free") &&
                LOOK_UP(pool_of, "pmb_pool_of"));
        EXPECT(!dlsym(RTLD_DEFAULT, "pmb_malloc")); /* RTLD_LOCAL */
        (void)dlerror();
}

static struct pmb_client *client;
static struct pmb_pool *pool;
static pthread_barrier_t loaded, used;

static void use(void)
{
        void *blocks[200];

        for (unsigned i = 0; i < 200; i++) {
                EXPECT((blocks[i] = lib.malloc(pool, 1 + 50 * i)));
                memset(blocks[i], (int)i, 1 + 50 * i);
        }
        for (unsigned i = 0; i < 200; i++) {
                EXPECT(*(unsigned char *)blocks[i] == (unsigned char)i && lib.pool_of(blocks[i]) == pool);
                lib.free(i % 2 ? pool : NULL, blocks[i]);
        }
}

static void *older_than_the_library(void *userdata)
{
        for (unsigned round = 0; round < 3; round++) {
                (void)pthread_barrier_wait(&loaded);
                use();
                (void)pthread_barrier_wait(&used);
        }
        return userdata;
}

int main(int argc, char **argv)
{
        pthread_t threads[4];

        if (argc != 2)
                return 64;
        (void)pthread_barrier_init(&loaded, NULL, 5);
        (void)pthread_barrier_init(&used, NULL, 5);
        for (unsigned i = 0; i < 4; i++)
                EXPECT(pthread_create(&threads[i], NULL, older_than_the_library, NULL) == 0);
        for (unsigned round = 0; round < 3; round++) {
                load(argv[1]);
                EXPECT(lib.connect(NULL, 0, &client) == 0);
                EXPECT(lib.create(client, &(struct pmb_pool_options){.size = 8 * MIB}, &pool) == 0);
                (void)pthread_barrier_wait(&loaded);
                use();
                (void)pthread_barrier_wait(&used);
                lib.close(pool);
                lib.unref(client);
                /* Threads still have its destructors to run: it must stay where it is. */
                EXPECT(dlclose(lib.handle) == 0);
        }
        for (unsigned i = 0; i < 4; i++)
                EXPECT(pthread_join(threads[i], NULL) == 0);
        return 0;
}
