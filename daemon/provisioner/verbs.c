/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "log.h"
#include "provisioner/admission.h"
#include "provisioner/record.h"
#include "provisioner/verbs.h"

#define PAGE_MAX UINT64_C(65536) /* bytes: the largest page of any machine */

/* Slower than any medium that is worth it. */
#define SCRUB_BYTES_PER_USEC 100

/* Empty files of one account that somebody has open. */
#define HELD_MAX 64

bool verb_ranges_are_valid(const JobRange *ranges, uint32_t n, uint64_t length)
{
        uint64_t end = 0;

        for (uint32_t i = 0; i < n; i++) {
                if (ranges[i].count == 0 || ranges[i].first < end)
                        return false;
                end = (uint64_t)ranges[i].first + ranges[i].count;
                if (end > length / JOB_UNIT)
                        return false;
        }
        return true;
}

uint32_t verb_order_flags(const PoolFile *pool)
{
        return (pool->store->config.scrub == SCRUB_RELEASE ? WORK_SCRUB : 0U) |
               (pool->releasing ? WORK_RELEASING : 0U);
}

/* What is overwritten takes its time. */
uint64_t verb_order_usec(const PoolFile *pool)
{
        return WORK_USEC +
               (pool->store->config.scrub == SCRUB_RELEASE ? pool->limit / SCRUB_BYTES_PER_USEC : 0);
}

static int write_record(const Task *task)
{
        const PoolFile *pool = task->pool;
        Record record = {
                .pool = pool->id,
                .limit = pool->store->backend->audited ? pool->limit : 0,
                .length = pool->length,
                .size = pool->record_size,
        };

        memcpy(record.bytes, pool->record, pool->record_size);
        return record_write(task->runner->records_fd, pool->store->config.name, &record);
}

/* ---------------------------------------------------------------------------------------------- create */

static int create_allocate(Task *task)
{
        PoolFile *pool = task->pool;
        const StoreEntry *store = pool->store;

        if (!store->config.allocate || store->backend->audited)
                return 0;
        WorkOrder order = {.op = WORK_ALLOCATE, .bytes = pool->limit, .length = pool->limit};
        return task_order(task, &order, ALLOCATE_USEC);
}

static int create_commit(Task *task)
{
        PoolFile *pool = task->pool;
        StoreEntry *store = pool->store;
        int r;

        task->client_fd = store->backend->open_client(store, pool);
        if (task->client_fd < 0)
                return task->client_fd;
        r = write_record(task);
        if (r < 0)
                return r;
        pool->committed = pool->counted = true;
        return 0;
}

int verb_create(Task *task)
{
        PoolFile *pool = task->pool;
        const StoreBackend *backend = pool->store->backend;
        int r = 0;

        switch (task->stage++) {
        case 0:
                r = admission_check(task, pool->limit);
                if (r >= 0) {
                        r = backend->create(pool->store, pool);
                        if (r < 0)
                                r = admission_failed(task, r);
                }
                if (r < 0) {
                        task->pool_gone = true;
                        break;
                }
                r = create_allocate(task);
                if (r == 0)
                        r = create_commit(task);
                if (r < 0) {
                        backend->erase(pool->store, pool);
                        task->pool_gone = true;
                }
                break;
        case 1:
                r = task->result.error < 0 ? admission_failed(task, task->result.error) : 0;
                if (r >= 0)
                        r = task_is_abandoned(task) ? -ECANCELED : create_commit(task);
                if (r < 0) /* there may be a lot of memory in it: not here */
                        verb_erase(task->runner, pool);
                break;
        }
        if (r < 0)
                task->client_fd = safe_close(task->client_fd);
        return r;
}

/* ------------------------------------------------------------------------------------- grow and shrink */

static int set_limit(PoolFile *pool, uint64_t bytes)
{
        int r = pool->store->backend->set_limit(pool->store, pool, bytes);

        if (r >= 0)
                pool->limit = bytes;
        return r;
}

/*
 * Where the record holds the limit, it is the commit point. Elsewhere the record of the length comes first:
 * a length that is too large for the limit is harmless, one that is too small would hide units that have
 * memory.
 */
static int grow_commit(Task *task)
{
        PoolFile *pool = task->pool;
        const bool audited = pool->store->backend->audited;
        uint64_t old_limit = pool->limit, old_length = pool->length;
        int r;

        if (task_is_abandoned(task))
                return -ECANCELED;
        r = admission_check(task, task->request.bytes);
        if (r < 0)
                return r;
        if (audited)
                pool->limit = task->request.bytes;
        pool->length = task->request.length;
        if (audited || pool->length != old_length) {
                r = write_record(task);
                if (r < 0) {
                        pool->limit = old_limit;
                        pool->length = old_length;
                        return r;
                }
        }
        if (audited)
                return 0;
        r = set_limit(pool, task->request.bytes);
        if (r < 0)
                return r;
        if (!pool->store->config.allocate || pool->limit == old_limit)
                return 0;
        task->old_limit = old_limit;
        WorkOrder order = {.op = WORK_ALLOCATE, .bytes = pool->limit, .length = pool->length};
        return task_order(task, &order, ALLOCATE_USEC);
}

/* Memory ran out on the way: the limit goes back as far as what is in use lets it. */
static int grow_undo(Task *task)
{
        PoolFile *pool = task->pool;
        uint64_t used;

        if (set_limit(pool, task->old_limit) == -EBUSY &&
                pool->store->backend->get_used(pool->store, pool, &used) >= 0) {
                used += JOB_UNIT - 1;
                used -= used % JOB_UNIT;
                if (used < pool->limit)
                        (void)set_limit(pool, used);
        }
        return admission_failed(task, task->result.error);
}

