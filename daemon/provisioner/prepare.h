/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Provisioning takes what time it takes, and what it calls may wait for hardware: it is done in children, one for each
 * task, that report over a socket. A store that is being prepared is not available, and its reason says how far it is.
 * Tasks that change something are one at a time per store; those that only look run beside them.
 *
 * A child ends with us: what it leaves half-made is found by the next.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "provisioner/job-connection.h"
#include "provisioner/store-entry.h"

#define PREPARE_DRAIN_USEC (UINT64_C(30) * 1000000) /* that pools have to go before a deprovision */

typedef enum PrepareTask {
        PREPARE_REGIONS,
        PREPARE_PLAN,
        PREPARE_SERVE, /* without making anything that was not there before */
        PREPARE_APPLY,
        PREPARE_DEPROVISION,
} PrepareTask;

typedef struct PreparerHooks {
        /* A store has become unavailable, or its reason has changed. */
        void (*progress)(void *userdata, StoreEntry *store);
        /* A task that may have changed something is over; `error` is 0 or negative. Its last step is store->reason. */
        void (*done)(void *userdata, StoreEntry *store, PrepareTask task, int error);
        void *userdata;
} PreparerHooks;

/* The fds are borrowed. */
int preparer_new(sd_event *event, int lock_dir, int mnt_fd, const PreparerHooks *hooks, Preparer **ret);
/* Ends what is under way. NULL-safe, returns NULL. */
Preparer *preparer_free(Preparer *preparer);
DEFINE_CLEANUP(Preparer, preparer_free);

/*
 * Begin a task for a store (REGIONS: NULL), and answer the job (NULL: nobody asked) when it is over. SERVE and APPLY
 * that nobody asked for are begun again, now and then, while the device is not there. DEPROVISION waits until the store
 * has no pools. While a change is under way, another SERVE or APPLY waits for the end of that, an APPLY is done after a
 * SERVE that did not succeed, and DEPROVISION is -EALREADY.
 */
int preparer_start(Preparer *preparer, StoreEntry *store, PrepareTask task, JobConnection *connection,
        const JobRequest *request);
/*
 * For StoreBackend.open(), whose answer it returns: what is to be served was not found, for that reason. If it is not
 * made yet, begin; what else it may be would not be mended by that, and found again when it is done.
 */
int preparer_open(Preparer *preparer, StoreEntry *store, int error);
/* The store goes. */
void preparer_stop(Preparer *preparer, StoreEntry *store);
void preparer_connection_closed(Preparer *preparer, JobConnection *connection);
