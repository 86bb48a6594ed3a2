/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each range is a node of two treaps, one in order of address (to find neighbours) and one in order of size
 * (to find the best fit). The nodes come from pages of our own and never from malloc(): this code runs
 * inside the extent hooks of the heap, and the application's malloc() may well be made of this heap.
 */

#include "client/range.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"

#define CHUNK_SIZE (UINT64_C(64) << 10)

struct RangeChunk {
        RangeChunk *next;
        Range nodes[];
};

#define CHUNK_NODES ((CHUNK_SIZE - sizeof(RangeChunk)) / sizeof(Range))

void ranges_init(RangeSet *s)
{
        *s = (RangeSet){.seed = 0x9e3779b9};
}

void ranges_deinit(RangeSet *s)
{
        while (s->chunks) {
                RangeChunk *c = s->chunks;

                s->chunks = c->next;
                (void)munmap(c, CHUNK_SIZE);
        }
        ranges_init(s);
}

static Range *node_new(RangeSet *s, uint64_t start, uint64_t size)
{
        Range *r;

        if (!s->spare && s->n_used == (s->chunks ? CHUNK_NODES : RANGES_FEW)) {
                RangeChunk *c =
                        mmap(NULL, CHUNK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

                if (c == MAP_FAILED)
                        return NULL;
                c->next = s->chunks;
                s->chunks = c;
                s->n_used = 0;
        }
        if (s->spare) {
                r = s->spare;
                s->spare = r->by[0].right;
        } else
                r = &(s->chunks ? s->chunks->nodes : s->few)[s->n_used++];

        s->seed ^= s->seed << 13;
        s->seed ^= s->seed >> 17;
        s->seed ^= s->seed << 5;
        *r = (Range){.start = start, .size = size, .priority = s->seed};
        return r;
}

static void node_free(RangeSet *s, Range *r)
{
        r->by[0].right = s->spare;
        s->spare = r;
}

static bool node_less(RangeOrder o, const Range *a, const Range *b)
{
        if (o == RANGE_BY_SIZE && a->size != b->size)
                return a->size < b->size;
        return a->start < b->start;
}

static void treap_split(RangeOrder o, Range *t, const Range *key, Range **ret_less, Range **ret_more)
{
        if (!t) {
                *ret_less = *ret_more = NULL;
        } else if (node_less(o, t, key)) {
                treap_split(o, t->by[o].right, key, &t->by[o].right, ret_more);
                *ret_less = t;
        } else {
                treap_split(o, t->by[o].left, key, ret_less, &t->by[o].left);
                *ret_more = t;
        }
}

static Range *treap_merge(RangeOrder o, Range *less, Range *more)
{
        if (!less || !more)
                return less ?: more;
        if (less->priority > more->priority) {
                less->by[o].right = treap_merge(o, less->by[o].right, more);
                return less;
        }
        more->by[o].left = treap_merge(o, less, more->by[o].left);
        return more;
}

static void treap_insert(RangeOrder o, Range **t, Range *r)
{
        while (*t && (*t)->priority >= r->priority)
                t = node_less(o, r, *t) ? &(*t)->by[o].left : &(*t)->by[o].right;
        treap_split(o, *t, r, &r->by[o].left, &r->by[o].right);
        *t = r;
}

static void treap_remove(RangeOrder o, Range **t, Range *r)
{
        while (*t != r) {
                assert(*t);
                t = node_less(o, r, *t) ? &(*t)->by[o].left : &(*t)->by[o].right;
        }
        *t = treap_merge(o, r->by[o].left, r->by[o].right);
}

static void set_insert(RangeSet *s, Range *r)
{
        for (RangeOrder o = 0; o < _RANGE_ORDER_MAX; o++)
                treap_insert(o, &s->root[o], r);
        s->total += r->size;
        s->n++;
}

static void set_remove(RangeSet *s, Range *r)
{
        for (RangeOrder o = 0; o < _RANGE_ORDER_MAX; o++)
                treap_remove(o, &s->root[o], r);
        s->total -= r->size;
        s->n--;
}

/* The order by address does not change where a range only grows or shrinks between its neighbours. */
static void set_change(RangeSet *s, Range *r, uint64_t start, uint64_t size)
{
        treap_remove(RANGE_BY_SIZE, &s->root[RANGE_BY_SIZE], r);
        s->total += size - r->size;
        r->start = start;
        r->size = size;
        treap_insert(RANGE_BY_SIZE, &s->root[RANGE_BY_SIZE], r);
}

static Range *find_before(const RangeSet *s, uint64_t limit)
{
        Range *found = NULL;

        for (Range *t = s->root[RANGE_BY_START]; t;) {
                if (t->start < limit) {
                        found = t;
                        t = t->by[RANGE_BY_START].right;
                } else
                        t = t->by[RANGE_BY_START].left;
        }
        return found;
}

static Range *find_from(const RangeSet *s, uint64_t start)
{
        Range *found = NULL;

        for (Range *t = s->root[RANGE_BY_START]; t;) {
                if (t->start >= start) {
                        found = t;
                        t = t->by[RANGE_BY_START].left;
                } else
                        t = t->by[RANGE_BY_START].right;
        }
        return found;
}

/* The first in the order of size that is not less than `key`. */
static Range *find_by_size(const RangeSet *s, const Range *key)
{
        Range *found = NULL;

        for (Range *t = s->root[RANGE_BY_SIZE]; t;) {
                if (!node_less(RANGE_BY_SIZE, t, key)) {
                        found = t;
                        t = t->by[RANGE_BY_SIZE].left;
                } else
                        t = t->by[RANGE_BY_SIZE].right;
        }
        return found;
}

int ranges_put(RangeSet *s, uint64_t start, uint64_t size)
{
        Range *before = find_before(s, start), *after = find_from(s, start);
        Range *r;

        assert(size > 0);
        assert(start + size > start);
        assert(!before || before->start + before->size <= start);
        assert(!after || start + size <= after->start);

        if (before && before->start + before->size != start)
                before = NULL;
        if (after && start + size != after->start)
                after = NULL;

        if (before && after) {
                uint64_t tail = after->size;

                set_remove(s, after);
                node_free(s, after);
                set_change(s, before, before->start, before->size + size + tail);
        } else if (before) {
                set_change(s, before, before->start, before->size + size);
        } else if (after) {
                set_change(s, after, start, after->size + size);
        } else {
                r = node_new(s, start, size);
                if (!r)
                        return -ENOMEM;
                set_insert(s, r);
        }
        return 0;
}

/* Cut [start, start + size) out of `r`, which contains it. */
static int set_cut(RangeSet *s, Range *r, uint64_t start, uint64_t size)
{
        uint64_t head = start - r->start, tail = r->size - head - size;

        if (head > 0 && tail > 0) {
                Range *rest = node_new(s, start + size, tail);

                if (!rest)
                        return -ENOMEM;
                set_change(s, r, r->start, head);
                set_insert(s, rest);
        } else if (head > 0) {
                set_change(s, r, r->start, head);
        } else if (tail > 0) {
                set_change(s, r, start + size, tail);
        } else {
                set_remove(s, r);
                node_free(s, r);
        }
        return 0;
}

int ranges_try(RangeSet *s, uint64_t size, uint64_t alignment, uint64_t origin, unsigned max_tries,
        uint64_t *ret_start)
{
        Range key = {.size = size};

        assert(size > 0);
        assert(alignment > 0 && (alignment & (alignment - 1)) == 0);

        for (Range *r; max_tries-- > 0 && (r = find_by_size(s, &key));
                key = (Range){.size = r->size, .start = r->start + 1}) {
                uint64_t skip = -(origin + r->start) & (alignment - 1);
                uint64_t start = r->start + skip;
                int k;

                if (skip > r->size || size > r->size - skip)
                        continue;
                k = set_cut(s, r, start, size);
                if (k < 0)
                        return k;
                *ret_start = start;
                return 0;
        }
        return -ENOSPC;
}

int ranges_take(RangeSet *s, uint64_t size, uint64_t alignment, uint64_t origin, uint64_t *ret_start)
{
        return ranges_try(s, size, alignment, origin, UINT_MAX, ret_start);
}

int ranges_take_at(RangeSet *s, uint64_t start, uint64_t size)
{
        Range *r = start == UINT64_MAX ? NULL : find_before(s, start + 1);

        assert(size > 0);
        if (!r || start - r->start >= r->size || size > r->size - (start - r->start))
                return -ENOENT;
        return set_cut(s, r, start, size);
}

const Range *ranges_before(const RangeSet *s, uint64_t limit)
{
        return find_before(s, limit);
}

uint64_t ranges_largest(const RangeSet *s)
{
        const Range *t = s->root[RANGE_BY_SIZE];

        while (t && t->by[RANGE_BY_SIZE].right)
                t = t->by[RANGE_BY_SIZE].right;
        return t ? t->size : 0;
}
