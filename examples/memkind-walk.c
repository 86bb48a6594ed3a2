/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The walk through memkind's introduction to pmem kinds, on pools: 32 MiB take 512 bytes, then 8 MiB, then 16 MiB.
 * The next 16 MiB do not fit, and are refused instead of being taken from somewhere else.
 *
 * Where memkind took a directory, pmbroker takes nothing: the daemon knows where the memory is, and the pool's file
 * is the daemon's. Where memkind_create_pmem() set a size that only the library respected, the pool's size is held
 * by the kernel.
 *
 * Ends with 0 when everything was as told here, with 1 when not.
 */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pmbroker.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)

/* Take a block, or say that it was refused, and why. */
static char *take(struct pmb_pool *pool, const char *what, size_t size)
{
        char why[256];
        char *block;

        block = pmb_malloc(pool, size);
        if (block) {
                /* It is ordinary memory: loads and stores, no calls. */
                memset(block, 0x5a, size);
                printf("%7s  taken, %zu bytes from the start of the pool\n", what,
                        (size_t)(block - (char *)pmb_pool_base(pool)));
                return block;
        }
        if (errno != ENOMEM)
                printf("%7s  refused with the wrong errno: %s\n", what, strerror(errno));
        (void)pmb_pool_explain(pool, why, sizeof(why));
        printf("%7s  refused: %s\n", what, why);
        return NULL;
}

/* Whether the block still holds what take() wrote. */
static int is_intact(const char *block, size_t size)
{
        return block[0] == 0x5a && memcmp(block, block + 1, size - 1) == 0;
}

static int walk(struct pmb_pool *pool)
{
        struct pmb_pool_stats stats;
        char *small, *medium, *large, *too_much;

        small = take(pool, "512 B", 512);
        medium = take(pool, "8 MiB", 8 * MIB);
        large = take(pool, "16 MiB", 16 * MIB);
        if (!small || !medium || !large)
                return -ENOMEM;

        too_much = take(pool, "16 MiB", 16 * MIB);
        if (too_much) {
                fprintf(stderr, "40 MiB fit into a pool of 32 MiB\n");
                return -EDOM;
        }
        if (!is_intact(small, 512) || !is_intact(medium, 8 * MIB) || !is_intact(large, 16 * MIB)) {
                fprintf(stderr, "a block has changed by itself\n");
                return -EIO;
        }

        pmb_free(pool, small);
        pmb_free(pool, medium);
        pmb_free(pool, large);
        if (pmb_pool_stats(pool, &stats) < 0 || stats.allocated != 0 || stats.refusals != 1) {
                fprintf(stderr, "the figures do not add up\n");
                return -EDOM;
        }
        printf("    all  freed\n");

        /* What did not fit fits now. */
        too_much = take(pool, "16 MiB", 16 * MIB);
        if (!too_much)
                return -ENOMEM;
        pmb_free(pool, too_much);
        return 0;
}

int main(void)
{
        struct pmb_client *client;
        struct pmb_pool_info info;
        struct pmb_pool *pool;
        char why[256];
        int r;

        r = pmb_client_connect(NULL, 0, &client);
        if (r < 0) {
                fprintf(stderr, "cannot connect to pmbrokerd: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }

        r = pmb_pool_create(
                client, &(struct pmb_pool_options){.size = 32 * MIB, .name = "memkind-walk"}, &pool);
        if (r < 0) {
                (void)pmb_client_explain(client, why, sizeof(why));
                fprintf(stderr, "cannot create the pool: %s: %s\n", strerror(-r), why);
                pmb_client_unref(client);
                return EXIT_FAILURE;
        }
        r = pmb_pool_info(pool, &info);
        if (r >= 0) {
                printf("a pool of %llu MiB in store %s, in pages of %llu KiB, charged to tenant %s\n",
                        (unsigned long long)(info.size / MIB), info.store,
                        (unsigned long long)(info.page_size / KIB), info.tenant);
                r = walk(pool);
        }

        pmb_pool_close(pool);
        pmb_client_unref(client);
        printf("the pool is closed\n");
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
