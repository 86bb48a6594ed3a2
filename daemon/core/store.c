/* SPDX-License-Identifier: BSD-3-Clause */

/* A named capacity that pools are cut from. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/store.h"

static const char *const kind_names[_STORE_KIND_MAX] = {
        [STORE_UNKNOWN] = "unknown",
        [STORE_TMPFS] = "tmpfs",
        [STORE_DIR] = "dir",
        [STORE_FSDAX] = "fsdax",
        [STORE_KMEM] = "kmem",
};

static void set_reason(Store *store, const char *reason)
{
        size_t length = strlen(reason);

        assert(length < sizeof(store->info.reason));
        memset(store->info.reason, 0, sizeof(store->info.reason));
        memcpy(store->info.reason, reason, length);
}

const char *store_kind_to_string(StoreKind kind)
{
        if ((unsigned)kind >= _STORE_KIND_MAX)
                return kind_names[STORE_UNKNOWN];
        return kind_names[kind];
}

Store *store_new(const StoreInfo *info)
{
        Store *store = calloc(1, sizeof(*store));

        if (!store)
                return NULL;
        list_init(&store->store_link);
        store_set_info(store, info);
        return store;
}

Store *store_free(Store *store)
{
        if (!store)
                return NULL;
        assert(store->n_pools == 0 && store->charged == 0);
        list_unlink(&store->store_link);
        free(store);
        return NULL;
}

void store_set_info(Store *store, const StoreInfo *info)
{
        assert(info->name[0] != '\0');
        assert(memchr(info->name, '\0', sizeof(info->name)));
        assert(memchr(info->reason, '\0', sizeof(info->reason)));
        store->info = *info;
        store->gone = false;
        if (!info->available)
                store->pools_known = false;
}

void store_set_unavailable(Store *store, const char *reason)
{
        store->info.available = store->pools_known = false;
        set_reason(store, reason);
}

void store_set_gone(Store *store)
{
        store_set_unavailable(store, "not configured any more");
        store->info.index = STORE_INDEX_NONE;
        store->gone = true;
}

uint64_t store_free_bytes(const Store *store)
{
        if (!store->info.available || store->charged >= store->info.capacity)
                return 0;
        return store->info.capacity - store->charged;
}
