/* SPDX-License-Identifier: BSD-3-Clause */

/* Choosing a store. One pass per candidate instead of a sorted array: stores are few, and nothing can
 * fail. */

#include "core/placement.h"
#include "core/tenant-internal.h"

Store *placement_next(const List *stores, const Tenant *tenant, const Store *previous)
{
        uint64_t below = previous ? store_free_bytes(previous) : UINT64_MAX;
        bool passed = !previous;
        Store *best = NULL;

        list_for_each (it, stores) {
                Store *store = list_entry(it, Store, store_link);
                uint64_t bytes = store_free_bytes(store);

                if (store == previous) {
                        passed = true;
                        continue;
                }
                /* Ranked before `previous`: more free bytes, or as many and configured earlier. */
                if (bytes > below || (bytes == below && !passed))
                        continue;
                if (!store->info.available || store->drained || !tenant_may_use(tenant, store))
                        continue;
                if (!best || bytes > store_free_bytes(best))
                        best = store;
        }
        return best;
}
