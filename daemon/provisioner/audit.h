/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Once a second: the pools of stores whose kernel holds no limit are compared with theirs, what must stay
 * empty is emptied again, and what nobody was granted is tried to be erased again. Sleeps while there is
 * nothing of the kind.
 */

#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "provisioner/task.h"

typedef struct Audit Audit;

/* A pool was found with more than its limit, and is being truncated. */
typedef void (*AuditFindingFn)(void *userdata, const PoolFile *pool, uint64_t used);

/* `stores`: JOB_STORES_MAX entries, NULL where there is none; borrowed. */
int audit_new(sd_event *event, TaskRunner *runner, StoreEntry *const *stores, AuditFindingFn finding,
        void *userdata, Audit **ret);
/* NULL-safe, returns NULL. */
Audit *audit_free(Audit *audit);
DEFINE_CLEANUP(Audit, audit_free);

/* There is a new pool. */
void audit_wake(Audit *audit);
