/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client under faults: creates, grows, shrinks and closes pools at random, fills blocks with a pattern of their own
 * and looks whether it is still there. Ends with 1, and a word about it, when anything is missing; on SIGTERM with 0
 * and the number of changes that were made. A change may fail: the daemons are killed all the time.
 */

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pmbroker.h"

#define MIB    ((size_t)1 << 20)
#define POOLS  3
#define BLOCKS 16

typedef struct Block {
        uint64_t *p;
        size_t n;
        uint64_t seed;
} Block;

typedef struct Slot {
        struct pmb_pool *pool;
        Block blocks[BLOCKS];
} Slot;

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
        (void)sig;
        stop = 1;
}

static uint64_t next(uint64_t *x)
{
        *x ^= *x << 13;
        *x ^= *x >> 7;
        return *x ^= *x << 17;
}

static void fill(Block *b)
{
        uint64_t x = b->seed;

        for (size_t i = 0; i < b->n; i++)
                b->p[i] = next(&x);
}

static void verify(const Block *b)
{
        uint64_t x = b->seed;

        for (size_t i = 0; i < b->n; i++)
                if (b->p[i] != next(&x)) {
                        printf("word %zu of %zu is not what was written\n", i, b->n);
                        exit(1);
                }
}

static void drop(Slot *s)
{
        for (unsigned i = 0; i < BLOCKS; i++)
                if (s->blocks[i].p)
                        verify(&s->blocks[i]);
        (void)pmb_pool_close(s->pool);
        *s = (Slot){0};
}

static int work(struct pmb_client *client, Slot *s, uint64_t dice, uint64_t *seed)
{
        Block *b = &s->blocks[dice / 64 % BLOCKS];

        if (!s->pool)
                return pmb_pool_create(
                        client, &(struct pmb_pool_options){.size = 2 * MIB, .max_size = 8 * MIB}, &s->pool);
        switch (dice % 64) {
        case 0:
                drop(s);
                return 0;
        case 1:
                return pmb_pool_resize(s->pool, (2 + dice / 4096 % 4 * 2) * MIB);
        case 2:
                return pmb_pool_trim(s->pool, 0) < 0 ? -EAGAIN : 0;
        default:
                if (b->p) {
                        verify(b);
                        pmb_free(s->pool, b->p);
                }
                *b = (Block){.n = 1 + dice / 4096 % (64 * 1024 / sizeof(uint64_t)), .seed = next(seed)};
                b->p = pmb_malloc(s->pool, b->n * sizeof(uint64_t));
                if (b->p)
                        fill(b);
                return -EAGAIN; /* nothing that the daemon did */
        }
}

int main(int argc, char **argv)
{
        uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) * 2654435761U + 1 : 1;
        Slot slots[POOLS] = {0};
        struct pmb_client *client;
        unsigned long changes = 0;
        int r;

        (void)sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
        r = pmb_client_connect(NULL, 0, &client);
        if (r < 0) {
                printf("cannot connect: %s\n", strerror(-r));
                return 1;
        }
        puts("working");
        (void)fflush(stdout);
        while (!stop) {
                Slot *s = &slots[next(&seed) % POOLS];

                changes += work(client, s, next(&seed), &seed) == 0;
                (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
        for (unsigned i = 0; i < POOLS; i++)
                if (slots[i].pool)
                        drop(&slots[i]);
        (void)pmb_client_unref(client);
        printf("%lu\n", changes);
        return 0;
}
