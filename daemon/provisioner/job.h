/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The job protocol between the broker and the provisioner: SOCK_SEQPACKET on a socket of mode 0600 whose
 * peer must be the broker's user. A job carries numbers only: no path, device or option, so that a broker in
 * strangers' hands can waste pools, take stores that are made out of service and have them made again, and
 * nothing else. The record is bytes that the provisioner stores and gives back unread.
 *
 * Both ends are the same binary, but an upgrade restarts one before the other: `version` is checked first,
 * and an unequal one is answered by -EPROTONOSUPPORT (the broker then waits and connects again).
 *
 * The packets are the structures below, in host byte order, without padding; the tail of a packet is an
 * array whose type follows from the kind and whose length is `n`. Every job is answered once, with its
 * serial; jobs on different pools may be answered out of order, jobs on one pool are carried out one after
 * the other. Events carry serial 0.
 *
 * A connection that ends takes its jobs with it: what has not begun is never begun, and of what has begun
 * nothing takes effect later that is charged for, so that JOB_POOLS on the next connection tells how things
 * are. Only a release goes on. A job that hangs on an inode that its client holds is answered by -ETIMEDOUT
 * after 5 s; until it ends, other jobs on that pool are answered so at once.
 */

#include <stdint.h>

#define JOB_VERSION 3

#define JOB_RECORD_MAX  512 /* bytes */
#define JOB_STORES_MAX  64  /* stores of a configuration */
#define JOB_POOLS_MAX   32  /* pools in one JOB_POOLS reply */
#define JOB_USAGE_MAX   256 /* pools in one JOB_USAGE */
#define JOB_RANGES_MAX  128 /* unit ranges in one JOB_SHRINK */
#define JOB_NAME_MAX    33  /* name of a store, with NUL */
#define JOB_REASON_MAX  160
#define JOB_STEPS_MAX   16    /* of a plan */
#define JOB_TEXT_MAX    400   /* of a step */
#define JOB_REGIONS_MAX 32    /* rows in one JOB_REGIONS reply */
#define JOB_PACKET_MAX  32768 /* bytes of any packet, both ways */

#define JOB_UNIT (UINT64_C(2) << 20) /* bytes: every size and length is a multiple */

typedef enum JobKind {
        /* Reply: JobStore[n]. */
        JOB_STORES = 1,
        /* What exists in `store`, ascending by id, above `pool`. Reply: JobPool[n], fewer than JOB_POOLS_MAX
         * when that was all. */
        JOB_POOLS = 2,
        /* `pool` of `bytes` in `store`, the file of `length` if that is more. Tail: record bytes[n]. Reply:
         * bytes, length, used + one fd. -ENOSPC, if `used` is not 0: the store has less left than its pools do
         * not take, by so much that `used` of its capacity is taken, by whatever. */
        JOB_CREATE = 3,
        /* To `bytes`, the file to at least `length`. Reply and -ENOSPC as CREATE, without fd. A failure changes nothing
         * that is charged for, but when memory ran out while it was allocated (Allocate=create): then
         * `bytes` of the reply is the limit in force. */
        JOB_GROW = 4,
        /* Drop the units of the tail JobRange[n], ascending, then limit to `bytes`. Reply likewise. -EBUSY
         * when the client uses more than it said: what was dropped stays dropped, the limit stays.
         * -ETIMEDOUT: the units may still be dropped, at any time until the same job succeeds or the pool is
         * released. */
        JOB_SHRINK = 5,
        /* Free everything. Reply 0 when the memory is back, -ETIMEDOUT when it is not yet (to be asked
         * again); a pool that does not exist is a success. `bytes` is a JobReleaseHow. Nothing but RELEASE
         * and USAGE is done with the pool from now on (-ESTALE). */
        JOB_RELEASE = 6,
        /* Tail: uint64_t ids[n] of `store`. Reply: JobUsage[n] of those that exist; without ids, `used`: what the
         * kernel takes for the pools of the store beyond their limits. */
        JOB_USAGE = 7,
        /* Regions and namespaces, from row `pool` on. Reply: JobRegion[n], fewer than JOB_REGIONS_MAX when that was
         * all. */
        JOB_REGIONS = 8,
        /* What would be done for `store`. Reply: JobStep[n]. */
        JOB_PLAN = 9,
        /* Do it, which takes as long as it takes. Reply: JobStep[n]. */
        JOB_APPLY = 10,
        /* Take `store` out of service, and undo what was made for it. Reply: JobStep[n]. -EBUSY when it holds pools,
         * `bytes` being how many; with `length` 1 it takes no new ones, and waits for them to go. */
        JOB_DEPROVISION = 11,
        /* Read the configuration again. Reply: no JobStep when it is in use now, or one whose text says why not. */
        JOB_RELOAD = 12,

        /* The stores have changed: ask JOB_STORES again. */
        JOB_EVENT_STORES = 100,
        /* `pool` of `store` was found with `used` > `bytes`, told once. It is truncated, and again at each
         * audit until it is released, and never served again (-ESTALE). */
        JOB_EVENT_AUDIT = 101,
        /* Of `pool` of `store` (0: of all of the store) `bytes` cannot be read, of a pool the first at the offset
         * `used`. Told anew every few seconds, until there are none: told, too, with 0 bytes. */
        JOB_EVENT_DAMAGE = 103,
        /* Tail: JobStore[1], of `store`, which is not available, and why. */
        JOB_EVENT_REASON = 102,
} JobKind;

/*
 * How sure the broker is that nobody can refill the file. A kernel-held limit makes no difference: the
 * memory is back either way. The file of an audited store is kept, and truncated at each audit, while
 * somebody has it open; where the file system cannot tell, JOB_RELEASE_REVOKED keeps it and
 * JOB_RELEASE_FINAL ends it.
 */
