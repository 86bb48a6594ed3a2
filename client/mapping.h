/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One reservation of address space for as much as a pool may ever grow to, aligned to 2 MiB so that huge
 * pages fit, and the pool's file mapped at its start. The file is mapped once and extended in place:
 * addresses never change, and the kernel keeps one mapping however many blocks there are.
 *
 * Children inherit it only if `shared` is set, which is done before anything is mapped. Whoever calls
 * mapping_attach() or mapping_extend() keeps fork() out meanwhile: there is a moment between mmap() and
 * madvise() in which a child would.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Mapping {
        uint8_t *base;
        uint64_t reserved; /* bytes of address space */
        uint64_t head;     /* and before it: with what is behind it, a unit more than that is reserved */
        uint64_t mapped;   /* bytes of the file that are mapped */
        int fd;
        bool shared; /* with children */
} Mapping;

/*
 * Reserve `want` bytes, or half of that and so on, but not less than `need`. Both are multiples of 2 MiB and
 * not 0. Returns 0, -ENOMEM, or another negative errno of mmap().
 */
int mapping_reserve(Mapping *m, uint64_t want, uint64_t need);

/* Map the first `length` bytes of the file. Owns `fd` from the call on, also when it fails. */
int mapping_attach(Mapping *m, int fd, uint64_t length);

/*
 * The file has grown to `length`: map the rest too. Nothing happens when it is not longer; -EPROTO if it has
 * not.
 */
int mapping_extend(Mapping *m, uint64_t length);

/*
 * In a child: close the descriptor and put a reservation that cannot be touched where the memory was (or, if
 * `has_memory`, where more of it might have been), so that nothing else is ever placed there and stale
 * pointers fault instead of reading something else.
 */
void mapping_forked(Mapping *m, bool has_memory);

/*
 * In a child, before that: put memory of its own where the memory was, for mapping_copy() to fill, and which
 * its own children inherit as any other. Returns 0 or a negative errno.
 */
int mapping_replace(Mapping *m);

/* Undo that. */
void mapping_drop(Mapping *m);

/* Copy the bytes [start, end) of the file to there. Returns 0 or a negative errno. */
int mapping_copy(Mapping *m, uint64_t start, uint64_t end);

/* Unmap and close; takes one that was never reserved, if zeroed with fd -EBADF. */
void mapping_deinit(Mapping *m);
