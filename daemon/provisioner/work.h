/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What a worker is told to do and what it answers. Everything that takes the lock of an inode which a client
 * holds is a work order: a client can keep that lock for as long as it likes. An order is numbers and
 * descriptors; a worker never learns a path.
 */

#include <stddef.h>
#include <stdint.h>

#include "provisioner/job.h"

typedef enum WorkOp {
        WORK_EXTEND = 1, /* the file to at least `length` */
        WORK_PUNCH,      /* the unit ranges */
        WORK_ALLOCATE,   /* memory for `bytes` of the file, lowest holes first */
        WORK_TRUNCATE,   /* to nothing */
        WORK_RELEASE,    /* everything, for good; `bytes` as in JOB_RELEASE */
        WORK_RESIZE,     /* a file that is sealed: up or down, at once */
        WORK_SEAL,       /* as far as that was left undone */
        WORK_EXAMINE,    /* how much of the file is in the ranges, of blocks of the device that are bad */
} WorkOp;

/* Of an order. */
enum {
        WORK_SCRUB = 1 << 0,     /* overwrite what is freed */
        WORK_RELEASING = 1 << 1, /* the pool's release had begun */
};

/* Of a result. */
enum {
        WORK_HELD = 1 << 0,     /* RELEASE: the memory is back, but somebody has the file open */
        WORK_RACED = 1 << 1,    /* RESIZE: the client has changed the file each time that it could */
        WORK_UNSEALED = 1 << 2, /* SEAL: it was not sealed */
};

/* Descriptors that go with an order. */
enum {
        WORK_FD_FILE,
        WORK_FD_STORE, /* the store's directory */
        WORK_FDS_MAX,
};

typedef struct WorkOrder {
        uint32_t op;   /* WorkOp */
        uint32_t kind; /* JobStoreKind */
        uint64_t pool;
        uint64_t bytes;
        uint64_t length;
        uint32_t n;
        uint32_t flags;
        JobRange ranges[JOB_RANGES_MAX];
} WorkOrder;

typedef struct WorkResult {
        int32_t error; /* 0 or negative errno */
        uint32_t flags;
        uint64_t left;   /* RELEASE: bytes that the client may still hold */
        uint64_t bytes;  /* RESIZE, SEAL: the size now; EXAMINE: what is bad */
        uint64_t length; /* and the length of the file; the offset of the first of it */
} WorkResult;

/* Bytes of an order with its n ranges. */
static inline size_t work_order_size(const WorkOrder *order)
{
        return offsetof(WorkOrder, ranges) + order->n * sizeof(JobRange);
}

/* Runs in a worker. A descriptor may be missing: -EBADF. Sets result->error. */
typedef void (*WorkFn)(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result);

/* The real one: what does not depend on the kind of the store is done here, the rest by its backend. */
void work_carry_out(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result);
