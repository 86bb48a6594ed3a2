/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The provisioner: the one process that touches memory and file systems. It serves the job protocol (job.h) on a
 * listening socket and holds every file. See provisioner.c for how it is put together.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "provisioner/store-config.h"

typedef struct Provisioner Provisioner;

/* The broker asks that the configuration be read again. A negative errno, and why in `reason`, when it cannot be used. */
typedef int (*ReloadHook)(char *reason, size_t size, void *userdata);

typedef struct ProvisionerOptions {
        sd_event *event;     /* borrowed */
        int listen_fd;       /* SOCK_SEQPACKET listening job socket; taken over (closed) */
        uint32_t broker_uid; /* the only peer that is served (besides uid 0 and the provisioner's own uid) */
        const char *state_dir;   /* exists; the mount points are made below it: STATE_DIR/mnt */
        const char *runtime_dir; /* exists; records go to RUNTIME_DIR/records */
        int mount_ns_fd;    /* of the provisioner before us, from the fd store; -EBADF: none. Taken over. */
        bool has_fd_keeper; /* somebody (systemd's fd store) keeps our mount namespace over a restart */
        const StoreConfig *stores;
        uint32_t n_stores;
        ReloadHook reload; /* or NULL */
        void *userdata;
} ProvisionerOptions;

/*
 * Enter or make the mount namespace (before any thread exists), open the stores, find the pools that are there,
 * finish what was half done, and serve. Without the privilege for a mount namespace only `dir` stores are available,
 * the others say why. Returns 0 or a negative errno.
 */
int provisioner_new(const ProvisionerOptions *options, Provisioner **ret);
/* Leaves pools, mounts and hanging workers as they are. NULL-safe, returns NULL. */
Provisioner *provisioner_free(Provisioner *p);

/* The fd of our mount namespace, borrowed, to be kept in the fd store; -EBADF when there is none. */
int provisioner_mount_ns_fd(const Provisioner *p);

/* A new configuration: stores may appear, change size, or disappear when they hold no pool. Returns 0, or -EBUSY and
 * changes nothing when a store that holds pools would disappear or change its kind or path (*ret_store names it). */
int provisioner_reload(Provisioner *p, const StoreConfig *stores, uint32_t n_stores, const char **ret_store);
