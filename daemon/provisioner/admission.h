/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Whether a store has what a pool is to get, where that is not only a matter of its capacity (StoreBackend.get_free).
 * Without being asked before, the kernel would look for a process to kill.
 */

#include "provisioner/task.h"

/* The pool, new or not, is to have this limit. -ENOSPC: there is not so much; task->taken says what is left. */
int admission_check(Task *task, uint64_t limit);

/* It was not there any more when it was taken. Returns what to answer instead of `error`. */
int admission_failed(Task *task, int error);
