/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A set of units, as ascending ranges that neither touch nor overlap. Pure. All zero is the empty set. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "provisioner/job.h"

typedef struct UnitSet {
        JobRange *ranges;
        size_t n;
        size_t allocated;
} UnitSet;

void unitset_deinit(UnitSet *set);

/* Units at or above the last range's start; what is in the set already is no mistake. -ENOMEM. */
int unitset_append(UnitSet *set, uint64_t first, uint64_t count);

uint64_t unitset_count(const UnitSet *set);
bool unitset_equal(const UnitSet *a, const UnitSet *b);

/* The results must be empty before, and are to be freed in any case. -ENOMEM. */
int unitset_subtract(const UnitSet *a, const UnitSet *b, UnitSet *ret);
int unitset_intersect(const UnitSet *a, const UnitSet *b, UnitSet *ret);
/* `set` and its lowest holes below `length`, until there are `count` units. -ERANGE: there are not so many. */
int unitset_fill(const UnitSet *set, uint64_t count, uint64_t length, UnitSet *ret);

#define _cleanup_unitset_ _cleanup_(unitset_deinit)
