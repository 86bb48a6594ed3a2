/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What a provisioner before us has left: files and records, matched. A file without a record was never
 * granted and is erased, a record without a file is erased too, a release that had begun is finished when
 * the broker asks for it.
 */

#include "provisioner/task.h"

/* Before anything is touched: -EPROTONOSUPPORT (logged) when a record is of a
 * version that we do not know. */
int adopt_check(int records_fd);

/* Fill an available store that has no pools yet. */
int adopt_store(TaskRunner *runner, StoreEntry *store);
