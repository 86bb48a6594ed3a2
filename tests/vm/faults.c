/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * How many page faults a heap's blocks cost, ours and memkind's, doing the same:
 *
 *     faults pmbroker STORE | faults memkind DIRECTORY
 *
 * Blocks of 16 bytes to 1 MiB come and go; each is written to, every page of it, when it has come. Prints the faults of
 * these stores, and how many pages of 2 MiB they hit: nobody can do with less. What a heap needs for itself is not
 * counted, since ours has that elsewhere.
 */

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <memkind.h>
#include <pmbroker.h>

#define ALLOCATIONS 10000
#define LIVE_MAX    2000
#define HEAP_BYTES  (UINT64_C(256) << 20)
#define LIVE_BYTES  (HEAP_BYTES / 4)
#define HUGE_PAGE   (UINT64_C(2) << 20)
#define PAGE        4096
#define HIT_MAX     4096

static struct pmb_pool *pool;
static memkind_t kind;

static struct {
        char *start;
        size_t size;
} blocks[LIVE_MAX];
static size_t n_blocks;
static uint64_t live_bytes;

static uintptr_t hit[HIT_MAX];
static size_t n_hit;

static void *take(size_t size)
{
        return pool ? pmb_malloc(pool, size) : memkind_malloc(kind, size);
}

static void give_back(void *block)
{
        if (pool)
                pmb_free(pool, block);
        else
                memkind_free(kind, block);
}

static uint64_t now_random(void)
{
        static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state;
}

/* Each power of two is as likely as any other. */
static size_t next_size(void)
{
        size_t power = (size_t)16 << now_random() % 17;

        return power / 2 + now_random() % (power / 2) + 1;
}

static void note(uintptr_t page)
{
        for (size_t i = n_hit; i-- > 0;)
                if (hit[i] == page)
                        return;
        if (n_hit == HIT_MAX)
                abort();
        hit[n_hit++] = page;
}

static long faults_so_far(void)
{
        struct rusage usage;

        (void)getrusage(RUSAGE_SELF, &usage);
        return usage.ru_minflt + usage.ru_majflt;
}

/* Returns the faults. */
static long write_to(char *start, size_t size)
{
        long before = faults_so_far();

        for (size_t at = 0; at < size; at += PAGE)
                *(volatile char *)(start + at) = 1;
        *(volatile char *)(start + size - 1) = 1;
        before = faults_so_far() - before;
        for (uintptr_t page = (uintptr_t)start / HUGE_PAGE;
                page <= ((uintptr_t)start + size - 1) / HUGE_PAGE; page++)
                note(page);
        return before;
}

static void free_one(void)
{
        size_t i = now_random() % n_blocks;

        give_back(blocks[i].start);
        live_bytes -= blocks[i].size;
        blocks[i] = blocks[--n_blocks];
}

static int open_heap(const char *which, const char *where)
{
        struct pmb_client *client;

        if (strcmp(which, "memkind") == 0)
                return memkind_create_pmem(where, HEAP_BYTES, &kind);
        int r = pmb_client_connect(NULL, 0, &client);
        if (r < 0)
                return r;
        return pmb_pool_create(
                client, &(struct pmb_pool_options){.size = HEAP_BYTES, .store = where}, &pool);
}

int main(int argc, char **argv)
{
        long faults = 0;
        int r;

        if (argc != 3)
                return EXIT_FAILURE;
        r = open_heap(argv[1], argv[2]);
        if (r != 0) {
                printf("no heap: %d\n", r);
                return EXIT_FAILURE;
        }
        for (int i = 0; i < ALLOCATIONS; i++) {
                size_t size = next_size();

                while (n_blocks == LIVE_MAX || (n_blocks > 0 && live_bytes + size > LIVE_BYTES))
                        free_one();
                char *start = take(size);
                if (!start) {
                        printf("no memory after %d\n", i);
                        return EXIT_FAILURE;
                }
                faults += write_to(start, size);
                blocks[n_blocks].start = start;
                blocks[n_blocks++].size = size;
                live_bytes += size;
        }
        printf("%ld %zu\n", faults, n_hit);
        return 0;
}