int verb_grow(Task *task)
{
        PoolFile *pool = task->pool;
        JobRequest *request = &task->request;

        if (pool->store->backend->sealed)
                return verb_resize(task);
        switch (task->stage++) {
        case 0:
                if (!pool_is_served(pool))
                        return -ESTALE;
                if (request->length < pool->length)
                        request->length = pool->length;
                if (request->bytes < pool->limit || request->length < request->bytes)
                        return -EINVAL;
                if (request->length > pool->length) {
                        /* First the file, which costs nothing and may hang, then the limit, which does
                         * neither. */
                        WorkOrder order = {.op = WORK_EXTEND, .length = request->length};
                        return task_order(task, &order, WORK_USEC);
                }
                task->stage++;
                return grow_commit(task);
        case 1:
                return task->result.error < 0 ? task->result.error : grow_commit(task);
        case 2:
                return task->result.error < 0 ? grow_undo(task) : 0;
        }
        return -EINVAL;
}

static int shrink_commit(Task *task)
{
        PoolFile *pool = task->pool;
        uint64_t old_limit = pool->limit;
        int r;

        if (task_is_abandoned(task))
                return -ECANCELED;
        r = set_limit(pool, task->request.bytes);
        if (r < 0 || !pool->store->backend->audited)
                return r;
        r = write_record(task);
        if (r < 0)
                (void)set_limit(pool, old_limit);
        return r;
}

int verb_shrink(Task *task)
{
        PoolFile *pool = task->pool;
        const JobRequest *request = &task->request;
        const JobRange *ranges = (const JobRange *)task->tail;

        if (pool->store->backend->sealed)
                return verb_resize(task);
        switch (task->stage++) {
        case 0:
                if (!pool_is_served(pool))
                        return -ESTALE;
                if (request->bytes > pool->limit || !verb_ranges_are_valid(ranges, request->n, pool->length))
                        return -EINVAL;
                if (request->n > 0) {
                        WorkOrder order = {.op = WORK_PUNCH, .n = request->n};
                        memcpy(order.ranges, ranges, request->n * sizeof(JobRange));
                        return task_order(task, &order, WORK_USEC);
                }
                task->stage++;
                return shrink_commit(task);
        case 1:
                return task->result.error < 0 ? task->result.error : shrink_commit(task);
        }
        return -EINVAL;
}

/* --------------------------------------------------------------------------------------------- release */

/*
 * What a client keeps open of a pool that is gone has no memory, but it is a file, of which there are not so many:
 * beyond some it is charged for the pool as if it had it still.
 */
static bool pool_may_linger(const PoolFile *pool)
{
        const PoolTable *table = &pool->store->pools;
        unsigned n = 0;

        if (pool->held)
                return true;
        for (size_t i = 0; i < table->n; i++)
                if (table->pools[i]->held && table->pools[i]->account == pool->account)
                        n++;
        return n < HELD_MAX;
}

static void pool_linger(Task *task)
{
        PoolFile *pool = task->pool;

        pool->held = pool->erasing = true;
        pool->committed = false;
        task->runner->hooks->erasing(task->runner->userdata);
}

int verb_release(Task *task)
{
        PoolFile *pool = task->pool;
        WorkOrder order = {
                .op = WORK_RELEASE, .bytes = task->request.bytes, .flags = verb_order_flags(pool)};
        int r;

        switch (task->stage++) {
        case 0:
                if (!pool->releasing) {
                        r = record_set_releasing(
                                task->runner->records_fd, pool->store->config.name, pool->id);
                        if (r < 0)
                                return r;
                        pool->releasing = true;
                }
                if (pool->lost)
                        return -ETIMEDOUT;
                return task_order(task, &order, verb_order_usec(pool));
        case 1:
                if (task->result.error < 0)
                        return task->result.error;
                if (task->result.flags & WORK_HELD && !pool_may_linger(pool))
                        return -ETIMEDOUT;
                if (task->result.left > PAGE_MAX)
                        log_notice("Store %s: pool %016" PRIx64 " is released, but for %" PRIu64
                                   " bytes that its client can keep as long as it has the file open",
                                pool->store->config.name, pool->id, task->result.left);
                r = record_remove(task->runner->records_fd, pool->store->config.name, pool->id);
                if (r < 0)
                        return r;
                if (task->result.flags & WORK_HELD)
                        pool_linger(task);
                else
                        task->pool_gone = true;
                return 0;
        }
        return -EINVAL;
}

void verb_erase(TaskRunner *runner, PoolFile *pool)
{
        pool->erasing = true;
        /* Without the memory for it, the audit tries again. */
        (void)task_begin(runner, verb_release, pool, NULL,
                &(JobRequest){.kind = JOB_RELEASE, .bytes = JOB_RELEASE_FINAL}, NULL, 0);
}

int verb_truncate(Task *task)
{
        if (task->stage++ == 0) {
                WorkOrder order = {.op = WORK_TRUNCATE};
                return task_order(task, &order, WORK_USEC);
        }
        return task->result.error;
}

int verb_examine(Task *task)
{
        const TaskHooks *hooks = task->runner->hooks;
        PoolFile *pool = task->pool;

        if (task->stage++ == 0) {
                WorkOrder order = {.op = WORK_EXAMINE, .n = task->request.n};
                memcpy(order.ranges, task->tail, order.n * sizeof(JobRange));
                return task_order(task, &order, WORK_USEC);
        }
        if (task->result.error < 0)
                return task->result.error;
        if (task->result.bytes > 0 || pool->bad > 0)
                hooks->damaged(task->runner->userdata, pool, task->result.bytes, task->result.length);
        pool->bad = task->result.bytes;
        return 0;
}
