/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The stores that are served, each under the number that jobs name it by. */

#include "provisioner/task.h"

typedef struct StoreList {
        StoreContext context;
        StoreEntry *stores[JOB_STORES_MAX]; /* NULL where there is none */
        uint32_t next_index;
} StoreList;

/* Forgets the pools, and closes the stores. */
void store_list_deinit(StoreList *list);

StoreEntry *store_list_get(const StoreList *list, uint32_t index); /* NULL: there is none */
uint64_t store_list_count_pools(const StoreList *list);

/* Open a store again that was not available, and adopt what is in it. */
int store_list_reopen(StoreList *list, TaskRunner *runner, StoreEntry *store);

/* Open a store and adopt what is in it. One that is not available is added all the same. */
int store_list_add(StoreList *list, TaskRunner *runner, const StoreConfig *config);

/*
 * Make the list what the configuration says. -EBUSY, and nothing has changed, when a store that holds pools
 * would go or move; *ret_store is its name. Another error is that of the first store that could not be made:
 * the others were.
 */
int store_list_reload(StoreList *list, TaskRunner *runner, const StoreConfig *stores, uint32_t n_stores,
        const char **ret_store);
