/* SPDX-License-Identifier: BSD-3-Clause */
/* Two bits for each unit, and the set of free ranges. */

#include "client/unit.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORD 64

/* Ranges that are looked at for a place that would merely be nice. */
#define TRIES_MAX 16

static bool bit_get(const uint64_t *map, uint32_t i)
{
        return map[i / WORD] >> (i % WORD) & 1;
}

static void bit_set(uint64_t *map, uint32_t i, bool value)
{
        uint64_t bit = UINT64_C(1) << (i % WORD);

        map[i / WORD] = value ? map[i / WORD] | bit : map[i / WORD] & ~bit;
}

int units_init(Units *u, uint64_t origin, uint32_t max, bool raw)
{
        size_t words = (size_t)max / WORD + 1;
        uint64_t *maps = calloc(2 * words, sizeof(*maps));

        if (!maps)
                return -ENOMEM;
        *u = (Units){
                .origin = origin,
                .max = max,
                .raw = raw,
                .backed = maps,
                .giving = maps + words,
        };
        ranges_init(&u->free);
        return 0;
}

void units_deinit(Units *u)
{
        ranges_deinit(&u->free);
        free(u->backed);
        *u = (Units){};
}

static bool is_unbacked(const Units *u, uint32_t i)
{
        return !bit_get(u->backed, i) && !bit_get(u->giving, i);
}

/* Back the `count` lowest units below `end` that are not; units being given back count as backed. */
static void back_lowest(Units *u, uint32_t count, uint32_t end)
{
        for (uint32_t i = 0; i < end && count > 0; i++) {
                uint32_t first = i;

                /* Skip whole words of what is backed: pools are large and mostly whole. */
                if (i % WORD == 0 && (u->backed[i / WORD] | u->giving[i / WORD]) == UINT64_MAX) {
                        i += WORD - 1;
                        continue;
                }
                while (i < end && i - first < count && is_unbacked(u, i))
                        i++;
                if (i == first)
                        continue;
                /* Without memory for the node these units wait for the next word from the daemon. */
                if (!u->raw && ranges_put(&u->free, first * UNIT_SIZE, (i - first) * UNIT_SIZE) < 0)
                        return;
                for (uint32_t k = first; k < i; k++)
                        bit_set(u->backed, k, true);
                u->n_backed += i - first;
                count -= i - first;
        }
}

static uint32_t units_below(const Units *u, uint64_t length)
{
        uint64_t n = length / UNIT_SIZE;

        return n < u->max ? (uint32_t)n : u->max;
}

void units_sync(Units *u, uint64_t size, uint64_t length)
{
        uint64_t want = size / UNIT_SIZE;
        uint32_t end = units_below(u, length);

        if (u->n_giving > 0 || want <= u->n_backed)
                return;
        want -= u->n_backed;
        back_lowest(u, want < end ? (uint32_t)want : end, end);
}

unsigned units_begin_give(Units *u, uint32_t max_units, UnitSpan *spans, unsigned max_spans)
{
        uint64_t limit = UINT64_MAX;
        unsigned n = 0;
        const Range *r;

        while (max_units > 0 && n < max_spans && (r = ranges_before(&u->free, limit))) {
                uint64_t first = (r->start + UNIT_SIZE - 1) / UNIT_SIZE,
                         end = (r->start + r->size) / UNIT_SIZE;

                limit = r->start;
                if (end <= first)
                        continue;
                if (end - first > max_units)
                        first = end - max_units;
                if (ranges_take_at(&u->free, first * UNIT_SIZE, (end - first) * UNIT_SIZE) < 0)
                        break; /* no memory for the node: what there is so far will do */
                spans[n++] = (UnitSpan){.first = (uint32_t)first, .count = (uint32_t)(end - first)};
                max_units -= (uint32_t)(end - first);
        }

        for (unsigned i = 0; i < n; i++) {
                for (uint32_t k = spans[i].first; k < spans[i].first + spans[i].count; k++) {
                        assert(bit_get(u->backed, k));
                        bit_set(u->backed, k, false);
                        bit_set(u->giving, k, true);
                }
                u->n_backed -= spans[i].count;
                u->n_giving += spans[i].count;
        }
        for (unsigned i = 0; i < n / 2; i++) {
                UnitSpan swap = spans[i];

                spans[i] = spans[n - 1 - i];
                spans[n - 1 - i] = swap;
        }
        return n;
}

