/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The provisioner's entry of one pool: its file, the limit in force, and whether somebody works on it. A
 * store keeps its entries in a PoolTable, ascending by id, so that lists can be paged by id while pools come
 * and go.
 */

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "provisioner/job.h"

/* An id as it is written in names of files: 16 lower-case hexadecimal digits. With NUL. */
#define POOL_ID_TEXT_MAX 17

/* The file of a pool, where all are in one directory: ID.pool. With NUL. */
#define POOL_FILE_NAME_MAX (POOL_ID_TEXT_MAX + sizeof(".pool") - 1)

typedef struct PoolFile PoolFile;
typedef struct StoreEntry StoreEntry;
typedef struct Task Task;

struct PoolFile {
        StoreEntry *store;
        uint64_t id;
        int fd;           /* of the file, open for the pool's whole life */
        uint64_t limit;   /* bytes */
        uint64_t length;  /* bytes that the file was given; the client may have truncated it meanwhile */
        uint64_t account; /* of the last job that named one */
        uint32_t project; /* fsdax: of the quota */
        void *guard;      /* fsdax: a mapping of the file, for the pool's whole life */

        uint64_t bad; /* bytes that cannot be read, as found last */

        bool counted;   /* made by this process, so that `gifts` is right */
        uint32_t gifts; /* JOB_SHRINKs that were carried out */

        bool committed; /* its record exists: it has been or may have been granted */
        bool releasing; /* a release has begun: nothing else will be done with it */
        bool erasing;   /* never granted, goes without being asked: nobody is told of it */
        bool cheat;     /* found beyond its limit: truncated at every audit until it is released */
        bool stuck;     /* what runs on it is past its time */
        bool doubtful;  /* found as nobody should have left it, and not yet looked at */
        bool lost;      /* who has pinned its pages was forgotten: never freed in this boot */
        bool held;      /* released and empty, but somebody has its file open */

        Task *running; /* jobs of one pool run one after the other */
        List waiting;  /* Task.pool_link */
        uint32_t n_waiting;

        uint32_t record_size;
        uint8_t record[]; /* the broker's, unread */
};

/* The file descriptor is taken over in case of success. `record_size` is at most JOB_RECORD_MAX. -ENOMEM. */
int poolfile_new(StoreEntry *store, uint64_t id, const void *record, uint32_t record_size, PoolFile **ret);
/* Nothing may run on it or wait for it. Closes the fd. NULL-safe, returns NULL. */
PoolFile *poolfile_free(PoolFile *pool);
DEFINE_CLEANUP(PoolFile, poolfile_free);

static inline bool pool_is_served(const PoolFile *pool)
{
        return pool->committed && !pool->releasing && !pool->cheat;
}

typedef struct PoolTable {
        PoolFile **pools; /* ascending by id */
        size_t n;
        size_t allocated;
} PoolTable;

/* The entries must have been removed. */
void pool_table_deinit(PoolTable *table);
/* -EEXIST, -ENOMEM. The entry stays the caller's. */
int pool_table_add(PoolTable *table, PoolFile *pool);
void pool_table_remove(PoolTable *table, PoolFile *pool);
PoolFile *pool_table_find(const PoolTable *table, uint64_t id); /* NULL if there is none */
/* Position of the first entry with an id above `id`; table->n if there is none. */
size_t pool_table_above(const PoolTable *table, uint64_t id);

char *pool_id_format(char buf[static POOL_ID_TEXT_MAX], uint64_t id);
/* Exactly 16 lower-case digits at `s`, which need not end there; not 0. -EINVAL. */
int pool_id_parse(const char *s, size_t n, uint64_t *ret);

char *pool_file_name(char buf[static POOL_FILE_NAME_MAX], uint64_t id);
/* The next pool's file in a directory; the name is the directory's. Returns 1, 0 at the end, or a negative errno. */
int pool_file_next(DIR *dir, const char **ret_name, uint64_t *ret_id);
