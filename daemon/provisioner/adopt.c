/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "log.h"
#include "provisioner/record.h"
#include "provisioner/adopt.h"
#include "provisioner/verbs.h"

#define BYTES_MAX (UINT64_C(1) << 46)

static int check_record(const char *store, uint64_t id, bool releasing, void *userdata)
{
        const int *records_fd = userdata;
        Record record;
        int r;

        r = record_read(*records_fd, store, id, releasing, &record);
        if (r != -EPROTONOSUPPORT)
                return 0; /* whatever else is wrong with it is found again where it matters */
        return log_errno(LOG_ERR, r,
                "The record of pool %016" PRIx64
                " in store %s is of a version that this program does not know: "
                "a newer one must have written it, and must go on",
                id, store);
}

int adopt_check(int records_fd)
{
        return record_for_each(records_fd, check_record, &records_fd);
}

static uint64_t round_up(uint64_t bytes)
{
        if (bytes > BYTES_MAX)
                return BYTES_MAX;
        return (bytes + JOB_UNIT - 1) / JOB_UNIT * JOB_UNIT;
}

/* Without its record nothing is known but what the file looks like, and that is the client's doing. */
static void guess_figures(PoolFile *pool)
{
        struct stat st;

        if (fstat(pool->fd, &st) < 0)
                st = (struct stat){};
        pool->limit = round_up((uint64_t)st.st_blocks * 512);
        if (pool->limit == 0)
                pool->limit = JOB_UNIT;
        pool->length = round_up((uint64_t)st.st_size);
}

static int on_found(StoreEntry *store, uint64_t id, int taken_fd, void *userdata)
{
        TaskRunner *runner = userdata;
        _cleanup_close_ int fd = taken_fd;
        _cleanup_(cleanup_poolfile_free) PoolFile *pool = NULL;
        const char *name = store->config.name;
        Record record = {};
        bool releasing = true;
        int found, r;

        found = record_read(runner->records_fd, name, id, releasing, &record);
        if (found == -ENOENT) {
                releasing = false;
                found = record_read(runner->records_fd, name, id, releasing, &record);
        }
        if (found < 0 && found != -ENOENT && found != -EBADMSG)
                return found;

        r = poolfile_new(store, id, record.bytes, record.size, &pool);
        if (r < 0)
                return r;
        pool->fd = TAKE_FD(fd);
        if (found == -ENOENT || pool->fd < 0) {
                log_info("Store %s: pool %016" PRIx64 " was not granted, erasing it", name, id);
                pool->erasing = true;
        } else if (found == -EBADMSG) {
                log_warning("Store %s: the record of pool %016" PRIx64 " is damaged, it is to be released",
                        name, id);
                pool->committed = pool->releasing = true;
                guess_figures(pool);
        } else {
                pool->committed = true;
                pool->releasing = releasing;
                pool->limit = record.limit;
                pool->length = record.length;
        }
        if (pool->fd >= 0) {
                r = store->backend->adopt ? store->backend->adopt(store, pool)
                                          : store->backend->get_limit(store, pool, &pool->limit);
                if (r < 0)
                        return r;
        }
        if (pool->releasing) /* it may be at any step down */
                pool->limit = round_up(pool->limit);
        if (pool->length < pool->limit)
                pool->length = pool->limit;
        r = pool_table_add(&store->pools, pool);
        if (r < 0)
                return r;
        (void)TAKE_PTR(pool);
        return 0;
}

typedef struct Matching {
        TaskRunner *runner;
        StoreEntry *store;
        size_t n_erased;
} Matching;

static int match_record(const char *name, uint64_t id, bool releasing, void *userdata)
{
        Matching *matching = userdata;
        int r;

        (void)releasing;
        if (strcmp(name, matching->store->config.name) != 0 || pool_table_find(&matching->store->pools, id))
                return 0;
        r = record_remove(matching->runner->records_fd, name, id);
        if (r >= 0)
                matching->n_erased++;
        return r;
}

int adopt_store(TaskRunner *runner, StoreEntry *store)
{
        Matching matching = {.runner = runner, .store = store};
        size_t n = 0;
        int r;

        r = store->backend->scan(store, on_found, runner);
        if (r >= 0)
                r = record_for_each(runner->records_fd, match_record, &matching);
        if (r < 0)
                return log_errno(
                        LOG_ERR, r, "Store %s: what is there cannot be found out", store->config.name);
        /* From the end: a pool may go on the way. */
        for (size_t i = store->pools.n; i-- > 0;)
                if (store->pools.pools[i]->erasing) {
                        verb_erase(runner, store->pools.pools[i]);
                } else {
                        n++;
                        if (store->pools.pools[i]->doubtful)
                                verb_reseal(runner, store->pools.pools[i]);
                }
        if (n > 0 || matching.n_erased > 0)
                log_info("Store %s: found %zu pools; %zu others are gone", store->config.name, n,
                        matching.n_erased);
        return 0;
}
