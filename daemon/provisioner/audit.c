/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/parse.h"
#include "log.h"
#include "provisioner/audit.h"
#include "provisioner/verbs.h"

#define PERIOD_USEC   USEC_PER_SEC
#define ACCURACY_USEC (USEC_PER_SEC / 20)

struct Audit {
        sd_event_source *timer;
        bool awake;
        TaskRunner *runner;
        StoreEntry *const *stores;
        AuditFindingFn finding;
        void *userdata;
};

static void audit_pool(Audit *audit, PoolFile *pool)
{
        StoreEntry *store = pool->store;
        uint64_t used;

        if (store->backend->get_used(store, pool, &used) < 0 || used == 0)
                return;
        if (!pool->releasing && !pool->cheat && used > pool->limit + AUDIT_TOLERANCE) {
                pool->cheat = true;
                log_warning("Store %s: pool %016" PRIx64 " has %" PRIu64 " bytes, its limit is %" PRIu64
                            "; it is truncated",
                        store->config.name, pool->id, used, pool->limit);
                audit->finding(audit->userdata, pool, used);
        }
        if (pool->releasing || pool->cheat)
                (void)task_begin(audit->runner, verb_truncate, pool, NULL, &(JobRequest){}, NULL, 0);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
        Audit *audit = userdata;
        bool needed = false;

        for (uint32_t i = 0; i < JOB_STORES_MAX; i++) {
                StoreEntry *store = audit->stores[i];
                if (!store)
                        continue;
                /* From the end: a pool may go on the way. */
                for (size_t j = store->pools.n; j-- > 0;) {
                        PoolFile *pool = store->pools.pools[j];
                        if (!pool->erasing && !store->backend->audited)
                                continue;
                        needed = true;
                        if (pool->running || (pool->held && store->backend->is_held(pool)))
                                continue;
                        if (pool->erasing)
                                verb_erase(audit->runner, pool);
                        else
                                audit_pool(audit, pool);
                }
        }
        audit->awake = needed;
        if (needed) {
                (void)sd_event_source_set_time(source, usec + PERIOD_USEC);
                (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        return 0;
}

int audit_new(sd_event *event, TaskRunner *runner, StoreEntry *const *stores, AuditFindingFn finding,
        void *userdata, Audit **ret)
{
        _cleanup_(cleanup_audit_free) Audit *audit = calloc(1, sizeof(*audit));
        int r;

        if (!audit)
                return -ENOMEM;
        audit->runner = runner;
        audit->stores = stores;
        audit->finding = finding;
        audit->userdata = userdata;
        r = sd_event_add_time_relative(
                event, &audit->timer, CLOCK_MONOTONIC, PERIOD_USEC, ACCURACY_USEC, on_tick, audit);
        if (r < 0)
                return r;
        audit->awake = true;
        *ret = TAKE_PTR(audit);
        return 0;
}

Audit *audit_free(Audit *audit)
{
        if (!audit)
                return NULL;
        (void)sd_event_source_disable_unref(audit->timer);
        free(audit);
        return NULL;
}

void audit_wake(Audit *audit)
{
        if (audit->awake)
                return;
        if (sd_event_source_set_time_relative(audit->timer, PERIOD_USEC) >= 0 &&
                sd_event_source_set_enabled(audit->timer, SD_EVENT_ONESHOT) >= 0)
                audit->awake = true;
}
