/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Reaching into the caches of other threads, which use them without a lock. Whoever wants to takes the
 * number of the heap away from all its caches, makes sure by membarrier() that every thread has either seen
 * that or can be seen to be busy, and waits for those that are. From then on nobody touches them, since a
 * cache without number is used only after steal_resume().
 *
 * Where the kernel has no membarrier() fast paths are not used at all (steal_init), and the slow ones make
 * themselves seen by a fence.
 *
 * The thread that stops must not be busy itself, and allocates nothing meanwhile but from the arena.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "client/heap.h"

/* False when fast paths must not be used. */
bool steal_init(void);

extern bool steal_needs_fence;

static inline void steal_fence(void)
{
        if (steal_needs_fence)
                atomic_thread_fence(memory_order_seq_cst);
}

/* Stop all caches of the heap, and let them go on. */
void steal_stop(Heap *h);
void steal_resume(Heap *h);
