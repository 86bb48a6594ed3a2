/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What of a device cannot be read: the kernel's list of bad blocks, in sysfs. In blocks of 4 KiB, as whoever maps the
 * device loses memory page by page.
 */

#include <stdint.h>
#include <sys/types.h>

#include "provisioner/job.h"

#define MEDIA_BLOCK      4096
#define MEDIA_TEXT_MAX   16384 /* bytes: sysfs has no more than a page of any machine, but for 64 KiB ones */
#define MEDIA_RANGES_MAX JOB_RANGES_MAX

typedef struct Media {
        JobRange ranges[MEDIA_RANGES_MAX]; /* of blocks, ascending, not overlapping */
        uint32_t n;
        uint64_t bytes; /* in all of them, and in those for which there was no room */
} Media;

/* "SECTOR COUNT" on each line, ascending by sector, of 512 bytes. -EBADMSG for anything else. */
int media_parse(const char *text, Media *ret);

/* The list of the block device `dev`. Returns a descriptor, or -ENOENT where the kernel keeps none. */
int media_open(dev_t dev);
int media_read(int fd, Media *ret);
