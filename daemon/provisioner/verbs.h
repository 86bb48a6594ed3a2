/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What is done with a pool, as steps of a task. */

#include "provisioner/task.h"

#define WORK_USEC (UINT64_C(5) * 1000000) /* that an order may take */
#define ALLOCATE_USEC \
        (UINT64_C(60) * 1000000) /* a file that no client holds: it takes what the memory takes */

/* The pool is in its store's table, with limit, length and record; when it
 * cannot be made it is forgotten. */
int verb_create(Task *task);
int verb_grow(Task *task);
int verb_shrink(Task *task);
/* Both, where the backend does it in one order. */
int verb_resize(Task *task);
int verb_release(Task *task);
/* Of our own: everything that the client holds beyond what it may. */
int verb_truncate(Task *task);

/* Of our own: what of it is in bad blocks of the device, which are the tail, JobRange[request.n]. */
int verb_examine(Task *task);

/* Of our own: a file that was found unsealed, or whose worker has died on the way. */
void verb_reseal(TaskRunner *runner, PoolFile *pool);

/* Begin to get rid of a pool that nobody was granted. */
void verb_erase(TaskRunner *runner, PoolFile *pool);

/* Ascending, none empty, all in the file; no sum overflows 64 bits. */
bool verb_ranges_are_valid(const JobRange *ranges, uint32_t n, uint64_t length);
/* WORK_* flags of an order for the pool, and how long it may take where all of the pool may be overwritten. */
uint32_t verb_order_flags(const PoolFile *pool);
uint64_t verb_order_usec(const PoolFile *pool);
