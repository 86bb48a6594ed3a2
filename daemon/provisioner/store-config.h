/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* One [Store NAME] section as the provisioner needs it; config.c fills it. */

#include <stdbool.h>
#include <stdint.h>

#include "provisioner/job.h"

#define STORE_REGION_MAX 32
#define STORE_ADOPT_MAX  40

typedef enum HugePages {
        HUGE_NEVER,
        HUGE_WITHIN_SIZE, /* where a whole huge page lies inside the file: the default */
        HUGE_ALWAYS,
        HUGE_ADVISE,
} HugePages;

typedef enum FsdaxFilesystem {
        FSDAX_EXT4,
        FSDAX_XFS,
} FsdaxFilesystem;

typedef enum ScrubWhen {
        SCRUB_NEVER,
        SCRUB_RELEASE, /* before it is used again or handed back */
} ScrubWhen;

typedef struct StoreConfig {
        char name[JOB_NAME_MAX];
        JobStoreKind kind;
        uint64_t size; /* bytes; 0: percent counts */
        /* tmpfs: of the RAM; dir: of the file system's free bytes when it is opened; fsdax, kmem: of the region's
         * free capacity when the namespace is made */
        unsigned percent;
        char *path;     /* dir: the directory, absolute */
        HugePages huge; /* tmpfs, kmem */
        bool allocate; /* tmpfs, kmem: allocate all memory at create (Allocate=create) instead of at the first touch */

        /* fsdax; region, adopt, init_labels and manual also kmem */
        /* Name or physical start (0x...) of the region; "": `adopt` says. */
        char region[STORE_REGION_MAX];
        /* Uuid of a namespace, or physical start of a label-less region or of a dax device; "": none. */
        char adopt[STORE_ADOPT_MAX];
        FsdaxFilesystem filesystem;
        ScrubWhen scrub;
        bool require_dax;
        bool init_labels;
        bool manual; /* nothing is made at start */
        bool trusted_tenants;

        bool drained; /* the broker's affair: no new pools */
} StoreConfig;
