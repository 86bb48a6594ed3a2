/* SPDX-License-Identifier: BSD-3-Clause */
/* Fill a pool of so many MiB, say how it ended, and wait for Enter. This program is in pmbroker(7), too. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pmbroker.h>

int main(int argc, char **argv)
{
        struct pmb_pool_options options = {.size = 32 << 20, .name = "first"};
        struct pmb_client *client;
        struct pmb_pool *pool;
        size_t blocks = 0;
        char why[256];
        void *block;
        int r;

        if (argc > 1)
                options.size = strtoull(argv[1], NULL, 10) << 20;
        r = pmb_client_connect(NULL, 0, &client);
        if (r < 0) {
                fprintf(stderr, "no daemon: %s\n", strerror(-r));
                return 1;
        }
        r = pmb_pool_create(client, &options, &pool);
        if (r < 0) {
                pmb_client_explain(client, why, sizeof(why));
                fprintf(stderr, "no pool: %s: %s\n", strerror(-r), why);
                return 1;
        }
        while ((block = pmb_malloc(pool, 1 << 20))) {
                memset(block, 1, 1 << 20);
                blocks++;
        }
        pmb_pool_explain(pool, why, sizeof(why));
        printf("%zu blocks of 1 MiB, then: %s\n", blocks, why);
        printf("Enter gives the pool back\n");
        fflush(stdout);
        getchar();
        pmb_pool_close(pool); /* and all blocks with it */
        pmb_client_unref(client);
        return 0;
}
