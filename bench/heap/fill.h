/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* How much of a limit can be used: a fresh heap is filled until there is no more, and nothing is written. */

#include <stddef.h>

#include "allocator.h"

typedef enum FillKind {
        FILL_64,
        FILL_4K,
        FILL_64K,
        FILL_1M,
        FILL_8M,
        FILL_LOG,   /* 16 B to 1 MiB, uniform in the logarithm */
        FILL_AGAIN, /* with 64 B; all of it is freed; with 1 MiB */
        FILL_THREADS, /* eight threads with 64 B, who free it and live on; another with 1 MiB, then with less */
        N_FILLS,
} FillKind;

FillKind fill_from_string(const char *s); /* N_FILLS when there is none such */

/*
 * Bytes asked for and got: `first` when NULL came first, `all` when it was no use to go on: with FILL_LOG after the
 * twentieth NULL, with FILL_THREADS with blocks of 64 KiB and 64 B in what is left.
 */
typedef struct Filled {
        uint64_t first;
        uint64_t all;
} Filled;

Filled fill_run(FillKind kind, Heap heap, uint64_t size);
