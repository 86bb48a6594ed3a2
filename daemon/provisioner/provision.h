/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * From a bare region to a mounted file system that was tried out, and back. Plan and deed are the same steps in the same
 * order: planning says at each what would be done, doing does it, and a second time everything exists. To be called in a
 * child (prepare.h).
 *
 * What is not ours is not touched: a namespace without our mark, or one with a signature on it that we have not written,
 * ends the run with a refusal that says what was found and what the administrator can do.
 */

#include <stdbool.h>

#include "provisioner/job.h"
#include "provisioner/store-config.h"

typedef struct ProvisionContext {
        int lock_dir; /* where the lock of libndctl's operations is */
        int mnt_fd;   /* STATE_DIR/mnt */
        void (*step)(void *userdata, const JobStep *step);
        void (*progress)(void *userdata, const char *text); /* "erasing, 40 %" */
        void *userdata;
} ProvisionContext;

typedef enum ProvisionHow {
        PROVISION_PLAN,  /* changes nothing */
        PROVISION_SERVE, /* what was made before: a file system on it, and its mount */
        PROVISION_APPLY, /* everything */
} ProvisionHow;

/* 0: served, or could be. -ENODEV: the device is not there (yet). Others: the last step says why. */
int provision_run(const StoreConfig *config, const ProvisionContext *context, ProvisionHow how);
/* -EBUSY: somebody has a file of it open. */
int deprovision_run(const StoreConfig *config, const ProvisionContext *context);

/* Every region, and behind it its namespaces, with what is on them. */
typedef void (*RegionFn)(void *userdata, const JobRegion *row);
int regions_list(int lock_dir, RegionFn fn, void *userdata);
