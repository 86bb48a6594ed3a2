/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What a kind of store does with a pool. The verbs (verbs.c) put these together into jobs; the order of
 * things, records, replies and time limits are theirs.
 *
 * Everything but work() runs in the main process and must not wait for a client: no call here takes the lock
 * of an inode that a client may hold. What does is a work order.
 */

#include <stdbool.h>
#include <stdint.h>

#include "provisioner/store-config.h"
#include "provisioner/work.h"

/* Beyond its limit an audited pool may have what the file system needs to know where its blocks are, and no
 * more. */
#define AUDIT_TOLERANCE JOB_UNIT

#define WORK_ORDINARY 1

typedef struct PoolFile PoolFile;
typedef struct StoreEntry StoreEntry;
typedef struct StoreContext StoreContext;

/* Called for each pool that was found; the fd (-EBADF: there is an entry, but no
 * file in it) is taken over. */
typedef int (*StoreFoundFn)(StoreEntry *store, uint64_t id, int fd, void *userdata);

typedef struct StoreBackend {
        JobStoreKind kind;
        /* The kernel does not know the limit: it is in the record, and held by audit. */
        bool audited;
        /* It is made by provision.h: not available before that, and its pools not known. */
        bool provisioned;

        /* Sets capacity, page_size, keeps, dir_fd. A refusal is told by store_entry_refuse(). Called again
         * for a changed configuration and after a failure: what is open stays open, since orders may be
         * under way. */
        int (*open)(StoreEntry *store, const StoreContext *context);
        void (*close)(StoreEntry *store); /* also when it was not or only half opened */
        /* It is not configured any more, and without pools: undo what outlives close(). May be NULL. */
        void (*leave)(StoreEntry *store, const StoreContext *context);

        /* Find what there is. Stops at an error of the callback and returns it. */
        int (*scan)(StoreEntry *store, StoreFoundFn found, void *userdata);
        /* Make the file of a new pool, with pool->limit and pool->length: sets pool->fd. -EEXIST. Undoes
         * itself. */
        int (*create)(StoreEntry *store, PoolFile *pool);
        /* A further open file description of the file, for the client. Returns the fd. */
        int (*open_client)(StoreEntry *store, PoolFile *pool);
        /* Undo create(): nobody has been given the file. */
        void (*erase)(StoreEntry *store, PoolFile *pool);

        /* The limit that the kernel holds; audited stores have none. */
        int (*get_limit)(StoreEntry *store, PoolFile *pool, uint64_t *ret_bytes);
        /* -EBUSY when more is in use; nothing has changed then. */
        int (*set_limit)(StoreEntry *store, PoolFile *pool, uint64_t bytes);
        int (*get_used)(StoreEntry *store, PoolFile *pool, uint64_t *ret_bytes);
        /* What is there to be had, beside what the pools but this one were promised. NULL: the capacity says it. */
        int (*get_free)(StoreEntry *store, const PoolFile *but, uint64_t *ret_bytes);

        /* In a worker: WORK_RELEASE, for which -ETIMEDOUT means not yet, ask again; and what else of WorkOp
         * is not done in the ordinary way (work.c): WORK_ORDINARY for the rest. */
        int (*work)(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result);

        /*
         * The rest is for files that the client cannot change, and is NULL for all others. Size and length are
         * the file's then, not the record's; get_limit() and set_limit() are not called.
         */

        /* Grow and shrink are one order, WORK_RESIZE; WORK_SEAL ends one that was left undone. */
        bool sealed;
        /* Its files are in blocks of a device, some of which may be bad: WORK_EXAMINE. */
        bool on_media;
        /* A file was found: everything of the pool but its record, with what keeps it. */
        int (*adopt)(StoreEntry *store, PoolFile *pool);
        /* Whether somebody has the empty file of a released pool open. */
        bool (*is_held)(const PoolFile *pool);
        /* A file was found unsealed: what it had may be in two hands. The store takes no new pools any more. */
        void (*distrust)(StoreEntry *store);
} StoreBackend;

extern const StoreBackend store_tmpfs;
extern const StoreBackend store_dir;
extern const StoreBackend store_fsdax;
extern const StoreBackend store_kmem;

const StoreBackend *store_backend(JobStoreKind kind); /* NULL: not known */
