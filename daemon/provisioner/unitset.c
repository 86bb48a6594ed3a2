/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "provisioner/unitset.h"

void unitset_deinit(UnitSet *set)
{
        free(set->ranges);
        *set = (UnitSet){};
}

static uint64_t range_end(const JobRange *range)
{
        return (uint64_t)range->first + range->count;
}

int unitset_append(UnitSet *set, uint64_t first, uint64_t count)
{
        JobRange *last = set->n > 0 ? &set->ranges[set->n - 1] : NULL;

        assert(first + count <= UINT32_MAX);
        assert(!last || first >= last->first);
        if (count == 0)
                return 0;
        if (last && first <= range_end(last)) {
                if (first + count > range_end(last))
                        last->count = (uint32_t)(first + count - last->first);
                return 0;
        }
        if (set->n == set->allocated) {
                size_t allocated = set->allocated ? set->allocated * 2 : 16;
                JobRange *ranges = reallocarray(set->ranges, allocated, sizeof(*ranges));
                if (!ranges)
                        return -ENOMEM;
                set->ranges = ranges;
                set->allocated = allocated;
        }
        set->ranges[set->n++] = (JobRange){.first = (uint32_t)first, .count = (uint32_t)count};
        return 0;
}

uint64_t unitset_count(const UnitSet *set)
{
        uint64_t count = 0;

        for (size_t i = 0; i < set->n; i++)
                count += set->ranges[i].count;
        return count;
}

bool unitset_equal(const UnitSet *a, const UnitSet *b)
{
        return a->n == b->n && (a->n == 0 || memcmp(a->ranges, b->ranges, a->n * sizeof(*a->ranges)) == 0);
}

/* Those units of `a` that are, or are not, in `b`. */
static int select_units(const UnitSet *a, const UnitSet *b, bool in_b, UnitSet *ret)
{
        size_t k = 0;
        int r = 0;

        assert(ret->n == 0);
        for (size_t i = 0; i < a->n && r >= 0; i++) {
                uint64_t at = a->ranges[i].first, end = range_end(&a->ranges[i]);
                while (at < end && r >= 0) {
                        while (k < b->n && range_end(&b->ranges[k]) <= at)
                                k++;
                        bool inside = k < b->n && b->ranges[k].first <= at;
                        uint64_t until = end;
                        if (inside && range_end(&b->ranges[k]) < end)
                                until = range_end(&b->ranges[k]);
                        else if (!inside && k < b->n && b->ranges[k].first < end)
                                until = b->ranges[k].first;
                        if (inside == in_b)
                                r = unitset_append(ret, at, until - at);
                        at = until;
                }
        }
        return r;
}

int unitset_subtract(const UnitSet *a, const UnitSet *b, UnitSet *ret)
{
        return select_units(a, b, /* in_b= */ false, ret);
}

int unitset_intersect(const UnitSet *a, const UnitSet *b, UnitSet *ret)
{
        return select_units(a, b, /* in_b= */ true, ret);
}

int unitset_fill(const UnitSet *set, uint64_t count, uint64_t length, UnitSet *ret)
{
        uint64_t have = unitset_count(set), at = 0;
        int r = 0;

        assert(ret->n == 0);
        if (count < have || count > length)
                return -ERANGE;
        uint64_t missing = count - have;
        for (size_t i = 0; i <= set->n && r >= 0; i++) {
                uint64_t end = i < set->n ? set->ranges[i].first : length;
                uint64_t hole = end > at ? end - at : 0;
                if (hole > missing)
                        hole = missing;
                r = unitset_append(ret, at, hole);
                missing -= hole;
                if (i < set->n && r >= 0) {
                        r = unitset_append(ret, set->ranges[i].first, set->ranges[i].count);
                        at = range_end(&set->ranges[i]);
                }
        }
        if (r < 0)
                return r;
        return missing > 0 ? -ERANGE : 0;
}
