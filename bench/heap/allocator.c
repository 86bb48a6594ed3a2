/* SPDX-License-Identifier: BSD-3-Clause */
/* Heaps are made and given up, for each interface. */

#include "allocator.h"

#include <errno.h>
#include <string.h>

_Noreturn void die(const char *what, const char *why)
{
        fprintf(stderr, "bench: %s: %s\n", what, why);
        exit(EXIT_FAILURE);
}

#if defined(BENCH_PMBROKER)

static struct pmb_client *client;

Heap heap_open(const char *place, uint64_t size, bool roomy)
{
        struct pmb_pool *pool;
        char why[256];
        int r;

        (void)place;
        (void)roomy;
        if (!client && (r = pmb_client_connect(NULL, 0, &client)) < 0)
                die("pmb_client_connect", strerror(-r));
        r = pmb_pool_create(client, &(struct pmb_pool_options){.size = size, .name = "bench"}, &pool);
        if (r < 0) {
                (void)pmb_client_explain(client, why, sizeof(why));
                die("pmb_pool_create", why[0] ? why : strerror(-r));
        }
        return pool;
}

void heap_close(Heap heap)
{
        pmb_pool_close(heap);
}

#elif defined(BENCH_MEMKIND)

Heap heap_open(const char *place, uint64_t size, bool roomy)
{
        memkind_t kind;

        if (!place)
                die("memkind", "needs a directory");
        if (memkind_create_pmem(place, roomy ? 0 : size, &kind) != MEMKIND_SUCCESS)
                die("memkind_create_pmem", place);
        return kind;
}

void heap_close(Heap heap)
{
        (void)memkind_destroy_kind(heap);
}

#else

Heap heap_open(const char *place, uint64_t size, bool roomy)
{
        (void)place;
        (void)size;
        (void)roomy;
        return "malloc";
}

void heap_close(Heap heap)
{
        (void)heap;
}

#endif
