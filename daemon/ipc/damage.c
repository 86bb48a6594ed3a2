/* SPDX-License-Identifier: BSD-3-Clause */

#include "ipc/damage.h"

#include <inttypes.h>
#include <stdio.h>

#include "ipc/chronicle.h"

void damage_of_pool(Server *server, Pool *pool, uint64_t bytes, uint64_t offset)
{
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Damaged damaged = PMBROKER__V1__DAMAGED__INIT;
        char text[96];

        if (bytes == pool->bad)
                return;
        pool->bad = bytes;
        (void)snprintf(text, sizeof(text), "%" PRIu64 " bytes, the first at %" PRIu64, bytes, offset);
        chronicle(server, &(Happening){
                                  .kind = PMBROKER__V1__HAPPENED_KIND__POOL_DAMAGED,
                                  .pool = pool,
                                  .bytes = pool->size,
                                  .bytes_before = pool->size,
                                  .text = text,
                          });
        damaged.pool = pool->id;
        damaged.bytes = bytes;
        damaged.offset = offset;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_DAMAGED;
        packet.damaged = &damaged;
        server_tell_owner(server, pool->owner, &packet, NULL);
}

static Store *find_store(const Server *server, uint32_t index)
{
        list_for_each (it, broker_stores(server->broker)) {
                Store *store = list_entry(it, Store, store_link);

                if (store->info.index == index && !store->gone)
                        return store;
        }
        return NULL;
}

void damage_of_store(Server *server, uint32_t index, uint64_t bytes)
{
        Store *store = find_store(server, index);
        char text[48];

        if (!store || bytes == store->bad)
                return;
        store->bad = bytes;
        (void)snprintf(text, sizeof(text), "%" PRIu64 " bytes", bytes);
        chronicle(server, &(Happening){
                                  .kind = PMBROKER__V1__HAPPENED_KIND__STORE_DAMAGED,
                                  .store = store->info.name,
                                  .text = text,
                          });
}
