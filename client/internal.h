/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Memory for what the heap has to remember: ordinary memory, of the private jemalloc's own arena. Not of the
 * application's malloc(): that may be made of this heap, and would come back in here.
 */

#include <stddef.h>

#include "pmb_jemalloc.h"

#define INTERNAL_FLAGS (MALLOCX_ARENA(0) | MALLOCX_TCACHE_NONE)

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
