/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "log.h"
#include "provisioner/adopt.h"
#include "provisioner/store-list.h"

void store_list_deinit(StoreList *list)
{
        for (uint32_t i = 0; i < JOB_STORES_MAX; i++)
                list->stores[i] = store_entry_free(list->stores[i]);
}

StoreEntry *store_list_get(const StoreList *list, uint32_t index)
{
        return index < JOB_STORES_MAX ? list->stores[index] : NULL;
}

uint64_t store_list_count_pools(const StoreList *list)
{
        uint64_t n = 0;

        for (uint32_t i = 0; i < JOB_STORES_MAX; i++)
                n += list->stores[i] ? list->stores[i]->pools.n : 0;
        return n;
}

static StoreEntry *find_store(const StoreList *list, const char *name)
{
        for (uint32_t i = 0; i < JOB_STORES_MAX; i++)
                if (list->stores[i] && strcmp(list->stores[i]->config.name, name) == 0)
                        return list->stores[i];
        return NULL;
}

static const StoreConfig *find_config(const StoreConfig *stores, uint32_t n_stores, const char *name)
{
        for (uint32_t i = 0; i < n_stores; i++)
                if (strcmp(stores[i].name, name) == 0)
                        return &stores[i];
        return NULL;
}

/* An index that was in use lately is not used again soon: a job may be on its way. */
static int free_index(StoreList *list, uint32_t *ret)
{
        for (uint32_t i = 0; i < JOB_STORES_MAX; i++) {
                uint32_t index = (list->next_index + i) % JOB_STORES_MAX;
                if (!list->stores[index]) {
                        list->next_index = index + 1;
                        *ret = index;
                        return 0;
                }
        }
        return -E2BIG;
}

int store_list_add(StoreList *list, TaskRunner *runner, const StoreConfig *config)
{
        uint32_t index = 0;
        int r;

        r = free_index(list, &index);
        if (r >= 0)
                r = store_entry_new(index, config, &list->context, &list->stores[index]);
        if (r < 0)
                return log_errno(LOG_ERR, r, "Store %.*s cannot be made", JOB_NAME_MAX, config->name);
        return list->stores[index]->available ? adopt_store(runner, list->stores[index]) : 0;
}

/* With pools in it, it was adopted before it became unavailable. */
static int adopt_if_new(TaskRunner *runner, StoreEntry *store, bool was_available)
{
        return store->available && !was_available && store->pools.n == 0 ? adopt_store(runner, store) : 0;
}

int store_list_reopen(StoreList *list, TaskRunner *runner, StoreEntry *store)
{
        bool was_available = store->available;

        store_entry_reopen(store, &list->context);
        return adopt_if_new(runner, store, was_available);
}

static int configure(StoreList *list, TaskRunner *runner, StoreEntry *store, const StoreConfig *config)
{
        bool was_available = store->available;
        int r;

        r = store_entry_configure(store, config, &list->context);
        if (r < 0)
                return r;
        return adopt_if_new(runner, store, was_available);
}

static bool stays(const StoreEntry *store, const StoreConfig *config)
{
        const char *a = store->config.path, *b = config ? config->path : NULL;

        return config && config->kind == store->config.kind && (a && b ? strcmp(a, b) == 0 : a == b) &&
               strcmp(config->region, store->config.region) == 0 &&
               strcmp(config->adopt, store->config.adopt) == 0;
}

int store_list_reload(StoreList *list, TaskRunner *runner, const StoreConfig *stores, uint32_t n_stores,
        const char **ret_store)
{
        int r = 0;

        for (uint32_t i = 0; i < JOB_STORES_MAX; i++) {
                const StoreEntry *store = list->stores[i];
                if (store && store->pools.n > 0 &&
                        !stays(store, find_config(stores, n_stores, store->config.name))) {
                        *ret_store = store->config.name;
                        return -EBUSY;
                }
        }
        for (uint32_t i = 0; i < JOB_STORES_MAX; i++) {
                StoreEntry *store = list->stores[i];
                if (store && !stays(store, find_config(stores, n_stores, store->config.name))) {
                        if (store->backend->leave)
                                store->backend->leave(store, &list->context);
                        list->stores[i] = store_entry_free(store);
                }
        }
        for (uint32_t i = 0; i < n_stores; i++) {
                StoreEntry *store = find_store(list, stores[i].name);
                int q = store ? configure(list, runner, store, &stores[i])
                              : store_list_add(list, runner, &stores[i]);
                if (r == 0)
                        r = q;
        }
        return r;
}
