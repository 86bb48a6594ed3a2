/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Which stores give out pools, as it was last told: each change is told once, by a record in the journal and an event,
 * whatever the way on which it came (a new list of stores, a provisioner that went away, a new configuration).
 */

#include <stdbool.h>
#include <stddef.h>

#include "ipc/server.h"
#include "provisioner/job.h"

typedef struct StoreTold {
        char name[RESULT_SUBJECT_MAX];
        bool available;
        char reason[JOB_REASON_MAX];
} StoreTold;

typedef struct StoresTold {
        StoreTold rows[JOB_STORES_MAX];
        size_t n;
} StoresTold;

/*
 * Tell what has changed since. `settled`: the list of stores is complete and nothing is on its way, so that why a store
 * is not available is news, too, and so is a store that is missing.
 */
void stores_told_update(StoresTold *told, Server *server, bool settled);
