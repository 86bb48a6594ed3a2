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
int verb_release(Task *task);
/* Of our own: everything that the client holds beyond what it may. */
int verb_truncate(Task *task);

/* Begin to get rid of a pool that nobody was granted. */
void verb_erase(TaskRunner *runner, PoolFile *pool);
