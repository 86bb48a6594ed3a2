/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Grow and shrink where a client cannot change its file, and we only by unsealing it: a whole resize is one order, and
 * what is so afterwards the worker tells. Nothing is recorded, as the file says it all.
 */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "log.h"
#include "provisioner/admission.h"
#include "provisioner/seal.h"
#include "provisioner/verbs.h"

static int resize_begin(Task *task)
{
        PoolFile *pool = task->pool;
        const JobRequest *request = &task->request;
        const JobRange *ranges = (const JobRange *)task->tail;
        WorkOrder order = {
                .op = WORK_RESIZE,
                .bytes = request->bytes,
                .length = request->length > pool->length ? request->length : pool->length,
                .n = request->n,
                .flags = verb_order_flags(pool),
        };

        if (!pool_is_served(pool))
                return -ESTALE;
        if (task_is_abandoned(task))
                return -ECANCELED;
        if (request->kind == JOB_GROW ? request->bytes < pool->limit || order.length < request->bytes
                                      : request->bytes > pool->limit)
                return -EINVAL;
        if (!verb_ranges_are_valid(ranges, request->n, pool->length))
                return -EINVAL;
        if (request->kind == JOB_GROW && request->bytes > pool->limit && store_entry_is_closed(pool->store))
                return -ENOSPC;
        if (request->kind == JOB_SHRINK && request->n == 0)
                return request->bytes == pool->limit ? 0 : -EBUSY;
        if (request->n > 0)
                memcpy(order.ranges, ranges, request->n * sizeof(JobRange));
        task->old_limit = pool->limit;
        int r = task_order(task, &order, verb_order_usec(pool));
        /* A broker that comes anew meanwhile is to charge for what may be so. */
        if (r == TASK_PENDING && request->kind == JOB_GROW)
                pool->limit = request->bytes;
        return r;
}

static void tell_on(Task *task, uint64_t used)
{
        PoolFile *pool = task->pool;

        if (pool->cheat)
                return;
        pool->cheat = true;
        log_warning("Store %s: pool %016" PRIx64 " has %" PRIu64 " bytes, it should have %" PRIu64
                    "; it is not served any more",
                pool->store->config.name, pool->id, used, task->old_limit);
        task->runner->hooks->finding(task->runner->userdata, pool, used);
}

/* Nobody knows how far a worker has come that died; one that had not begun has left everything as it was. */
static int resize_clean_up(Task *task)
{
        PoolFile *pool = task->pool;
        bool sealed = true;

        pool->limit = task->old_limit;
        if (seal_get(pool->fd, &sealed) < 0 || sealed)
                return task->result.error;
        if (task->resealed) {
                tell_on(task, pool->limit);
                return task->result.error;
        }
        task->resealed = true;
        task->stage--;
        WorkOrder order = {.op = WORK_SEAL};
        return task_order(task, &order, WORK_USEC);
}

/* Whether the broker charges for something else than what is there, and will not be told. */
static bool is_charged_wrongly(const Task *task, uint64_t told)
{
        uint64_t bytes = task->result.bytes;

        if (task->resealed)
                return bytes != task->old_limit;
        if (!task_is_abandoned(task))
                return false;
        /* The one that asked has given up, or there is another one by now, which was told what we had hoped for. */
        return task->pool->stuck ? bytes > task->old_limit : task->request.kind == JOB_GROW && bytes != told;
}

static int resize_end(Task *task)
{
        PoolFile *pool = task->pool;
        const WorkResult *result = &task->result;
        uint64_t told = pool->limit;

        if (result->bytes == 0)
                return resize_clean_up(task);
        pool->limit = result->bytes;
        pool->length = result->length;
        if (result->flags & WORK_RACED || is_charged_wrongly(task, told))
                tell_on(task, result->bytes);
        if (result->error < 0)
                return admission_failed(task, result->error);
        return task->resealed ? -EIO : 0;
}

int verb_resize(Task *task)
{
        return task->stage++ == 0 ? resize_begin(task) : resize_end(task);
}

static int step_reseal(Task *task)
{
        PoolFile *pool = task->pool;
        StoreEntry *store = pool->store;

        if (task->stage++ == 0) {
                WorkOrder order = {.op = WORK_SEAL, .flags = verb_order_flags(pool)};
                return task_order(task, &order, WORK_USEC);
        }
        /* It may have been the last moment of a worker that was left behind. */
        if (task->result.error < 0 || task->result.flags & WORK_UNSEALED)
                store->backend->distrust(store);
        if (task->result.error >= 0 && !pool->releasing && task->result.bytes > 0) {
                pool->limit = task->result.bytes;
                pool->length = task->result.length;
        }
        pool->doubtful = false;
        task->runner->hooks->stores_changed(task->runner->userdata);
        return task->result.error;
}

void verb_reseal(TaskRunner *runner, PoolFile *pool)
{
        if (task_begin(runner, step_reseal, pool, NULL, &(JobRequest){}, NULL, 0) < 0)
                pool->store->backend->distrust(pool->store);
}
