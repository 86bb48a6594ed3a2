/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Memory for what the heap has to remember: ordinary memory, of the private jemalloc's own arena. Not of the
 * application's malloc(): that may be made of this heap, and would come back in here.
 */

#include <stdatomic.h>
#include <stddef.h>

#include "pmb_jemalloc.h"

#define INTERNAL_FLAGS (MALLOCX_ARENA(0) | MALLOCX_TCACHE_NONE)

/*
 * Many pools have many of the same things, each at the start of a page: all of them would meet in the same
 * few lines of the processor's cache. So they begin at different places: this many bytes, less than a page,
 * into their memory.
 */
static inline size_t internal_stagger(void)
{
        static atomic_uint count;

        return atomic_fetch_add_explicit(&count, 1, memory_order_relaxed) * 7 % 64 * 64;
}

/* Zeroed, or NULL. */
static inline void *internal_alloc(size_t size)
{
        return pmbj_mallocx(size, INTERNAL_FLAGS | MALLOCX_ZERO);
}

/* Takes NULL. */
static inline void internal_free(void *p)
{
        if (p)
                pmbj_dallocx(p, MALLOCX_TCACHE_NONE);
}

/* The same with whatever has been there before. */
static inline void *internal_alloc_dirty(size_t size)
{
        return pmbj_mallocx(size, INTERNAL_FLAGS);
}