int units_begin_give_at(Units *u, UnitSpan span)
{
        uint32_t end;

        if (span.count == 0 || __builtin_add_overflow(span.first, span.count, &end) || end > u->max)
                return -EINVAL;
        for (uint32_t i = span.first; i < end; i++)
                if (!bit_get(u->backed, i))
                        return -EINVAL;
        for (uint32_t i = span.first; i < end; i++) {
                bit_set(u->backed, i, false);
                bit_set(u->giving, i, true);
        }
        u->n_backed -= span.count;
        u->n_giving += span.count;
        return 0;
}

static void end_give(Units *u, const UnitSpan *spans, unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                for (uint32_t k = spans[i].first; k < spans[i].first + spans[i].count; k++) {
                        assert(bit_get(u->giving, k));
                        bit_set(u->giving, k, false);
                        u->n_giving--;
                }
}

void units_commit_give(Units *u, const UnitSpan *spans, unsigned n, uint64_t size, uint64_t length)
{
        uint64_t others = u->n_giving, want = size / UNIT_SIZE;
        uint32_t end = units_below(u, length);

        /*
         * More backed than we know of: somebody has let the pool grow meanwhile. Whether the daemon did that
         * before or after it took these units does not matter: either way it is the lowest of the other ones
         * that remain.
         */
        for (unsigned i = 0; i < n; i++)
                others -= spans[i].count;
        if (others == 0 && want > u->n_backed) {
                want -= u->n_backed;
                back_lowest(u, want < end ? (uint32_t)want : end, end);
        }
        end_give(u, spans, n);
}

void units_abort_give(Units *u, const UnitSpan *spans, unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                /*
                 * Without memory for the node they stay aside; the next attempt to give back includes them.
                 */
                if (!u->raw &&
                        ranges_put(&u->free, spans[i].first * UNIT_SIZE, spans[i].count * UNIT_SIZE) < 0)
                        continue;
                end_give(u, &spans[i], 1);
                for (uint32_t k = spans[i].first; k < spans[i].first + spans[i].count; k++)
                        bit_set(u->backed, k, true);
                u->n_backed += spans[i].count;
        }
}

/* The next span of units that are being given back, from `from` on; false when there is none. */
static bool next_giving(const Units *u, uint32_t from, UnitSpan *ret)
{
        for (uint32_t i = from; i < u->max; i++) {
                uint32_t first = i;

                if (i % WORD == 0 && u->giving[i / WORD] == 0) {
                        i += WORD - 1;
                        continue;
                }
                while (i < u->max && bit_get(u->giving, i))
                        i++;
                if (i > first) {
                        *ret = (UnitSpan){.first = first, .count = i - first};
                        return true;
                }
        }
        return false;
}

uint32_t units_settle(Units *u, UnitsFate fate, uint64_t size, uint64_t length)
{
        uint32_t n = u->n_giving;
        /*
         * Were they still backed, the size would count them, and could only be larger. That somebody has let
         * the pool grow by exactly as much in the very moment in which the answer was lost is not told
         * apart by it.
         */
        bool taken =
                fate == UNITS_UNKNOWN ? size / UNIT_SIZE < (uint64_t)u->n_backed + n : fate == UNITS_TAKEN;
        UnitSpan span = {};

        while (n > 0 && next_giving(u, span.first + span.count, &span)) {
                if (taken)
                        end_give(u, &span, 1);
                else
                        units_abort_give(u, &span, 1);
        }
        units_sync(u, size, length);
        return taken ? n : 0;
}

bool units_next_backed(const Units *u, uint32_t from, uint32_t max, UnitSpan *ret)
{
        for (uint32_t i = from; i < u->max; i++) {
                uint32_t first = i;

                if (i % WORD == 0 && u->backed[i / WORD] == 0) {
                        i += WORD - 1;
                        continue;
                }
                while (i < u->max && i - first < max && bit_get(u->backed, i))
                        i++;
                if (i > first) {
                        *ret = (UnitSpan){.first = first, .count = i - first};
                        return true;
                }
        }
        return false;
}

