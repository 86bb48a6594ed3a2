/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A pool that no daemon knows: a file in memory. For tests of the heap. */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/parse.h"
#include "base/cleanup.h"
#include "client/pool.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLOW 1
#endif
#endif
#ifndef SLOW
#define SLOW 0
#endif

static inline struct pmb_pool *pool_with_max(uint64_t size, uint64_t max)
{
        struct pmb_pool *pool;
        int fd = memfd_create("pool", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        assert_int_equal(pool_new(NULL, size, max, false, &pool), 0);
        pool->id = 0x0123456789abcdef;
        assert_int_equal(pool_attach(pool, fd, size, size), 0);
        assert_int_equal(heap_open(&pool->heap), 0);
        return pool;
}

static inline struct pmb_pool *pool_of_size(uint64_t size)
{
        return pool_with_max(size, size > GIB ? size : GIB);
}

static inline uint32_t rnd(uint32_t *s)
{
        *s ^= *s << 13;
        *s ^= *s >> 17;
        return *s ^= *s << 5;
}

/* Blocks of one size until there are no more, linked through their first bytes. */
static inline uint64_t fill(struct pmb_pool *pool, size_t size, void **ret_list)
{
        void *list = NULL, **p;
        uint64_t n = 0;

        while ((p = pmb_malloc(pool, size))) {
                *p = list;
                list = p;
                n++;
        }
        assert_int_equal(errno, ENOMEM);
        *ret_list = list;
        return n;
}

static inline void free_list(struct pmb_pool *pool, void *list)
{
        while (list) {
                void *next = *(void **)list;

                pmb_free(pool, list);
                list = next;
        }
}
