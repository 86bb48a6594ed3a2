/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * dax devices, by libdaxctl: memory that is a device (/dev/dax0.0), or memory of the system, in a NUMA node. As in nd.h
 * every function is one operation, under the same lock, and for a child only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DAX_NAME_MAX 32

typedef enum DaxMode {
        DAX_DISABLED,
        DAX_DEVICE, /* "devdax" */
        DAX_MEMORY, /* "system-ram" */
} DaxMode;

typedef struct DaxDevice {
        char name[DAX_NAME_MAX]; /* of this boot only */
        uint64_t start;          /* physical address */
        uint64_t size;
        int node; /* that its memory is or would be part of; -1: none */
        DaxMode mode;
        /* DAX_MEMORY: */
        uint64_t block_size;
        unsigned blocks;
        unsigned online; /* of them */
        bool movable;    /* all that are online can be taken out again */
} DaxDevice;

typedef struct DaxSnapshot {
        DaxDevice *devices;
        size_t n;
} DaxSnapshot;

const char *dax_mode_to_string(DaxMode mode);

int dax_snapshot(int lock_dir, DaxSnapshot *ret);
void dax_snapshot_deinit(DaxSnapshot *snapshot);
const DaxDevice *dax_find(const DaxSnapshot *snapshot, const char *name);
/* By "0x...", where its memory begins. */
const DaxDevice *dax_find_start(const DaxSnapshot *snapshot, const char *start);

/*
 * Make all of it memory of its node, online and movable, however much of that is done already. -EBUSY: the kernel, or a
 * rule of udev's, has made it unmovable, and it cannot be taken out again. -EEXIST: the node has other memory, too.
 */
int dax_make_memory(int lock_dir, const DaxDevice *device);
/* And back. What is stored there is moved elsewhere. -EBUSY: something cannot be; then all is as it was. */
int dax_make_device(int lock_dir, const DaxDevice *device);
