/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Which address belongs to which pool: the one global table of the library. Finding takes no lock, so that a
 * free() that has nothing but the address stays cheap; adding and removing are rare.
 */

#include <stdint.h>

struct pmb_pool;

/* [base, base + size) must not overlap another entry. Returns 0 or -ENOMEM. */
int registry_add(struct pmb_pool *pool, const void *base, uint64_t size);

/* Takes a pool that was never added. */
void registry_remove(struct pmb_pool *pool);

struct pmb_pool *registry_find(const void *ptr);

/* The same for a handler of SIGBUS: it takes no lock. Whoever changes the table has that signal blocked, so
 * the thread that is waited for is another one. */
struct pmb_pool *registry_find_in_handler(const void *ptr);

/* Around fork(): the table does not change in between. */
void registry_lock(void);
void registry_unlock(void);

/* Call `fn` for all pools; with the lock held. */
void registry_for_each(void (*fn)(struct pmb_pool *pool));
