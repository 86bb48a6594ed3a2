/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* One [Store NAME] section as the provisioner needs it; config.c fills it. */

#include <stdbool.h>
#include <stdint.h>

#include "provisioner/job.h"

typedef enum HugePages {
        HUGE_NEVER,
        HUGE_WITHIN_SIZE, /* where a whole huge page lies inside the file: the default */
        HUGE_ALWAYS,
        HUGE_ADVISE,
} HugePages;

typedef struct StoreConfig {
        char name[JOB_NAME_MAX];
        JobStoreKind kind;
        uint64_t size;    /* bytes; 0: percent counts */
        unsigned percent; /* tmpfs: of the RAM; dir: of the file system's free bytes when it is opened */
        char *path;       /* dir: the directory, absolute */
        HugePages huge;   /* tmpfs */
        bool allocate; /* tmpfs: allocate all memory at create (Allocate=create) instead of at the first touch */
} StoreConfig;
