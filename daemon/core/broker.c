/* SPDX-License-Identifier: BSD-3-Clause */

/* The broker itself: its life, its configuration, and what it can be asked for. The verbs that change
 * pools are in broker-pool.c and broker-resize.c, owners in owner.c. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/broker-internal.h"

static Tenant *tenant_from_link(const List *link)
{
        return list_entry(link, Tenant, tenant_link);
}

static Store *store_from_link(const List *link)
{
        return list_entry(link, Store, store_link);
}

static void free_tenants(List *tenants)
{
        list_for_each_safe (it, tenants)
                tenant_free(tenant_from_link(it));
}

static void free_stores(List *stores)
{
        list_for_each_safe (it, stores)
                store_free(store_from_link(it));
}

/* All of `from` behind what is in `to`, in order. */
static void move_links(List *to, List *from)
{
        while (!list_is_empty(from)) {
                List *link = from->next;

                list_unlink(link);
                list_append(to, link);
        }
}

int broker_new(Broker **ret)
{
        Broker *broker = calloc(1, sizeof(*broker));

        if (!broker)
                return -ENOMEM;
        list_init(&broker->tenants);
        list_init(&broker->stores);
        list_init(&broker->pools);
        list_init(&broker->owners);
        broker->stores_lost = true;
        *ret = broker;
        return 0;
}

Broker *broker_free(Broker *broker)
{
        if (!broker)
                return NULL;
        list_for_each_safe (it, &broker->pools)
                broker_remove_pool(broker, list_entry(it, Pool, broker_link));
        list_for_each_safe (it, &broker->owners)
                broker_free_owner(broker, list_entry(it, Owner, owner_link));
        free_stores(&broker->stores);
        free_tenants(&broker->tenants);
        assert(!broker->pools_by_id && !broker->owners_by_key);
        free(broker);
        return NULL;
}

/* Everything that can fail is done on a list of its own first; then the new configurations are swapped
 * in. */
int broker_set_tenants(Broker *broker, const TenantConfig *tenants, size_t n)
{
        List made = LIST_INIT(made), kept = LIST_INIT(kept);

        for (size_t i = 0; i < n; i++) {
                Tenant *tenant = tenant_new(&tenants[i], broker->last_account + i + 1);

                if (!tenant) {
                        free_tenants(&made);
                        return -ENOMEM;
                }
                list_append(&made, &tenant->tenant_link);
        }
        broker->last_account += n;

        list_for_each_safe (it, &made) {
                Tenant *tenant = tenant_from_link(it);
                Tenant *old = broker_find_tenant(broker, tenant_name(tenant));

                list_unlink(&tenant->tenant_link);
                if (old) {
                        tenant_reconfigure(old, tenant);
                        tenant_free(tenant);
                        tenant = old;
                        list_unlink(&tenant->tenant_link);
                }
                list_for_each (other, &kept)
                        assert(strcmp(tenant_name(tenant), tenant_name(tenant_from_link(other))) != 0);
                list_append(&kept, &tenant->tenant_link);
        }
        list_for_each_safe (it, &broker->tenants) {
                Tenant *tenant = tenant_from_link(it);

                if (tenant->n_pools == 0)
                        tenant_free(tenant);
                else
                        tenant_retire(tenant);
        }
        move_links(&kept, &broker->tenants);
        move_links(&broker->tenants, &kept);
        return 0;
}

int broker_set_stores(Broker *broker, const StoreInfo *stores, size_t n)
{
        List made = LIST_INIT(made), kept = LIST_INIT(kept);

        for (size_t i = 0; i < n; i++) {
                Store *store = store_new(&stores[i]);

                if (!store) {
                        free_stores(&made);
                        return -ENOMEM;
                }
                list_append(&made, &store->store_link);
        }

        list_for_each_safe (it, &made) {
                Store *store = store_from_link(it);
                Store *old = broker_find_store(broker, store->info.name);

                list_unlink(&store->store_link);
                if (old) {
                        store_set_info(old, &store->info);
                        store_free(store);
                        store = old;
                        list_unlink(&store->store_link);
                }
                list_for_each (other, &kept)
                        assert(strcmp(store->info.name, store_from_link(other)->info.name) != 0);
                list_append(&kept, &store->store_link);
        }
        list_for_each_safe (it, &broker->stores) {
                Store *store = store_from_link(it);

                if (store->n_pools == 0)
                        store_free(store);
                else
                        store_set_gone(store);
        }
        move_links(&kept, &broker->stores);
        move_links(&broker->stores, &kept);
        broker->stores_lost = false;
        return 0;
}

void broker_stores_lost(Broker *broker)
{
        broker->stores_lost = true;
        list_for_each (it, &broker->stores)
                store_set_unavailable(store_from_link(it), "the provisioner is away");
}

void broker_set_unavailable(Broker *broker, const char *name, const char *reason)
{
        Store *store = broker_find_store(broker, name);

        if (store && !broker->stores_lost)
                store_set_unavailable(store, reason);
}

const List *broker_stores(const Broker *broker)
{
        return &broker->stores;
}

const List *broker_tenants(const Broker *broker)
{
        return &broker->tenants;
}

Tenant *broker_tenant_from_link(const List *link)
{
        return tenant_from_link(link);
}

const List *broker_pools(const Broker *broker)
{
        return &broker->pools;
}

const List *broker_owners(const Broker *broker)
{
        return &broker->owners;
}

BrokerFigures broker_figures(const Broker *broker)
{
        BrokerFigures figures = {.refusals = broker->refusals};

        list_for_each (it, &broker->pools) {
                figures.pools++;
                if (list_entry(it, Pool, broker_link)->state == POOL_RELEASING)
                        figures.releasing++;
        }
        list_for_each (it, &broker->stores)
                if (__builtin_add_overflow(figures.bytes, store_from_link(it)->charged, &figures.bytes))
                        figures.bytes = UINT64_MAX;
        return figures;
}

Store *broker_find_store(const Broker *broker, const char *name)
{
        list_for_each (it, &broker->stores) {
                Store *store = store_from_link(it);

                if (strcmp(store->info.name, name) == 0)
                        return store;
        }
        return NULL;
}

Tenant *broker_find_tenant(const Broker *broker, const char *name)
{
        list_for_each (it, &broker->tenants) {
                Tenant *tenant = tenant_from_link(it);

                if (strcmp(tenant_name(tenant), name) == 0)
                        return tenant;
        }
        return NULL;
}

Pool *broker_find_pool(const Broker *broker, uint64_t id)
{
        PoolEntry *entry;

        HASH_FIND(by_id, broker->pools_by_id, &id, sizeof(id), entry);
        return entry ? &entry->pool : NULL;
}

Result broker_answer(Broker *broker, Tenant *tenant, Result result)
{
        if (result == RESULT_OK)
                return result;
        broker->refusals++;
        if (tenant)
                tenant->refused++;
        return result;
}
