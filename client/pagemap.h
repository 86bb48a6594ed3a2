/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One byte for each 4 KiB of a pool's addresses: the class of the blocks that begin in that page, or
 * CLASS_NONE. With it a pointer alone tells which bin it belongs to, and most of what is not a block is
 * noticed. One byte is enough since a page holds blocks of one class only, and cannot get another before all
 * of them went back to the arena.
 *
 * It lies in ordinary memory, which the kernel provides as pages of it are written: 0.024 % of what the pool
 * has ever used. A byte is written by the thread that takes the block from the arena, which then has it from
 * nobody else; threads that see the block later were given it by that thread.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define MAP_PAGE_SHIFT 12

typedef _Atomic uint8_t PageClass;

/* For `size` bytes of addresses. NULL when there is no memory. */
PageClass *pagemap_new(uint64_t size);
PageClass *pagemap_free(PageClass *map, uint64_t size);

/* Forget [offset, offset + size), whole pages. */
void pagemap_clear(PageClass *map, uint64_t offset, uint64_t size);

static inline unsigned pagemap_get(PageClass *map, uint64_t offset)
{
        return atomic_load_explicit(&map[offset >> MAP_PAGE_SHIFT], memory_order_relaxed);
}

/* Most pages have had the same class before: do not make the cache line dirty then. */
static inline void pagemap_set(PageClass *map, uint64_t offset, unsigned class)
{
        PageClass *p = &map[offset >> MAP_PAGE_SHIFT];

        if (atomic_load_explicit(p, memory_order_relaxed) != class)
                atomic_store_explicit(p, (uint8_t) class, memory_order_relaxed);
}
