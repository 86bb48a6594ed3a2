/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Pools of which each is a tmpfs mount of its own, whose size is the pool's limit, with one file in it, below STATE_DIR/mnt in
 * the provisioner's own mount namespace:
 *
 *     STATE_DIR/mnt/STORE/00c0ffee00c0ffee/pool
 *
 * The size of the mount is the limit and the only place where it is kept. It counts the pages of the file
 * and nothing else: neither the file itself nor its name costs a page. A client can truncate its file to any
 * length, which gives it no memory.
 *
 * What the stores of the kinds tmpfs and kmem have in common. The functions are those of a StoreBackend.
 */

#include "provisioner/store-entry.h"

/* HugePages= as an option of tmpfs. */
const char *tmpfs_pools_huge(HugePages huge);

/* Memory of this node only (-1: any). Sets dir_fd, page_size, keeps; what it keeps is in store->data. */
int tmpfs_pools_open(StoreEntry *store, const StoreContext *context, int node);
void tmpfs_pools_close(StoreEntry *store);

int tmpfs_pools_scan(StoreEntry *store, StoreFoundFn found, void *userdata);
int tmpfs_pool_create(StoreEntry *store, PoolFile *pool);
int tmpfs_pool_open_client(StoreEntry *store, PoolFile *pool);
void tmpfs_pool_erase(StoreEntry *store, PoolFile *pool);
int tmpfs_pool_get_limit(StoreEntry *store, PoolFile *pool, uint64_t *ret_bytes);
int tmpfs_pool_set_limit(StoreEntry *store, PoolFile *pool, uint64_t bytes);
int tmpfs_pool_get_used(StoreEntry *store, PoolFile *pool, uint64_t *ret_bytes);
int tmpfs_pool_work(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result);
