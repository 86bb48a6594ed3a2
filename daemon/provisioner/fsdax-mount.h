/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The mount of an fsdax store at STATE_DIR/mnt/STORE in our mount namespace, and what is known of it: the facts are an
 * attribute of its root directory, so that a provisioner which finds the mount need not try everything again.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provisioner/store-config.h"

enum {
        FSDAX_DAX = 1 << 0,   /* the device's memory itself is mapped */
        FSDAX_QUOTA = 1 << 1, /* a project's limit is obeyed, by us too */
        FSDAX_SEAL = 1 << 2,  /* an immutable file cannot be changed in size, but stored to */
        FSDAX_PINS = 1 << 3,  /* memory in somebody else's hands is not given away */
        /* Mounted again with files in it, after everybody had let go: what pinned their memory is not known any more. */
        FSDAX_FORGOTTEN = 1 << 4,
};

typedef struct FsdaxFacts {
        uint64_t capacity; /* bytes that were free when it was made */
        uint32_t page_size;
        uint32_t flags;
        uint64_t reserved;
} FsdaxFacts;

/* Room for what the kernel says when it does not mount. */
#define FSDAX_ERROR_MAX 160

/* What the self-test (fsdax-probe.h) makes in the root. */
#define FSDAX_PROBE_FILE "probe"

int fsdax_mount(int mnt_fd, const char *store, const char *block, FsdaxFilesystem filesystem,
        char error[static FSDAX_ERROR_MAX]);
/* -EBUSY while somebody has a file of it open. Not mounted: 0. */
int fsdax_unmount(int mnt_fd, const char *store);
/* An fd of its root; -ENOENT when it is not mounted. */
int fsdax_open(int mnt_fd, const char *store);

/* -ENODATA: none yet. */
int fsdax_get_facts(int dir_fd, FsdaxFacts *ret);
int fsdax_set_facts(int dir_fd, const FsdaxFacts *facts);

/* What mkfs left and kernel keeps back is for pools, too. */
int fsdax_tune(int dir_fd, const char *block, FsdaxFilesystem filesystem);
/* Whether there are files of pools, or of anybody. */
int fsdax_is_empty(int dir_fd);
