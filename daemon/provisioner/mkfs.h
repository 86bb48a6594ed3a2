/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The file system of an fsdax store: what it is called, and making it. Its label says that it is ours, its uuid in
 * which boot it was made: one of another boot holds nothing any more.
 */

#include <stdbool.h>
#include <stdint.h>

#include "provisioner/blk.h"
#include "provisioner/store-config.h"

#define MKFS_LABEL_MAX 17
#define MKFS_UUID_MAX  37

/* "pmbroker:STORE", cut to what the file system has room for. */
void mkfs_label(char buf[static MKFS_LABEL_MAX], FsdaxFilesystem filesystem, const char *store);
/* Of this boot, for this store. */
int mkfs_uuid(char buf[static MKFS_UUID_MAX], const char *store);
/* Whether what was found is a file system that we have made for the store; in this boot? */
bool mkfs_is_ours(const BlkProbe *probe, const char *store, bool *ret_this_boot);

const char *mkfs_name(FsdaxFilesystem filesystem); /* "ext4" */
/* For a device of so many bytes. */
uint64_t mkfs_inodes(uint64_t bytes);

/*
 * Run mkfs.ext4 or mkfs.xfs on a block device ("pmem0"), which takes the consent of its caller to lose what is there.
 * The program ends with us and after ten minutes (-ETIMEDOUT); what it says when it fails (-EIO) is logged, and its first
 * line given back.
 */
#define MKFS_ERROR_MAX 128
int mkfs_run(const char *block, uint64_t bytes, FsdaxFilesystem filesystem, const char *store,
        char error[static MKFS_ERROR_MAX]);
