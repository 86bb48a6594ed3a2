/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What is measured. The same source is compiled once for each of three interfaces, and linked once for each allocator,
 * so that between a pattern and the allocator's own function there is what every program has there: a call into a
 * shared library.
 *
 *   BENCH_PMBROKER   pmb_malloc() in a pool that a broker granted
 *   BENCH_MEMKIND    memkind_malloc() in a pmem kind
 *   neither          malloc() of whatever library it is linked with
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * HEAP_HAS_FREE_SIZED where there are heap_free_sized() and heap_call(): only the pool's is measured beside its free().
 *
 * Make a heap of `size` bytes. `place` is the directory for files of those who need one, or NULL. Those who have a limit
 * of their own take `size` for it; where `roomy` is set, memkind gets none, since it needs several times what is live.
 * Ends the program when there is none to be had.
 */
#if defined(BENCH_PMBROKER)

#include <pmbroker.h>

typedef struct pmb_pool *Heap;
Heap heap_open(const char *place, uint64_t size, bool roomy);
void heap_close(Heap heap);

static inline void *heap_alloc(Heap heap, size_t size)
{
        return pmb_malloc(heap, size);
}

static inline void *heap_realloc(Heap heap, void *p, size_t size)
{
        return pmb_realloc(heap, p, size);
}

static inline void heap_free(Heap heap, void *p)
{
        pmb_free(heap, p);
}

static inline void heap_free_sized(Heap heap, void *p, size_t size)
{
        pmb_free_sized(heap, p, size);
}

#define HEAP_HAS_FREE_SIZED 1

/* A call into the library that does nothing. */
static inline void heap_call(void)
{
        (void)pmb_version();
}

#elif defined(BENCH_MEMKIND)

#include <memkind.h>

typedef memkind_t Heap;
Heap heap_open(const char *place, uint64_t size, bool roomy);
void heap_close(Heap heap);

static inline void *heap_alloc(Heap heap, size_t size)
{
        return memkind_malloc(heap, size);
}

static inline void *heap_realloc(Heap heap, void *p, size_t size)
{
        return memkind_realloc(heap, p, size);
}

static inline void heap_free(Heap heap, void *p)
{
        memkind_free(heap, p);
}

#else

typedef const char *Heap;
Heap heap_open(const char *place, uint64_t size, bool roomy);
void heap_close(Heap heap);

static inline void *heap_alloc(Heap heap, size_t size)
{
        (void)heap;
        return malloc(size);
}

static inline void *heap_realloc(Heap heap, void *p, size_t size)
{
        (void)heap;
        return realloc(p, size);
}

static inline void heap_free(Heap heap, void *p)
{
        (void)heap;
        free(p);
}

#endif

_Noreturn void die(const char *what, const char *why);
