/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * NVDIMM regions and namespaces, by libndctl. Every function here is one operation: it takes the lock, makes a context
 * of its own, and lets both go (a context caches what it walked, and of two creates at a time both fail). To be called
 * in a child only: a DIMM may take its time.
 *
 * A namespace is ours when its label says so: pmbroker:STORE. While it is being made it says pmbroker-new:STORE, so that
 * a half-made one can be told from one that holds something, and is made again, never doubled.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define ND_NAME_MAX 32
#define ND_UUID_MAX 37
#define ND_MARK_MAX 64 /* what a label has room for, with NUL */
#define ND_ALIGN    (UINT64_C(2) << 20)

typedef enum NdMode {
        ND_RAW,
        ND_FSDAX,
        ND_DEVDAX,
        ND_SECTOR,
        ND_UNKNOWN,
} NdMode;

typedef struct NdRegion {
        char name[ND_NAME_MAX];
        uint64_t start; /* physical address */
        uint64_t size;
        uint64_t free;  /* the largest namespace that could be made */
        uint64_t align; /* of a namespace's size */
        int node;       /* NUMA; -1: not known */
        bool has_labels;
        bool has_label_area; /* but there may be nothing in it */
        bool read_only;
        bool enabled;
} NdRegion;

typedef struct NdNamespace {
        char name[ND_NAME_MAX];
        char region[ND_NAME_MAX];
        uint64_t region_start;
        char uuid[ND_UUID_MAX];      /* of the namespace itself; "": label-less */
        char mode_uuid[ND_UUID_MAX]; /* of what it is used as: this one `ndctl list` prints */
        char mark[ND_MARK_MAX];
        char block[ND_NAME_MAX]; /* pmem0; "": not enabled, or no block device */
        char dax[ND_NAME_MAX];   /* dax0.0, of devdax; "": not enabled */
        uint64_t size;           /* of what it is used as */
        uint64_t align;          /* of fsdax and devdax */
        NdMode mode;
        bool enabled;
        bool has_labels; /* as its region */
} NdNamespace;

typedef struct NdSnapshot {
        NdRegion *regions;
        size_t n_regions;
        NdNamespace *namespaces;
        size_t n_namespaces;
} NdSnapshot;

const char *nd_mode_to_string(NdMode mode);

/* "pmbroker:STORE", or "pmbroker-new:STORE". */
void nd_mark(char buf[static ND_MARK_MAX], const char *store, bool is_new);
/* The name of the store that a mark is for, or NULL. */
const char *nd_mark_store(const char *mark, bool *ret_is_new);

/* `lock_dir` is the directory of the lock file, in all of these. */
/* An fd that holds the lock, for those who do something else with the same devices. */
int nd_lock(int lock_dir);
/* What such a library has to say, line by line, for those who debug. */
void nd_log(const char *library, const char *function, const char *format, va_list ap)
        __attribute__((format(printf, 3, 0)));
int nd_snapshot(int lock_dir, NdSnapshot *ret);
void nd_snapshot_deinit(NdSnapshot *snapshot);

const NdRegion *nd_find_region(const NdSnapshot *snapshot, const char *name_or_start);
/* By either of its uuids, or (label-less ones) by the start of its region. */
const NdNamespace *nd_find_namespace(const NdSnapshot *snapshot, const char *uuid_or_start);
/* The first with this mark behind `after` (NULL: from the start). */
const NdNamespace *nd_find_mark(const NdSnapshot *snapshot, const char *mark, const NdNamespace *after);

/* Make an fsdax or devdax namespace for the store, from free capacity; an fsdax one has nothing in it. Undoes itself. */
int nd_create(int lock_dir, const char *region, uint64_t size, NdMode mode, const char *store);
/* Make a raw namespace that is nobody's an fsdax or devdax one. What it holds is lost. */
int nd_convert(int lock_dir, const NdNamespace *namespace, NdMode mode);
/* -EBUSY while it is mounted or held. */
int nd_destroy(int lock_dir, const NdNamespace *namespace);
int nd_enable(int lock_dir, const NdNamespace *namespace);
/* Make all DIMMs of the region hold labels: every namespace on them is lost. */
int nd_init_labels(int lock_dir, const char *region);
