/* SPDX-License-Identifier: BSD-3-Clause */

#include "stores-told.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "ipc/chronicle.h"

static StoreTold *find(StoresTold *told, const char *name)
{
        for (size_t i = 0; i < told->n; i++)
                if (strcmp(told->rows[i].name, name) == 0)
                        return &told->rows[i];
        return NULL;
}

static void tell(Server *server, const char *name, bool available, const char *text)
{
        chronicle(server, &(Happening){
                                  .kind = available ? PMBROKER__V1__HAPPENED_KIND__STORE_IS_AVAILABLE
                                                    : PMBROKER__V1__HAPPENED_KIND__STORE_NOT_AVAILABLE,
                                  .store = name,
                                  .text = text && *text ? text : NULL,
                          });
}

static void tell_store(StoresTold *told, Server *server, const StoreInfo *info, bool settled)
{
        StoreTold *row = find(told, info->name);
        char size[FORMAT_SIZE_MAX], text[FORMAT_SIZE_MAX + 16];

        if (row && row->available == info->available &&
                (info->available || !settled || strcmp(row->reason, info->reason) == 0))
                return;
        if (!row) {
                if (!settled || told->n == JOB_STORES_MAX)
                        return;
                row = &told->rows[told->n++];
                (void)snprintf(row->name, sizeof(row->name), "%s", info->name);
        }
        row->available = info->available;
        (void)snprintf(row->reason, sizeof(row->reason), "%s", info->reason);
        (void)snprintf(text, sizeof(text), "%s of %s", format_size(size, info->capacity),
                store_kind_to_string(info->kind));
        tell(server, info->name, info->available, info->available ? text : info->reason);
}

/* Stores that are gone are in the broker's list until their last pool is. */
static void forget_missing(StoresTold *told, Server *server)
{
        size_t kept = 0;

        for (size_t i = 0; i < told->n; i++) {
                const StoreTold *row = &told->rows[i];
                const Store *store = broker_find_store(server->broker, row->name);

                if (store && !store->gone)
                        told->rows[kept++] = *row;
                else if (row->available)
                        tell(server, row->name, /* available= */ false, "not configured any more");
        }
        told->n = kept;
}

void stores_told_update(StoresTold *told, Server *server, bool settled)
{
        if (settled)
                forget_missing(told, server);
        list_for_each (it, broker_stores(server->broker)) {
                const Store *store = list_entry(it, Store, store_link);

                if (!store->gone)
                        tell_store(told, server, &store->info, settled);
        }
}
