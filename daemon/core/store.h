/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A store is a named capacity that pools are cut from. The core knows its figures only; where the memory is
 * and how the limit is held is the provisioner's business. `charged` never exceeds what was promised: it can
 * exceed the capacity only after a store became smaller than what was given out.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "proto/result.h"

typedef enum StoreKind {
        STORE_UNKNOWN,
        STORE_TMPFS,
        STORE_DIR,
        STORE_FSDAX,
        STORE_KMEM,
        _STORE_KIND_MAX,
} StoreKind;

const char *store_kind_to_string(StoreKind kind);

typedef enum StoreTested {
        STORE_NOT_TESTED,
        STORE_HOLDS,
        STORE_DOES_NOT_HOLD,
} StoreTested;

/* What the edge knows of a store, handed in by broker_set_stores(). */
typedef struct StoreInfo {
        char name[RESULT_SUBJECT_MAX];
        StoreKind kind;
        bool available;
        bool keeps_pools;
        bool audited;
        uint64_t capacity; /* bytes */
        uint32_t page_size;
        int node;        /* NUMA, that all its memory is of; -1: any */
        StoreTested dax; /* what the provisioner has tried out */
        StoreTested quota;
        StoreTested seal;
        uint32_t index; /* the provisioner's number for it */
        char reason[160];
} StoreInfo;

/* StoreInfo.index of a store that the provisioner does not serve any more: its old number may be
 * another's now. */
#define STORE_INDEX_NONE UINT32_MAX

typedef struct Store {
        StoreInfo info;
        uint64_t charged; /* bytes */
        bool pools_known; /* the edge has gone through what is in it since it became available */
        uint32_t n_pools;
        bool gone;               /* not served any more; here until its last pool goes */
        bool drained;            /* takes no new pools, as an administrator said */
        bool drained_configured; /* the configuration says so */
        uint64_t bad;            /* bytes of its device that cannot be read, as the edge knows */
        uint64_t created;        /* pools, since the store is known */
        uint64_t released;
        List store_link; /* Broker.stores, in configuration order */
} Store;

/* Bytes that can still be charged; 0 when not available. */
uint64_t store_free_bytes(const Store *store);

/* For the core alone. NULL when out of memory; a store that is freed has no pools. */
Store *store_new(const StoreInfo *info);
Store *store_free(Store *store);
void store_set_info(Store *store, const StoreInfo *info);
void store_set_unavailable(Store *store, const char *reason);
void store_set_gone(Store *store);
