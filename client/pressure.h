/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What happens when the arena has nothing left, in this order, until the request can be met: this thread's
 * cache and the depot go back to the arena, which then merges what is free; so do the caches of all other
 * threads (for blocks of whole pages at once, since every small block in the way costs a page); the pool grows, if it was opened so. If that was not enough the request is refused, with its
 * numbers, and fails at once from then on until something is freed (heap.h).
 */

#include <stddef.h>

struct pmb_pool;

/*
 * A block of `size` bytes with flags of mallocx() (alignment, zero), or NULL with errno set and the reason
 * noted. The thread is not busy.
 */
void *pressure_take(struct pmb_pool *pool, size_t size, int flags);

/* Refuse a request, and remember why. Returns NULL with errno set. */
void *pressure_refuse(struct pmb_pool *pool, int error, size_t size);
