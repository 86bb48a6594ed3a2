/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "provisioner/store-entry.h"

const StoreBackend *store_backend(JobStoreKind kind)
{
        static const StoreBackend *const backends[] = {&store_tmpfs, &store_dir, &store_fsdax, &store_kmem};

        for (size_t i = 0; i < ELEMENTSOF(backends); i++)
                if (backends[i]->kind == kind)
                        return backends[i];
        return NULL;
}

bool store_name_is_valid(const char *name)
{
        size_t n = strnlen(name, JOB_NAME_MAX);

        if (n == 0 || n >= JOB_NAME_MAX || name[0] == '.')
                return false;
        return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

int store_entry_refuse(StoreEntry *store, int error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        (void)vsnprintf(store->reason, sizeof(store->reason), format, args);
        va_end(args);
        return -abs(error);
}

static void store_entry_open(StoreEntry *store, const StoreContext *context)
{
        int r;

        /* It will be, when that is over, whatever has come of it. */
        if (store->deprovisioning)
                return;
        store->available = false;
        store->reason[0] = '\0';
        r = store->backend->open(store, context);
        if (r < 0) {
                if (!store->reason[0])
                        (void)store_entry_refuse(store, r, "%s", strerror(-r));
                if (r == -EINPROGRESS)
                        log_info("Store %s is being prepared", store->config.name);
                else
                        log_warning("Store %s is not available: %s", store->config.name, store->reason);
                return;
        }
        store->capacity -= store->capacity % JOB_UNIT;
        store->available = true;
}

void store_entry_reopen(StoreEntry *store, const StoreContext *context)
{
        if (!store->available)
                store_entry_open(store, context);
}

static int config_copy(const StoreConfig *config, StoreConfig *ret)
{
        char *path = NULL;

        if (config->path) {
                path = strdup(config->path);
                if (!path)
                        return -ENOMEM;
        }
        *ret = *config;
        ret->path = path;
        return 0;
}

int store_entry_new(uint32_t index, const StoreConfig *config, const StoreContext *context, StoreEntry **ret)
{
        _cleanup_(cleanup_store_entry_free) StoreEntry *store = NULL;
        const StoreBackend *backend = store_backend(config->kind);
        int r;

        if (!backend)
                return -EOPNOTSUPP;
        if (!store_name_is_valid(config->name))
                return -EINVAL;
        store = calloc(1, sizeof(*store));
        if (!store)
                return -ENOMEM;
        store->backend = backend;
        store->index = index;
        store->dir_fd = store->lock_fd = -EBADF;
        store->node = -1;
        r = config_copy(config, &store->config);
        if (r < 0)
                return r;
        store_entry_open(store, context);
        *ret = TAKE_PTR(store);
        return 0;
}

StoreEntry *store_entry_free(StoreEntry *store)
{
        if (!store)
                return NULL;
        while (store->pools.n > 0)
                store_entry_forget(store->pools.pools[store->pools.n - 1]);
        pool_table_deinit(&store->pools);
        store->backend->close(store);
        free(store->config.path);
        free(store);
        return NULL;
}

int store_entry_configure(StoreEntry *store, const StoreConfig *config, const StoreContext *context)
{
        StoreConfig copy;
        int r;

        r = config_copy(config, &copy);
        if (r < 0)
                return r;
        free(store->config.path);
        store->config = copy;
        store_entry_open(store, context);
        return 0;
}

void store_entry_forget(PoolFile *pool)
{
        pool_table_remove(&pool->store->pools, pool);
        (void)poolfile_free(pool);
}

bool store_entry_is_closed(const StoreEntry *store)
{
        if (store->closed)
                return true;
        for (size_t i = 0; i < store->pools.n; i++)
                if (store->pools.pools[i]->doubtful)
                        return true;
        return false;
}

uint64_t store_entry_surplus(StoreEntry *store)
{
        uint64_t surplus = 0, used;

        /* Elsewhere nothing is taken that is not the client's. */
        for (size_t i = 0; store->backend->sealed && i < store->pools.n; i++) {
                PoolFile *pool = store->pools.pools[i];
                if (!pool->releasing && store->backend->get_used(store, pool, &used) >= 0 &&
                        used > pool->limit)
                        surplus += used - pool->limit;
        }
        return surplus;
}

void store_entry_describe(const StoreEntry *store, JobStore *ret)
{
        *ret = (JobStore){
                .capacity = store->capacity,
                .index = store->index,
                .kind = store->config.kind,
                .page_size = store->page_size,
                .node = store->node,
                .flags = (store->available ? JOB_STORE_AVAILABLE : 0U) |
                         (store_entry_is_closed(store) ? JOB_STORE_CLOSED : 0U) |
                         (store->keeps ? JOB_STORE_KEEPS : 0U) |
                         (store->backend->audited ? JOB_STORE_AUDITED : 0U) | store->tested,
        };
        if (ret->flags & JOB_STORE_CLOSED) { /* for whoever adds up: it is full */
                ret->capacity = 0;
                for (size_t i = 0; i < store->pools.n; i++)
                        if (store->pools.pools[i]->committed)
                                ret->capacity += store->pools.pools[i]->limit;
        }
        memcpy(ret->name, store->config.name, sizeof(ret->name));
        memcpy(ret->reason, store->reason, sizeof(ret->reason));
}
