/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "provisioner/task.h"
#include "provisioner/verbs.h"

static void pool_run_next(PoolFile *pool);

static Task *task_free(Task *task)
{
        if (!task)
                return NULL;
        list_unlink(&task->pool_link);
        list_unlink(&task->task_link);
        safe_close(task->client_fd);
        free(task);
        return NULL;
}

/* What is expected of a world with clients in it. */
static bool error_is_ordinary(int error)
{
        switch (-error) {
        case EEXIST:
        case ENOENT:
        case EBUSY:
        case EINVAL:
        case ESTALE:
        case ETIMEDOUT:
        case ECANCELED:
                return true;
        }
        return false;
}

static void task_answer(Task *task, int error)
{
        const PoolFile *pool = task->pool;
        JobReply reply = {
                .kind = task->request.kind,
                .serial = task->request.serial,
                .store = pool->store->index,
                .pool = pool->id,
                .error = error,
        };

        if (!task->connection)
                return;
        if (!task->pool_gone && pool->fd >= 0) {
                reply.bytes = pool->limit;
                reply.length = pool->length;
                if (pool->store->backend->get_used(pool->store, task->pool, &reply.used) < 0)
                        reply.used = 0;
        }
        if (error == -ENOSPC)
                reply.used = task->taken;
        job_reply(task->connection, &reply, NULL, 0, error < 0 ? -EBADF : TAKE_FD(task->client_fd));
        task->connection = NULL;
}

/* Those that wait for a pool that hangs or is gone. */
static void pool_answer_waiting(PoolFile *pool, int error)
{
        list_for_each_safe (it, &pool->waiting) {
                Task *task = list_entry(it, Task, pool_link);
                task->pool_gone = error == -ENOENT;
                task_answer(task, task->pool_gone && task->request.kind == JOB_RELEASE ? 0 : error);
                (void)task_free(task);
        }
        pool->n_waiting = 0;
}

/* Returns true if the pool is still there. */
static bool task_end(Task *task, int r)
{
        PoolFile *pool = task->pool;
        StoreEntry *store = pool->store;

        if (r < 0 && !error_is_ordinary(r) && !(r == -ENOSPC && task->taken > 0))
                (void)log_errno(LOG_WARNING, r, "Store %s: job %u on pool %016" PRIx64 " failed",
                        store->config.name, task->request.kind, pool->id);
        if (task->request.kind == JOB_SHRINK && r >= 0)
                pool->gifts++;
        task_answer(task, r);
        pool->running = NULL;
        pool->stuck = false;
        bool gone = task->pool_gone;
        (void)task_free(task);
        if (gone) {
                pool_answer_waiting(pool, -ENOENT);
                store_entry_forget(pool);
        }
        return !gone;
}

/* Returns true if the task is over and its pool still there. */
static bool task_run(Task *task)
{
        int r = task->step(task);

        return r != TASK_PENDING && task_end(task, r);
}

static void pool_run_next(PoolFile *pool)
{
        Task *task;

        while (!pool->running && (task = list_first(&pool->waiting, Task, pool_link))) {
                list_unlink(&task->pool_link);
                pool->n_waiting--;
                pool->running = task;
                if (!task_run(task))
                        return;
        }
}

static void on_order_done(void *userdata, const WorkResult *result)
{
        Task *task = userdata;
        PoolFile *pool = task->pool;

        task->result = *result;
        if (pool->stuck)
                log_info("Store %s: the worker that hung on pool %016" PRIx64 " has ended",
                        pool->store->config.name, pool->id);
        if (task_run(task))
                pool_run_next(pool);
}

static void on_order_late(void *userdata)
{
        Task *task = userdata;
        PoolFile *pool = task->pool;

        log_warning("Store %s: a worker hangs on pool %016" PRIx64 " and is left behind (%u of them)",
                pool->store->config.name, pool->id, crew_hung(task->runner->crew));
        pool->stuck = true;
        task_answer(task, -ETIMEDOUT);
        pool_answer_waiting(pool, -ETIMEDOUT);
}

int task_order(Task *task, WorkOrder *order, uint64_t usec)
{
        PoolFile *pool = task->pool;
        const int fds[WORK_FDS_MAX] = {
                [WORK_FD_FILE] = pool->fd,
                [WORK_FD_STORE] = pool->store->dir_fd,
        };
        int r;

        order->kind = pool->store->config.kind;
        order->pool = pool->id;
        r = crew_submit(
                task->runner->crew, pool->account, order, fds, usec, on_order_done, on_order_late, task);
        return r < 0 ? r : TASK_PENDING;
}

int task_begin(TaskRunner *runner, TaskStep step, PoolFile *pool, JobConnection *connection,
        const JobRequest *request, const void *tail, size_t tail_size)
{
        Task *task = calloc(1, sizeof(*task) + tail_size);

        if (!task)
                return -ENOMEM;
        task->runner = runner;
        task->step = step;
        task->connection = connection;
        task->alone = !connection;
        task->pool = pool;
        task->request = *request;
        task->client_fd = -EBADF;
        if (tail_size > 0)
                memcpy(task->tail, tail, tail_size);
        list_init(&task->pool_link);
        list_append(&runner->tasks, &task->task_link);

        if (pool->stuck || pool->n_waiting >= TASK_WAITING_MAX) {
                task_answer(task, pool->stuck ? -ETIMEDOUT : -EBUSY);
                (void)task_free(task);
                return 0;
        }
        list_append(&pool->waiting, &task->pool_link);
        pool->n_waiting++;
        pool_run_next(pool);
        return 0;
}

void task_connection_closed(TaskRunner *runner, JobConnection *connection)
{
        list_for_each_safe (it, &runner->tasks) {
                Task *task = list_entry(it, Task, task_link);
                if (task->connection != connection)
                        continue;
                task->connection = NULL;
                if (task->pool->running != task) {
                        task->pool->n_waiting--;
                        (void)task_free(task);
                }
        }
}

void task_runner_deinit(TaskRunner *runner)
{
        runner->crew = crew_free(runner->crew);
        list_for_each_safe (it, &runner->tasks) {
                Task *task = list_entry(it, Task, task_link);
                if (task->pool->running == task)
                        task->pool->running = NULL;
                else
                        task->pool->n_waiting--;
                (void)task_free(task);
        }
        runner->records_fd = safe_close(runner->records_fd);
}
