/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What is known of a kmem store whose memory was tried out: an attribute of the directory that its pools are mounted in,
 * STATE_DIR/mnt/STORE. That lies in a tmpfs of our mount namespace, so the facts last as long as the mounts of the pools
 * do, and never longer than the boot.
 */

#include <stdint.h>

enum {
        KMEM_PLACED = 1 << 0, /* what is stored comes from the node, and from no other */
        KMEM_LIMIT = 1 << 1,  /* the size of a mount is obeyed */
};

typedef struct KmemFacts {
        uint64_t start; /* of the device's memory, in the physical one */
        uint64_t size;
        uint64_t capacity; /* bytes that pools can have in the end */
        int32_t node;
        uint32_t page_size;
        uint32_t flags;
        uint32_t reserved;
} KmemFacts;

/* The directory's fd; -ENOENT when there is none. */
int kmem_open_dir(int mnt_fd, const char *store);
int kmem_make_dir(int mnt_fd, const char *store); /* likewise; makes it if it is missing */
/* With its facts. Something in it keeps the directory, but not those. */
int kmem_remove_dir(int mnt_fd, const char *store);

/* -ENODATA: none yet. */
int kmem_get_facts(int dir_fd, KmemFacts *ret);
int kmem_set_facts(int dir_fd, const KmemFacts *facts);
