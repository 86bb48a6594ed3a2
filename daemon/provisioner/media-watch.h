/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Watches the devices of stores for blocks that cannot be read, and finds out whose pools they are in. The kernel tells
 * when its list changes, but not in all cases; so it is read every few seconds, too. As long as there are any, what is
 * found is told again and again, as is also who comes anew: pools that are made of bad blocks, and brokers.
 */

#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "provisioner/task.h"

typedef struct MediaWatch MediaWatch;

typedef void (*MediaFoundFn)(void *userdata, const StoreEntry *store, uint64_t bytes);

/* `stores`: JOB_STORES_MAX entries, NULL where there is none; borrowed. Pools are told by TaskHooks.damaged. */
int media_watch_new(sd_event *event, TaskRunner *runner, StoreEntry *const *stores, MediaFoundFn found,
        void *userdata, MediaWatch **ret);
/* NULL-safe, returns NULL. */
MediaWatch *media_watch_free(MediaWatch *watch);
DEFINE_CLEANUP(MediaWatch, media_watch_free);
