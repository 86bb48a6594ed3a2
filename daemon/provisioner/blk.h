/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Block devices: what is on them, by libblkid, and overwriting them with zeroes. */

#include <stdbool.h>
#include <stdint.h>

#define BLK_LABEL_MAX 128

typedef enum BlkContent {
        BLK_NOTHING,   /* no signature that is known */
        BLK_SIGNATURE, /* a file system, a partition table, a RAID or volume member, ...: `type` says */
        BLK_SEVERAL,   /* several that contradict each other */
} BlkContent;

typedef struct BlkProbe {
        BlkContent content;
        char type[32]; /* "ext4", "dos partition table" */
        char label[BLK_LABEL_MAX];
        char uuid[40];
} BlkProbe;

/* "pmem0", as libndctl says, below /dev; waits a moment for udev. For writing: -EBUSY when it is mounted or held. */
int blk_open(const char *name, bool for_writing);
int blk_size(int fd, uint64_t *ret);
int blk_probe(int fd, BlkProbe *ret);
/* For people: 'ext4 "data" (uuid ...)'. */
void blk_describe(const BlkProbe *probe, char *buf, size_t size);

/* Called now and then. */
typedef void (*BlkProgressFn)(uint64_t done, uint64_t all, void *userdata);
/* Whole blocks of 4 KiB. `progress` may be NULL. */
int blk_zero(int fd, uint64_t from, uint64_t bytes, BlkProgressFn progress, void *userdata);
