/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What the library knows of a pool's memory: which of its 2 MiB units are backed, and which backed memory is
 * free. Pure: no memory is touched, no call is made, nothing locks; offsets count from the start of the
 * file.
 *
 * A unit is unbacked, backed, or being given back ("giving"): between the moment it was cut out of the free
 * memory and the daemon's answer nobody may use it, and if the answer is lost nobody knows whether it is
 * backed. Such units stay aside until that is known.
 *
 * Growing backs the lowest unbacked units first, then those at the end of the file (UNITS in
 * pmbroker.proto): both sides know which without being told, as long as they see all changes in the same
 * order.
 */

#include <stdbool.h>
#include <stdint.h>

#include "client/range.h"

#define UNIT_SIZE (UINT64_C(2) << 20)

typedef struct UnitSpan {
        uint32_t first;
        uint32_t count;
} UnitSpan;

typedef struct Units {
        uint64_t origin;   /* the address of offset 0; only alignment depends on it */
        uint32_t max;      /* units that there is address space for */
        uint32_t n_backed; /* without those being given back */
        uint32_t n_giving;
        bool raw; /* no heap: free memory is not kept track of */
        uint64_t *backed;
        uint64_t *giving;
        RangeSet free;
        uint64_t fresh_from; /* nothing from here on was ever handed out: it is still zero */
} Units;

/* Returns 0 or -ENOMEM. */
int units_init(Units *u, uint64_t origin, uint32_t max, bool raw);
void units_deinit(Units *u);

/*
 * The daemon said that the file has `length` bytes of which `size` are backed: back what is new. Does
 * nothing while units are being given back, since only the answer to that makes the number clear. Never
 * unbacks.
 */
void units_sync(Units *u, uint64_t size, uint64_t length);

/*
 * Begin to give back up to `max_units` units that are wholly free, the highest first, in at most `max_spans`
 * spans. `spans` receives them in ascending order; returns how many there are.
 */
unsigned units_begin_give(Units *u, uint32_t max_units, UnitSpan *spans, unsigned max_spans);

/*
 * The same for units that the owner of a raw pool names. Returns 0, or -EINVAL if not all of them are
 * backed.
 */
int units_begin_give_at(Units *u, UnitSpan span);

/* The daemon has taken them; size and length are what it answered. */
void units_commit_give(Units *u, const UnitSpan *spans, unsigned n, uint64_t size, uint64_t length);

/* The daemon has certainly not taken them. */
void units_abort_give(Units *u, const UnitSpan *spans, unsigned n);

typedef enum UnitsFate {
        UNITS_UNKNOWN, /* the size has to tell: taken when it is less than it were with them */
        UNITS_TAKEN,
        UNITS_KEPT,
} UnitsFate;

/*
 * No answer came, and the daemon has nothing under way: it has taken them or not. Returns how many units it has.
 */
uint32_t units_settle(Units *u, UnitsFate fate, uint64_t size, uint64_t length);

/*
 * The next backed units from unit `from` on, at most `max` of them. False when there are none.
 */
bool units_next_backed(const Units *u, uint32_t from, uint32_t max, UnitSpan *ret);

/*
 * How many more units must be backed for `bytes` to be free in one piece, given that the lowest come first;
 * 0 if they are, UINT32_MAX if no growth will do.
 */
uint32_t units_needed_for(const Units *u, uint64_t bytes);

/*
 * The last bytes before `limit` that are backed and not free, as far as they go on downwards: [start, end).
 * False when there are none.
 */
bool units_used_before(const Units *u, uint64_t limit, uint64_t *ret_start, uint64_t *ret_end);

/* Is all of that free? */
bool units_is_free(const Units *u, uint64_t offset, uint64_t size);

/* Units that units_begin_give() could give back. */
uint32_t units_count_free(const Units *u);

/*
 * Take free memory; `alignment` is a power of two. *ret_zero tells whether it is certainly all zero. Returns
 * 0, -ENOSPC or -ENOMEM.
 */
int units_take(Units *u, uint64_t size, uint64_t alignment, uint64_t *ret_offset, bool *ret_zero);

/* The same for an alignment that would merely be nice: gives up soon. */
int units_try(Units *u, uint64_t size, uint64_t alignment, uint64_t *ret_offset, bool *ret_zero);
int units_take_at(Units *u, uint64_t offset, uint64_t size, bool *ret_zero);

/* Put it back. Returns 0, or -ENOMEM with nothing changed. */
int units_put(Units *u, uint64_t offset, uint64_t size);