bool units_used_before(const Units *u, uint64_t limit, uint64_t *ret_start, uint64_t *ret_end)
{
        uint64_t end = limit < u->max * UNIT_SIZE ? limit : u->max * UNIT_SIZE;

        while (end > 0) {
                uint32_t first = (uint32_t)((end - 1) / UNIT_SIZE);
                const Range *r = ranges_before(&u->free, end);
                uint64_t bottom = r ? r->start + r->size : 0;

                if (!bit_get(u->backed, first)) {
                        end = first * UNIT_SIZE;
                        continue;
                }
                if (bottom >= end) {
                        end = r->start;
                        continue;
                }
                while (first > 0 && first * UNIT_SIZE > bottom && bit_get(u->backed, first - 1))
                        first--;
                *ret_start = first * UNIT_SIZE > bottom ? first * UNIT_SIZE : bottom;
                *ret_end = end;
                return true;
        }
        return false;
}

/* The free bytes that end, or that begin, at `at`. */
static uint64_t free_until(const Units *u, uint64_t at)
{
        const Range *r = ranges_before(&u->free, at);

        return r && r->start + r->size == at ? r->size : 0;
}

static uint64_t free_from(const Units *u, uint64_t at)
{
        const Range *r = ranges_before(&u->free, at + 1);

        return r && r->start == at ? r->size : 0;
}

uint32_t units_needed_for(const Units *u, uint64_t bytes)
{
        uint64_t run = 0; /* free bytes in front of unit i, with those that would be */
        uint32_t n = 0;

        if (ranges_largest(&u->free) >= bytes)
                return 0;
        for (uint32_t i = 0; i < u->max; i++) {
                if (i % WORD == 0 && (u->backed[i / WORD] | u->giving[i / WORD]) == UINT64_MAX) {
                        i += WORD - 1;
                        run = 0;
                        continue;
                }
                if (!is_unbacked(u, i)) {
                        run = 0;
                        continue;
                }
                if (run == 0)
                        run = free_until(u, i * UNIT_SIZE);
                run += UNIT_SIZE;
                n++;
                if (run + free_from(u, (i + 1) * UNIT_SIZE) >= bytes)
                        return n;
        }
        return UINT32_MAX;
}

bool units_is_free(const Units *u, uint64_t offset, uint64_t size)
{
        const Range *r = ranges_before(&u->free, offset + 1);

        return r && r->start + r->size >= offset + size;
}

uint32_t units_count_free(const Units *u)
{
        uint64_t limit = UINT64_MAX, n = 0;
        const Range *r;

        while ((r = ranges_before(&u->free, limit))) {
                uint64_t first = (r->start + UNIT_SIZE - 1) / UNIT_SIZE,
                         end = (r->start + r->size) / UNIT_SIZE;

                n += end > first ? end - first : 0;
                limit = r->start;
        }
        return (uint32_t)n;
}

/* Handed out: not fresh any more. Tells whether it was. */
static bool units_touch(Units *u, uint64_t offset, uint64_t size)
{
        bool fresh = offset >= u->fresh_from;

        if (offset + size > u->fresh_from)
                u->fresh_from = offset + size;
        return fresh;
}

int units_take(Units *u, uint64_t size, uint64_t alignment, uint64_t *ret_offset, bool *ret_zero)
{
        int r = ranges_take(&u->free, size, alignment, u->origin, ret_offset);

        if (r == 0)
                *ret_zero = units_touch(u, *ret_offset, size);
        return r;
}

int units_try(Units *u, uint64_t size, uint64_t alignment, uint64_t *ret_offset, bool *ret_zero)
{
        int r = ranges_try(&u->free, size, alignment, u->origin, TRIES_MAX, ret_offset);

        if (r == 0)
                *ret_zero = units_touch(u, *ret_offset, size);
        return r;
}

int units_take_at(Units *u, uint64_t offset, uint64_t size, bool *ret_zero)
{
        int r = ranges_take_at(&u->free, offset, size);

        if (r == 0)
                *ret_zero = units_touch(u, offset, size);
        return r;
}

int units_put(Units *u, uint64_t offset, uint64_t size)
{
        return ranges_put(&u->free, offset, size);
}
