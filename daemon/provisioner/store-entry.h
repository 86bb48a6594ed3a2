/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* One store of the configuration, and its pools. What its kind does is behind the backend. */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "provisioner/poolfile.h"
#include "provisioner/store-backend.h"
#include "provisioner/store-config.h"

typedef struct Preparer Preparer;

#define STORE_DEPROVISIONED \
        "deprovisioned: remove it from the configuration, or pmbrokerctl provision --apply makes it again"

/* What stores are opened with. */
typedef struct StoreContext {
        int mnt_fd;         /* STATE_DIR/mnt in our mount namespace; -EBADF: no namespace, no mounts */
        bool has_fd_keeper; /* the namespace survives a restart */
        Preparer *preparer; /* NULL: no namespace */
} StoreContext;

struct StoreEntry {
        const StoreBackend *backend;
        void *data; /* the backend's */
        StoreConfig config;
        uint32_t index;
        bool available;
        bool keeps;
        bool closed; /* no new pools; the reason says why */
        uint64_t capacity;
        uint32_t page_size;
        int node;           /* NUMA, that all its memory is of; -1: any */
        uint32_t tested;    /* JOB_STORE_TESTED, with what the self-test found */
        bool deprovisioned; /* on an administrator's demand */
        bool deprovisioning;
        int dir_fd;  /* where its pools are */
        int lock_fd; /* the backend's, held so that nobody else serves the same place */
        char reason[JOB_REASON_MAX];
        PoolTable pools;
};

/* A name that can be part of the name of a file: [A-Za-z0-9._-], not empty, not beginning with a dot. */
bool store_name_is_valid(const char *name);

/*
 * Copies the configuration and opens the store; one that cannot be opened is made all the same, unavailable,
 * with its reason (and a line in the log). -EOPNOTSUPP for a kind that we do not know, -EINVAL for a bad
 * name, -ENOMEM.
 */
int store_entry_new(
        uint32_t index, const StoreConfig *config, const StoreContext *context, StoreEntry **ret);
/* Leaves the pools as they are, and forgets them. NULL-safe, returns NULL. */
StoreEntry *store_entry_free(StoreEntry *store);
DEFINE_CLEANUP(StoreEntry, store_entry_free);

/* Again, as something has changed: what is available stays so, and what is being taken down is left alone. */
void store_entry_reopen(StoreEntry *store, const StoreContext *context);

/* Another configuration, of the same name, kind and path. -ENOMEM changes nothing. */
int store_entry_configure(StoreEntry *store, const StoreConfig *config, const StoreContext *context);

/* For StoreBackend.open: say why a store is not available. Returns -abs(error). */
int store_entry_refuse(StoreEntry *store, int error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Remove a pool from the table and free it. */
void store_entry_forget(PoolFile *pool);

/* Takes no new pools, and gives no more memory to those it has. */
bool store_entry_is_closed(const StoreEntry *store);

/* Bytes that the kernel takes for pools beyond their limits, to keep account of where they are. */
uint64_t store_entry_surplus(StoreEntry *store);
void store_entry_describe(const StoreEntry *store, JobStore *ret);
