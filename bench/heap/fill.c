/* SPDX-License-Identifier: BSD-3-Clause */
/* Filling. Blocks are remembered in address space that costs what is used of it. */

#include "fill.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define N_THREADS    8
#define NULLS_ENOUGH 20
#define LOG_MIN      16.0
#define LOG_MAX      ((double)(1 << 20))
#define SMALLEST     16 /* bytes, of what is allocated here */

static const struct {
        const char *name;
        size_t bytes;
} fills[] = {
        [FILL_64] = {"64", 64},
        [FILL_4K] = {"4K", 4096},
        [FILL_64K] = {"64K", 65536},
        [FILL_1M] = {"1M", 1 << 20},
        [FILL_8M] = {"8M", 8 << 20},
        [FILL_LOG] = {"log", 0},
        [FILL_AGAIN] = {"again", 64},
        [FILL_THREADS] = {"threads", 64},
};

FillKind fill_from_string(const char *s)
{
        unsigned i = 0;

        while (i < N_FILLS && strcmp(fills[i].name, s) != 0)
                i++;
        return i;
}

typedef struct Blocks {
        void **p;
        size_t n, max;
} Blocks;

static Blocks blocks_new(uint64_t size)
{
        Blocks blocks = {.max = size / SMALLEST};

        blocks.p = mmap(NULL, blocks.max * sizeof(void *), PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (blocks.p == MAP_FAILED)
                die("mmap", strerror(errno));
        return blocks;
}

static void blocks_free(Blocks *blocks, Heap heap)
{
        for (size_t i = 0; i < blocks->n; i++)
                heap_free(heap, blocks->p[i]);
        (void)munmap(blocks->p, blocks->max * sizeof(void *));
}

/* Until the first NULL. */
static uint64_t fill(Blocks *blocks, Heap heap, size_t bytes)
{
        uint64_t n = 0;
        void *p;

        while (blocks->n < blocks->max && (p = heap_alloc(heap, bytes))) {
                blocks->p[blocks->n++] = p;
                n++;
        }
        return n * bytes;
}

static Filled fill_log(Blocks *blocks, Heap heap)
{
        uint32_t s = 99;
        Filled filled = {0};

        for (unsigned n_nulls = 0; n_nulls < NULLS_ENOUGH && blocks->n < blocks->max;) {
                size_t bytes;
                void *p;

                s ^= s << 13;
                s ^= s >> 17;
                s ^= s << 5;
                bytes = (size_t)(LOG_MIN *
                                 exp((double)(s & 0xffffff) / (double)0x1000000 * log(LOG_MAX / LOG_MIN)));
                p = heap_alloc(heap, bytes);
                if (!p) {
                        if (n_nulls++ == 0)
                                filled.first = filled.all;
                        continue;
                }
                blocks->p[blocks->n++] = p;
                filled.all += bytes;
        }
        return filled;
}

static Filled fill_again(Heap heap, uint64_t size)
{
        Blocks small = blocks_new(size), large;
        Filled filled;

        (void)fill(&small, heap, fills[FILL_AGAIN].bytes);
        blocks_free(&small, heap);
        large = blocks_new(size);
        filled.first = filled.all = fill(&large, heap, 1 << 20);
        blocks_free(&large, heap);
        return filled;
}

/* ----------------------------------------------------------------------------------------------------- threads */

typedef struct Gang {
        Heap heap;
        uint64_t size;
        pthread_barrier_t barrier;
} Gang;

static void *gang_member(void *userdata)
{
        Gang *gang = userdata;
        Blocks blocks = blocks_new(gang->size);

        (void)pthread_barrier_wait(&gang->barrier);
        (void)fill(&blocks, gang->heap, fills[FILL_THREADS].bytes);
        (void)pthread_barrier_wait(&gang->barrier);
        blocks_free(&blocks, gang->heap);
        (void)pthread_barrier_wait(&gang->barrier); /* all is free */
        (void)pthread_barrier_wait(&gang->barrier); /* and was measured */
        return NULL;
}

static Filled fill_threads(Heap heap, uint64_t size)
{
        Gang gang = {.heap = heap, .size = size};
        Blocks blocks = blocks_new(size);
        pthread_t threads[N_THREADS];
        Filled filled;

        (void)pthread_barrier_init(&gang.barrier, NULL, N_THREADS + 1);
        for (unsigned i = 0; i < N_THREADS; i++)
                if (pthread_create(&threads[i], NULL, gang_member, &gang) != 0)
                        die("pthread_create", "no thread");
        for (unsigned i = 0; i < 3; i++)
                (void)pthread_barrier_wait(&gang.barrier);
        filled.first = fill(&blocks, heap, 1 << 20);
        filled.all = filled.first + fill(&blocks, heap, 64 << 10);
        filled.all += fill(&blocks, heap, 64);
        (void)pthread_barrier_wait(&gang.barrier);
        for (unsigned i = 0; i < N_THREADS; i++)
                (void)pthread_join(threads[i], NULL);
        (void)pthread_barrier_destroy(&gang.barrier);
        blocks_free(&blocks, heap);
        return filled;
}

/* -------------------------------------------------------------------------------------------------------- run */

Filled fill_run(FillKind kind, Heap heap, uint64_t size)
{
        Filled filled = {0};
        Blocks blocks;

        if (kind == FILL_AGAIN)
                return fill_again(heap, size);
        if (kind == FILL_THREADS)
                return fill_threads(heap, size);
        blocks = blocks_new(size);
        if (kind == FILL_LOG)
                filled = fill_log(&blocks, heap);
        else
                filled.first = filled.all = fill(&blocks, heap, fills[kind].bytes);
        blocks_free(&blocks, heap);
        return filled;
}
