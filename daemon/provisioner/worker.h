/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One forked child that carries out one work order after the other. It holds nothing of ours but its socket,
 * so it may hang for as long as it likes; when we die it finishes what it does and exits.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "provisioner/work.h"

typedef struct Worker Worker;

/* The answer; the worker is idle again. May free the worker. */
typedef void (*WorkerDoneFn)(Worker *worker, const WorkResult *result, void *userdata);

struct Worker {
        sd_event_source *answer_source;
        sd_event_source *exit_source;
        int fd;
        int pidfd;
        bool busy;
        bool dead; /* has exited: of no more use */
        void *job; /* the user's */
        WorkerDoneFn done;
        void *userdata;
        List worker_link; /* the user's */
};

/* Fork one; there must be no second thread. `done` is also called, with -EIO or (when it was killed, as by
 * the OOM killer) -ENOMEM, for a busy worker that dies, and with NULL for an idle one. */
int worker_new(sd_event *event, WorkFn work, WorkerDoneFn done, void *userdata, Worker **ret);
/* A busy one finishes by itself, an idle one exits. NULL-safe, returns NULL. */
Worker *worker_free(Worker *worker);
DEFINE_CLEANUP(Worker, worker_free);

/* Have an idle one exit; `done` tells when it has. */
void worker_retire(Worker *worker);

/* The worker must be idle. `fds`: -EBADF where there is none; they stay the caller's. */
int worker_give(Worker *worker, const WorkOrder *order, const int fds[static WORK_FDS_MAX]);
