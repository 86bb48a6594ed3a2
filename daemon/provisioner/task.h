/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A job on a pool, from its arrival to its answer. Tasks of one pool run one after the other; the one that
 * runs goes through the steps of its verb (verbs.h), between which a worker may have an order to carry out.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "provisioner/crew.h"
#include "provisioner/job-connection.h"
#include "provisioner/store-entry.h"

#define TASK_WAITING_MAX 32 /* behind the one that runs, on one pool */

/* What the provisioner is told of tasks. */
typedef struct TaskHooks {
        /* A client was caught: `used` is what its pool has. */
        void (*finding)(void *userdata, const PoolFile *pool, uint64_t used);
        /* Of a pool `bytes` cannot be read, the first at `offset`; 0: all can again. */
        void (*damaged)(void *userdata, const PoolFile *pool, uint64_t bytes, uint64_t offset);
        /* There is a pool to be erased by and by. */
        void (*erasing)(void *userdata);
        /* A store has been closed, or is not in doubt any more. */
        void (*stores_changed)(void *userdata);
} TaskHooks;

/* What all tasks share. */
typedef struct TaskRunner {
        const TaskHooks *hooks;
        void *userdata;
        Crew *crew;
        int records_fd;
        List tasks; /* Task.task_link */
} TaskRunner;

/* Returns 0 when the verb is done, a negative errno when it failed, TASK_PENDING after a successful
 * task_order(): it is then called again with the result. */
typedef int (*TaskStep)(Task *task);
#define TASK_PENDING 1

struct Task {
        TaskRunner *runner;
        TaskStep step;
        unsigned stage;            /* the verb's: 0 at first */
        JobConnection *connection; /* NULL: nobody waits for the answer, not any more or from the start */
        PoolFile *pool;
        bool pool_gone; /* set by the verb: the pool is to be forgotten */
        bool alone;     /* nobody has asked for it: it is ours */
        WorkResult result;
        int client_fd; /* goes with the answer */
        uint64_t old_limit;
        uint64_t taken; /* for -ENOSPC: see JOB_CREATE */
        bool resealed;  /* the worker died, and another one cleans up */
        List pool_link;
        List task_link;
        JobRequest request;
        uint64_t tail[]; /* aligned for anything */
};

/*
 * A broker that has given up, or is gone, charges for what it last knew: then nothing may change any more that is
 * charged for.
 */
static inline bool task_is_abandoned(const Task *task)
{
        return !task->connection && !task->alone;
}

/*
 * Begin a job on a pool, or queue it behind what runs there; it will be answered, and may be before this
 * returns, with the pool gone. `connection` NULL: a task of our own. -ENOMEM: nothing has begun and nobody
 * was answered.
 */
int task_begin(TaskRunner *runner, TaskStep step, PoolFile *pool, JobConnection *connection,
        const JobRequest *request, const void *tail, size_t tail_size);

/* The connection is gone: what has not begun is dropped, what has is not told. */
void task_connection_closed(TaskRunner *runner, JobConnection *connection);

/* For verbs: give an order to a worker; op, bytes, length and ranges are filled in. The step is then
 * TASK_PENDING. */
int task_order(Task *task, WorkOrder *order, uint64_t usec);

/* At the end: forget all. */
void task_runner_deinit(TaskRunner *runner);
