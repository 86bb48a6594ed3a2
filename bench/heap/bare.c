/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A heap comes and goes, and no broker: pool, mapping and arena on a file in memory that is there already. The one
 * program here that looks behind the public header, since there every pool is a broker's.
 *
 *     bare [--place DIR]      prints "NAME CREATE DESTROY", in microseconds, medians of many
 *
 * Pools of 32 MiB: empty; after one allocation; full of 64-byte blocks, not written to; the same, written to. memkind
 * beside it: there, a file is made, too.
 */

#include <errno.h>
#include <getopt.h>
#include <memkind.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "client/pool.h"

#define SIZE      (UINT64_C(32) << 20)
#define MAX_SIZE  (UINT64_C(1) << 30)
#define ROUNDS    201
#define DISCARDED 20
#define BLOCK     64

static const char *arg_place;

static _Noreturn void die(const char *what, int error)
{
        fprintf(stderr, "bare: %s: %s\n", what, strerror(error));
        exit(EXIT_FAILURE);
}

static double now_usec(void)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

typedef enum State {
        STATE_EMPTY,
        STATE_ONE,
        STATE_FULL,
        STATE_WRITTEN,
        N_STATES,
} State;

static const char *const state_names[] = {"empty", "one", "full", "written"};

static void *alloc_pool(void *heap)
{
        return pmb_malloc(heap, BLOCK);
}

static void *alloc_kind(void *heap)
{
        return memkind_malloc(heap, BLOCK);
}

static void bring_to(void *heap, void *(*alloc)(void *heap), State state)
{
        char *p;

        if (state == STATE_ONE && !alloc(heap))
                die("allocation", errno);
        while (state >= STATE_FULL && (p = alloc(heap)))
                if (state == STATE_WRITTEN)
                        *(volatile char *)p = 1;
}

static void cycle_pool(State state, double *ret_create, double *ret_destroy)
{
        int fd = memfd_create("bare", MFD_CLOEXEC), r;
        double begin, made, used, end;
        struct pmb_pool *pool;

        if (fd < 0 || ftruncate(fd, (off_t)SIZE) < 0)
                die("memfd", errno);
        begin = now_usec();
        r = pool_new(NULL, SIZE, MAX_SIZE, /* raw= */ false, &pool);
        if (r == 0)
                r = pool_attach(pool, fd, SIZE, SIZE);
        if (r == 0)
                r = heap_open(&pool->heap);
        if (r < 0)
                die("pool", -r);
        made = now_usec();
        bring_to(pool, alloc_pool, state);
        used = now_usec();
        pmb_pool_close(pool);
        end = now_usec();
        *ret_create = made - begin;
        *ret_destroy = end - used;
}

static void cycle_kind(State state, double *ret_create, double *ret_destroy)
{
        double begin = now_usec(), made, used, end;
        memkind_t kind;

        if (memkind_create_pmem(arg_place, SIZE, &kind) != MEMKIND_SUCCESS)
                die("memkind_create_pmem", errno);
        made = now_usec();
        bring_to(kind, alloc_kind, state);
        used = now_usec();
        (void)memkind_destroy_kind(kind);
        end = now_usec();
        *ret_create = made - begin;
        *ret_destroy = end - used;
}

static int compare(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

static void measure(State state)
{
        static double create[2][ROUNDS], destroy[2][ROUNDS];
        unsigned n = state >= STATE_FULL ? ROUNDS / 10 : ROUNDS;

        for (unsigned i = 0; i < n + DISCARDED; i++) {
                unsigned k = i < DISCARDED ? 0 : i - DISCARDED;

                cycle_pool(state, &create[0][k], &destroy[0][k]);
                if (arg_place)
                        cycle_kind(state, &create[1][k], &destroy[1][k]);
        }
        for (unsigned w = 0; w < (arg_place ? 2 : 1); w++) {
                qsort(create[w], n, sizeof(double), compare);
                qsort(destroy[w], n, sizeof(double), compare);
                printf("%s %s %.1f %.1f\n", w == 0 ? "pmbroker" : "memkind", state_names[state],
                        create[w][n / 2], destroy[w][n / 2]);
        }
}

int main(int argc, char **argv)
{
        static const struct option options[] = {{"place", required_argument, NULL, 'p'}, {0}};
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                if (c != 'p')
                        return 64;
                arg_place = optarg;
        }
        for (State state = 0; state < N_STATES; state++)
                measure(state);
        return EXIT_SUCCESS;
}
