/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What a program does with an allocator, over and over: one thread's share of it, timed. */

#include <stdbool.h>
#include <stddef.h>

#include "allocator.h"

typedef enum PatternKind {
        PATTERN_PAIR,     /* allocate, free */
        PATTERN_LIFO,     /* allocate a batch, free it backwards */
        PATTERN_FIFO,     /* in the order of allocation */
        PATTERN_RANDOM,   /* in another order */
        PATTERN_CHURN,    /* one of a set of live blocks, any, is freed and allocated anew */
        PATTERN_REALLOC,  /* grow a block by halves from 16 bytes on */
        PATTERN_PRODCONS, /* one thread allocates, another frees */
        PATTERN_BULK,     /* very many live at a time: allocate all, free all */
        PATTERN_CALLS,    /* pairs of calls that do nothing, to compare pairs with */
        N_PATTERNS,
} PatternKind;

typedef enum SizeKind {
        SIZE_MIX, /* 16 to 512 bytes, uniformly */
        SIZE_64,
        SIZE_4K,
        SIZE_64K,
        SIZE_1M,
        SIZE_4M,
        N_SIZES,
} SizeKind;

typedef struct Pattern {
        PatternKind kind;
        SizeKind size;
        bool sized;  /* tell free() the size, where the interface has such a call */
        Heap *heaps; /* the pair takes them in turn, the others take the first */
        unsigned n_heaps;
        unsigned thread, n_threads;
} Pattern;

/* Names as on the command line; N_PATTERNS, N_SIZES when there is none such. */
PatternKind pattern_from_string(const char *s);
SizeKind size_from_string(const char *s);

/* Before the threads start, for PATTERN_PRODCONS. */
void pattern_prepare(const Pattern *pattern);

/*
 * Run one thread's share. Returns nanoseconds of this thread's processor time per allocation, and sets *ret_failed to
 * how many allocations failed.
 */
double pattern_run(const Pattern *pattern, size_t *ret_failed);