typedef enum JobReleaseHow {
        JOB_RELEASE_REVOKED = 0, /* the owner may live */
        JOB_RELEASE_FINAL = 1,   /* the owner is gone */
} JobReleaseHow;

typedef struct JobRequest {
        uint32_t version;
        uint32_t kind;
        uint64_t serial; /* non-zero */
        uint64_t pool;
        uint64_t bytes;
        uint64_t length;
        uint64_t account; /* who is charged: what hangs for one account does not stop another */
        uint32_t store;   /* index as in JobStore */
        uint32_t n;       /* elements of the tail */
} JobRequest;

typedef struct JobReply {
        uint32_t version;
        uint32_t kind;
        uint64_t serial;
        uint64_t pool;
        uint64_t bytes;  /* the limit now in force */
        uint64_t length; /* of the file */
        uint64_t used;   /* the kernel's figure */
        int32_t error;   /* 0 or negative errno */
        uint32_t store;
        uint32_t n;
        uint32_t reserved;
} JobReply;

typedef enum JobStoreKind {
        JOB_STORE_TMPFS = 1,
        JOB_STORE_DIR = 2,
        JOB_STORE_FSDAX = 3,
        JOB_STORE_KMEM = 4,
} JobStoreKind;

enum {
        JOB_STORE_AVAILABLE = 1 << 0,
        JOB_STORE_KEEPS = 1 << 1,   /* pools survive a restart of the provisioner */
        JOB_STORE_AUDITED = 1 << 2, /* the limit is held by audit, not by the kernel */
        JOB_STORE_TESTED =
                1 << 3,         /* the three below are known: of an fsdax or kmem store that is available */
        JOB_STORE_DAX = 1 << 4, /* what is mapped is the device's memory itself */
        JOB_STORE_QUOTA = 1 << 5,  /* the kernel refuses what is over the limit */
        JOB_STORE_SEAL = 1 << 6,   /* a client can do nothing with its file but map it */
        JOB_STORE_CLOSED = 1 << 8, /* available, but gives out nothing more: full, for the reason given */
};

typedef struct JobStore {
        uint64_t capacity; /* bytes that pools may take */
        uint32_t index;
        uint32_t kind; /* JobStoreKind */
        uint32_t flags;
        uint32_t page_size; /* bytes: 4096 or 2 MiB */
        char name[JOB_NAME_MAX];
        char reason[JOB_REASON_MAX]; /* why it is not available */
        char reserved[3];
        int32_t node; /* NUMA, that all its memory is of; -1: any */
} JobStore;

typedef enum JobStepKind {
        JOB_STEP_REGION = 1,
        JOB_STEP_LABELS,
        JOB_STEP_NAMESPACE,
        JOB_STEP_CONTENT, /* what is on it, and erasing it */
        JOB_STEP_FILE_SYSTEM,
        JOB_STEP_MOUNT,
        JOB_STEP_TEST,
        JOB_STEP_MEMORY, /* of the system, in a NUMA node */
} JobStepKind;

typedef enum JobStepState {
        JOB_STEP_EXISTS = 1, /* nothing to do */
        JOB_STEP_PLANNED,    /* would be done */
        JOB_STEP_DONE,
        JOB_STEP_REFUSED, /* the text says why, and what can be done: the last step */
        JOB_STEP_FAILED,  /* likewise */
} JobStepState;

typedef struct JobStep {
        uint32_t kind;  /* JobStepKind */
        uint32_t state; /* JobStepState */
        char text[JOB_TEXT_MAX];
} JobStep;

enum {
        JOB_REGION_LABELS = 1 << 0,     /* it has labels: namespaces can be made and named */
        JOB_REGION_LABEL_AREA = 1 << 1, /* it could have */
        JOB_REGION_ENABLED = 1 << 2,
};

/* A region, or a namespace in the region above it. */
typedef struct JobRegion {
        uint64_t start; /* physical address, of the region */
        uint64_t size;
        uint64_t free; /* of a region: the largest namespace that could be made */
        uint32_t flags;
        int32_t node; /* NUMA; -1: not known */
        char region[32];
        char namespace[32]; /* "": this is the region */
        char mode[16];      /* of a namespace: fsdax, ... */
        char uuid[40];      /* "": none */
        char content[104];  /* for people */
} JobRegion;

enum {
        JOB_POOL_RELEASING = 1 << 0, /* a release had begun: finish it, never serve the pool again */
        JOB_POOL_COUNTED = 1 << 1,   /* the count is known: this provisioner has made the pool */
        JOB_POOL_GIFTS_SHIFT = 8,    /* above: how often it was shrunk, modulo 2^24 */
};

typedef struct JobPool {
        uint64_t pool;
        uint64_t bytes;
        uint64_t length;
        uint64_t used;
        uint32_t flags;
        uint32_t record_size;
        uint8_t record[JOB_RECORD_MAX];
} JobPool;

typedef struct JobUsage {
        uint64_t pool;
        uint64_t used; /* bytes */
} JobUsage;

typedef struct JobRange {
        uint32_t first; /* unit */
        uint32_t count;
} JobRange;

_Static_assert(sizeof(JobRequest) == 56, "no padding");
_Static_assert(sizeof(JobReply) == 64, "no padding");
_Static_assert(sizeof(JobStore) == 224, "no padding");
_Static_assert(sizeof(JobStep) == 408, "no padding");
_Static_assert(sizeof(JobRegion) == 256, "no padding");
_Static_assert(sizeof(JobPool) == 552, "no padding");
