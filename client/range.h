/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A set of ranges of numbers, disjoint and never adjacent: what is put beside its neighbours becomes one
 * with them. All operations take O(log n). Nothing here knows what the numbers mean, and nothing locks. A set stays
 * where it is.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Range Range;
typedef struct RangeChunk RangeChunk;

typedef enum RangeOrder {
        RANGE_BY_START,
        RANGE_BY_SIZE, /* and by start among equals */
        _RANGE_ORDER_MAX,
} RangeOrder;

struct Range {
        uint64_t start;
        uint64_t size;
        struct {
                Range *left;
                Range *right;
        } by[_RANGE_ORDER_MAX];
        uint32_t priority; /* of the node in both treaps */
};

#define RANGES_FEW 8 /* for so many no memory is needed */

typedef struct RangeSet {
        Range *root[_RANGE_ORDER_MAX];
        Range *spare;       /* unused nodes, linked by by[0].right */
        RangeChunk *chunks; /* where nodes come from, the newest first; before there is one: */
        Range few[RANGES_FEW];
        size_t n_used; /* nodes of the newest chunk, or of the few, that were ever used */
        uint64_t total;
        size_t n;
        uint32_t seed;
} RangeSet;

void ranges_init(RangeSet *s);
void ranges_deinit(RangeSet *s);

/*
 * Add [start, start + size), which must not overlap the set. Returns 0, or -ENOMEM with the set as it was.
 */
int ranges_put(RangeSet *s, uint64_t start, uint64_t size);

/*
 * Remove `size` numbers from the smallest range that has room for them, the lowest among equals, and there
 * from the lowest start for which (origin + start) is a multiple of `alignment`, a power of two. Returns 0,
 * -ENOSPC (no such range) or -ENOMEM.
 */
int ranges_take(RangeSet *s, uint64_t size, uint64_t alignment, uint64_t origin, uint64_t *ret_start);

/* The same, but look at the `max_tries` smallest ranges alone: for an alignment that would merely be nice. */
int ranges_try(RangeSet *s, uint64_t size, uint64_t alignment, uint64_t origin, unsigned max_tries,
        uint64_t *ret_start);

/* Remove exactly these numbers. Returns 0, -ENOENT (not all are in the set) or -ENOMEM. */
int ranges_take_at(RangeSet *s, uint64_t start, uint64_t size);

/* The last range that starts before `limit`; NULL when there is none. Valid until the set changes. */
const Range *ranges_before(const RangeSet *s, uint64_t limit);

/* The size of the largest range, 0 for an empty set. */
uint64_t ranges_largest(const RangeSet *s);
