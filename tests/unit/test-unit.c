/* SPDX-License-Identifier: BSD-3-Clause */
/* Units and free ranges, against a model that is an array of bytes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "client/range.h"
#include "client/unit.h"

#define U UNIT_SIZE

static uint32_t rnd(uint32_t *s)
{
        *s ^= *s << 13;
        *s ^= *s >> 17;
        return *s ^= *s << 5;
}

/* ------------------------------------------------------------------------------------------------ ranges */

static void test_put_joins(void **state)
{
        RangeSet s;

        (void)state;
        ranges_init(&s);
        assert_int_equal(ranges_put(&s, 10, 10), 0);
        assert_int_equal(ranges_put(&s, 30, 10), 0);
        assert_int_equal(s.n, 2);
        assert_int_equal(ranges_put(&s, 20, 5), 0); /* to the one before */
        assert_int_equal(s.n, 2);
        assert_int_equal(ranges_largest(&s), 15);
        assert_int_equal(ranges_put(&s, 25, 5), 0); /* to both */
        assert_int_equal(s.n, 1);
        assert_int_equal(ranges_largest(&s), 30);
        assert_int_equal(ranges_put(&s, 5, 5), 0); /* to the one after */
        assert_int_equal(s.n, 1);
        assert_int_equal(ranges_before(&s, UINT64_MAX)->start, 5);
        assert_int_equal(s.total, 35);
        ranges_deinit(&s);
}

static void test_take_best_fit(void **state)
{
        uint64_t start;
        RangeSet s;

        (void)state;
        ranges_init(&s);
        assert_int_equal(ranges_take(&s, 1, 1, 0, &start), -ENOSPC);
        assert_int_equal(ranges_put(&s, 0, 100), 0);
        assert_int_equal(ranges_put(&s, 200, 20), 0);
        assert_int_equal(ranges_put(&s, 300, 20), 0);
        assert_int_equal(ranges_put(&s, 400, 10), 0);

        assert_int_equal(ranges_take(&s, 20, 1, 0, &start), 0);
        assert_int_equal(start, 200); /* exact, the lowest of two */
        assert_int_equal(ranges_take(&s, 11, 1, 0, &start), 0);
        assert_int_equal(start, 300); /* the smallest with room */
        assert_int_equal(ranges_take(&s, 101, 1, 0, &start), -ENOSPC);
        assert_int_equal(ranges_take(&s, 100, 1, 0, &start), 0);
        assert_int_equal(start, 0);
        assert_int_equal(s.total, 10 + 9);
        ranges_deinit(&s);
}

static void test_take_aligned(void **state)
{
        uint64_t start;
        RangeSet s;

        (void)state;
        ranges_init(&s);
        assert_int_equal(ranges_put(&s, 1, 63), 0);
        assert_int_equal(ranges_put(&s, 70, 200), 0);

        /* 63 numbers from 1 have no 64 that is aligned. */
        assert_int_equal(ranges_try(&s, 60, 64, 0, 1, &start), -ENOSPC);
        assert_int_equal(ranges_try(&s, 60, 64, 0, 2, &start), 0);
        assert_int_equal(start, 128);
        assert_int_equal(ranges_put(&s, 128, 60), 0);
        assert_int_equal(ranges_take(&s, 64, 64, 0, &start), 0);
        assert_int_equal(start, 128);
        assert_int_equal(s.n, 3);
        assert_int_equal(ranges_take(&s, 32, 32, 0, &start), 0);
        assert_int_equal(start, 96); /* at the end of [70, 128), the smallest */
        assert_int_equal(ranges_take(&s, 8, 16, 8, &start), 0);
        assert_int_equal(start, 72); /* counted from the origin */
        ranges_deinit(&s);
}

static void test_take_at(void **state)
{
        RangeSet s;

        (void)state;
        ranges_init(&s);
        assert_int_equal(ranges_take_at(&s, 0, 1), -ENOENT);
        assert_int_equal(ranges_put(&s, 100, 100), 0);
        assert_int_equal(ranges_take_at(&s, 99, 1), -ENOENT);
        assert_int_equal(ranges_take_at(&s, 99, 2), -ENOENT);
        assert_int_equal(ranges_take_at(&s, 199, 2), -ENOENT);
        assert_int_equal(ranges_take_at(&s, 200, 1), -ENOENT);
        assert_int_equal(ranges_take_at(&s, UINT64_MAX, 1), -ENOENT);
        assert_int_equal(ranges_take_at(&s, 100, UINT64_MAX), -ENOENT);
        assert_int_equal(ranges_take_at(&s, 150, 10), 0);
        assert_int_equal(ranges_take_at(&s, 155, 10), -ENOENT);
        assert_int_equal(ranges_take_at(&s, 100, 1), 0);
        assert_int_equal(ranges_take_at(&s, 199, 1), 0);
        assert_int_equal(ranges_take_at(&s, 101, 49), 0);
        assert_int_equal(s.n, 1);
        assert_int_equal(s.total, 39);
        ranges_deinit(&s);
}

/* The set is exactly the free bytes of the model, in maximal ranges, and finds the best fit. */
static void check_set(const RangeSet *s, const uint8_t *model, size_t n)
{
        uint64_t limit = UINT64_MAX, total = 0, largest = 0;
        const Range *r;
        size_t count = 0;

        while ((r = ranges_before(s, limit))) {
                assert_true(r->start + r->size <= n);
                for (uint64_t i = r->start; i < r->start + r->size; i++)
                        assert_int_equal(model[i], 1);
                assert_true(r->start == 0 || !model[r->start - 1]);
                assert_true(r->start + r->size == n || !model[r->start + r->size]);
                total += r->size;
                largest = r->size > largest ? r->size : largest;
                limit = r->start;
                count++;
        }
        assert_int_equal(count, s->n);
        assert_int_equal(total, s->total);
        assert_int_equal(largest, ranges_largest(s));
        for (size_t i = 0; i < n; i++)
                total -= model[i];
        assert_int_equal(total, 0);
}

/* Size of the smallest range of the model in which `size` fits with the alignment; 0 for none. */
static size_t best_fit(const uint8_t *model, size_t n, size_t size, size_t alignment, uint64_t origin)
{
        size_t best = 0;

        for (size_t i = 0; i < n;) {
                size_t start = i, first;

                while (i < n && model[i])
                        i++;
                first = start + (-(origin + start) & (alignment - 1));
                if (i > start && first + size <= i && (best == 0 || i - start < best))
                        best = i - start;
                if (i == start)
                        i++;
        }
        return best;
}

static void test_ranges_model(void **state)
{
        enum {
                N = 512
        };
        uint8_t model[N];
        uint32_t seed = 1;

        (void)state;
        for (int round = 0; round < 40; round++) {
                uint64_t origin = rnd(&seed) % 64;
                RangeSet s;

                memset(model, 0, sizeof(model));
                ranges_init(&s);
                for (int step = 0; step < 2000; step++) {
                        size_t at = rnd(&seed) % N, size = 1 + rnd(&seed) % (round % 2 ? 4 : 60);
                        size_t alignment = (size_t)1 << rnd(&seed) % 6, fit;
                        uint64_t start;
                        bool all;

                        switch (rnd(&seed) % 3) {
                        case 0: /* put what is not there, as far as that goes */
                                for (size_t end = at; end < N && !model[end] && end - at < size; end++)
                                        if (end + 1 == N || model[end + 1] || end + 1 - at == size) {
                                                assert_int_equal(ranges_put(&s, at, end + 1 - at), 0);
                                                memset(model + at, 1, end + 1 - at);
                                                break;
                                        }
                                break;
                        case 1:
                                fit = best_fit(model, N, size, alignment, origin);
                                if (ranges_take(&s, size, alignment, origin, &start) < 0) {
                                        assert_int_equal(fit, 0);
                                        break;
                                }
                                assert_int_equal((origin + start) % alignment, 0);
                                assert_true(start + size <= N);
                                size_t low = start, high = start + size;

                                while (low > 0 && model[low - 1])
                                        low--;
                                while (high < N && model[high])
                                        high++;
                                assert_int_equal(high - low, fit);
                                for (size_t i = start; i < start + size; i++) {
                                        assert_int_equal(model[i], 1);
                                        model[i] = 0;
                                }
                                break;
                        case 2:
                                all = at + size <= N;
                                for (size_t i = at; all && i < at + size; i++)
                                        all = model[i];
                                assert_int_equal(ranges_take_at(&s, at, size), all ? 0 : -ENOENT);
                                if (all)
                                        memset(model + at, 0, size);
                                break;
                        }
                        check_set(&s, model, N);
                }
                ranges_deinit(&s);
        }
}

static void test_many_ranges(void **state)
{
        const uint64_t n = 200000;
        RangeSet s;

        (void)state;
        ranges_init(&s);
        for (uint64_t i = 0; i < n; i++)
                assert_int_equal(ranges_put(&s, 2 * i * 7919 % (2 * n), 1), 0);
        assert_int_equal(s.n, n);
        for (uint64_t i = 0; i < n; i++)
                assert_int_equal(ranges_put(&s, 2 * i + 1, 1), 0);
        assert_int_equal(s.n, 1);
        assert_int_equal(s.total, 2 * n);
        ranges_deinit(&s);
}

/* ------------------------------------------------------------------------------------------------- units */

static void test_sync_backs_from_the_start(void **state)
{
        Units u;

        (void)state;
        assert_int_equal(units_init(&u, 0, 100, false), 0);
        units_sync(&u, 8 * U, 8 * U);
        assert_int_equal(u.n_backed, 8);
        assert_int_equal(u.free.total, 8 * U);
        assert_int_equal(u.free.n, 1);
        assert_int_equal(units_count_free(&u), 8);

        units_sync(&u, 8 * U, 8 * U); /* the same again */
        units_sync(&u, 4 * U, 8 * U); /* never unbacks */
        assert_int_equal(u.n_backed, 8);
        units_sync(&u, 9 * U, 9 * U);
        assert_int_equal(u.n_backed, 9);
        units_sync(&u, 200 * U, 200 * U); /* more than there are addresses for */
        assert_int_equal(u.n_backed, 100);
        assert_int_equal(ranges_largest(&u.free), 100 * U);
        units_deinit(&u);
}

static void test_is_free(void **state)
{
        bool zero;
        Units u;

        (void)state;
        assert_int_equal(units_init(&u, 0, 8, false), 0);
        assert_false(units_is_free(&u, 0, 1));
        units_sync(&u, 4 * U, 4 * U);
        assert_true(units_is_free(&u, 0, 4 * U));
        assert_false(units_is_free(&u, 0, 4 * U + 1));
        assert_false(units_is_free(&u, 4 * U, 1));
        assert_int_equal(units_take_at(&u, U, 4096, &zero), 0);
        assert_true(units_is_free(&u, U - 4096, 4096));
        assert_false(units_is_free(&u, U - 4096, 4097));
        assert_false(units_is_free(&u, U, 1));
        assert_false(units_is_free(&u, U + 4095, 2));
        assert_true(units_is_free(&u, U + 4096, 3 * U - 4096));
        units_deinit(&u);
}

static void test_give_highest_first(void **state)
{
        UnitSpan spans[4];
        uint64_t offset;
        bool zero;
        Units u;

        (void)state;
        assert_int_equal(units_init(&u, 0, 64, false), 0);
        units_sync(&u, 16 * U, 16 * U);
        /* A page in the middle of unit 12 and one at the start of unit 4. */
        assert_int_equal(units_take_at(&u, 12 * U + U / 2, 4096, &zero), 0);
        assert_int_equal(units_take_at(&u, 4 * U, 4096, &zero), 0);
        assert_int_equal(units_count_free(&u), 14);

        assert_int_equal(units_begin_give(&u, 5, spans, 4), 2);
        assert_int_equal(spans[0].first, 10);
        assert_int_equal(spans[0].count, 2);
        assert_int_equal(spans[1].first, 13);
        assert_int_equal(spans[1].count, 3);
        assert_int_equal(u.n_backed, 11);
        assert_int_equal(u.n_giving, 5);

        /* Nothing is placed in them meanwhile: what is left has no 8 units in a row but 0..3 and 5..9. */
        assert_int_equal(units_take(&u, 5 * U, 4096, &offset, &zero), 0);
        assert_int_equal(offset, 4 * U + 4096);
        assert_int_equal(units_put(&u, offset, 5 * U), 0);

        units_commit_give(&u, spans, 2, 11 * U, 16 * U);
        assert_int_equal(u.n_giving, 0);
        assert_int_equal(u.n_backed, 11);

        /* Growing by 6: units 10, 11, 13, 14, 15, then the end. */
        units_sync(&u, 17 * U, 17 * U);
        assert_int_equal(u.n_backed, 17);
        assert_int_equal(units_take_at(&u, 16 * U, U, &zero), 0);
        assert_true(zero);
        assert_int_equal(units_take_at(&u, 13 * U, 3 * U, &zero), 0);
        units_deinit(&u);
}

static void test_give_limits(void **state)
{
        UnitSpan spans[8];
        bool zero;
        Units u;

        (void)state;
        assert_int_equal(units_init(&u, 0, 64, false), 0);
        assert_int_equal(units_begin_give(&u, 1, spans, 8), 0);
        units_sync(&u, 16 * U, 16 * U);
        for (unsigned i = 0; i < 16; i += 2)
                assert_int_equal(units_take_at(&u, i * U, 1, &zero), 0);
        assert_int_equal(units_begin_give(&u, 0, spans, 8), 0);
        assert_int_equal(units_begin_give(&u, 64, spans, 3), 3); /* as many spans as there is room for */
        assert_int_equal(spans[0].first, 11);
        assert_int_equal(spans[2].first, 15);
        units_abort_give(&u, spans, 3);
        assert_int_equal(u.n_giving, 0);
        assert_int_equal(u.n_backed, 16);
        assert_int_equal(u.free.total, 16 * U - 8);
        assert_int_equal(units_begin_give(&u, 64, spans, 8), 8);
        assert_int_equal(units_begin_give(&u, 64, spans, 8), 0);
        units_deinit(&u);
}

/* A unit that lacks its last byte, or its first, is not free. */
static void test_give_needs_whole_units(void **state)
{
        UnitSpan spans[8];
        bool zero;
        Units u;

        (void)state;
        assert_int_equal(units_init(&u, 0, 64, false), 0);
        units_sync(&u, 3 * U, 3 * U);
        assert_int_equal(units_take_at(&u, U - 1, 1, &zero), 0);
        assert_int_equal(units_take_at(&u, 2 * U, 1, &zero), 0);
        assert_int_equal(units_begin_give(&u, 3, spans, 8), 1);
        assert_int_equal(spans[0].first, 1);
        assert_int_equal(spans[0].count, 1);
        units_deinit(&u);
}

/*
 * Somebody lets the pool grow while units are being given back: the order in which the daemon did it is no
 * matter.
 */
static void test_grown_while_giving(void **state)
{
        for (int before = 0; before < 2; before++) {
                UnitSpan spans[8];
                bool zero;
                Units u;

                (void)state;
                assert_int_equal(units_init(&u, 0, 64, false), 0);
                units_sync(&u, 8 * U, 8 * U);
                assert_int_equal(units_begin_give(&u, 2, spans, 8), 1); /* 6 and 7 */
                if (before)
                        units_sync(&u, 9 * U, 9 * U); /* an event; put off */
                assert_int_equal(u.n_backed, 6);
                units_commit_give(&u, spans, 1, 7 * U, 9 * U);
                assert_int_equal(u.n_backed, 7);
                assert_int_equal(u.n_giving, 0);
                assert_int_equal(units_take_at(&u, 8 * U, U, &zero), 0);
                assert_int_equal(units_take_at(&u, 6 * U, U, &zero), -ENOENT);
                units_deinit(&u);
        }
}

/* The answer is lost: the size tells what was done, and by how much the pool has grown since. */
/* Against trying it out: units are backed one by one until there is room. */
static void test_needed_for(void **state)
{
        uint32_t seed = 11;

        (void)state;
        for (unsigned round = 0; round < 3000; round++) {
                uint32_t max = 1 + rnd(&seed) % 140, length = rnd(&seed) % (max + 1), n = 0, needed;
                uint64_t bytes = 1 + rnd(&seed) % (8 * UNIT_SIZE);
                Units u;

                assert_int_equal(units_init(&u, 0, max, false), 0);
                units_sync(&u, length * UNIT_SIZE, length * UNIT_SIZE);
                for (unsigned i = 0; i < 40 && length > 0; i++) {
                        uint64_t at = rnd(&seed) % (length * UNIT_SIZE), size = rnd(&seed) % UNIT_SIZE;
                        bool zero;

                        if (size > 0)
                                (void)units_take_at(
                                        &u, at / 4096 * 4096, (size + 4095) / 4096 * 4096, &zero);
                }
                for (unsigned i = 0; i < 4; i++) {
                        UnitSpan spans[4];
                        unsigned k = units_begin_give(&u, 1 + rnd(&seed) % 8, spans, 4);

                        if (k > 0 && (rnd(&seed) & 3))
                                units_commit_give(&u, spans, k, u.n_backed * UNIT_SIZE, length * UNIT_SIZE);
                        else
                                units_abort_give(&u, spans, k);
                }
                needed = units_needed_for(&u, bytes);
                while (ranges_largest(&u.free) < bytes && u.n_backed < max) {
                        units_sync(&u, (u.n_backed + 1) * UNIT_SIZE, max * UNIT_SIZE);
                        n++;
                }
                if (ranges_largest(&u.free) < bytes)
                        n = UINT32_MAX;
                assert_int_equal(needed, n);
                units_deinit(&u);
        }
}

/* All that is backed and not free, once, from the end to the start. */
static void test_used(void **state)
{
        enum {
                PAGES = 512
        };
        uint32_t seed = 5;

        (void)state;
        for (unsigned round = 0; round < 300; round++) {
                uint32_t max = 1 + rnd(&seed) % 130;
                uint64_t limit = UINT64_MAX, start, end, below = max * UNIT_SIZE;
                uint8_t *used = calloc(max, PAGES);
                Units u;

                assert_non_null(used);
                assert_int_equal(units_init(&u, 0, max, round % 7 == 0), 0);
                units_sync(&u, max * UNIT_SIZE, max * UNIT_SIZE);
                for (unsigned i = 0; i < 20; i++) {
                        uint64_t size = 4096 * (1 + rnd(&seed) % (rnd(&seed) % 2 ? 2000 : 9)), at;
                        UnitSpan span = {rnd(&seed) % max, 1 + rnd(&seed) % 3};
                        bool zero;

                        if (u.raw && span.first + span.count <= max && units_begin_give_at(&u, span) == 0)
                                units_commit_give(&u, &span, 1, u.n_backed * UNIT_SIZE, max * UNIT_SIZE);
                        else if (!u.raw && units_take(&u, size, 4096, &at, &zero) == 0)
                                memset(used + at / 4096, 1, size / 4096);
                }
                for (unsigned i = 0; i < 5 && !u.raw; i++) {
                        UnitSpan span;
                        unsigned n = units_begin_give(&u, 1 + rnd(&seed) % 20, &span, 1);

                        units_commit_give(&u, &span, n, u.n_backed * UNIT_SIZE, max * UNIT_SIZE);
                }
                for (uint32_t i = 0; i < max && u.raw; i++)
                        if (u.backed[i / 64] >> (i % 64) & 1)
                                memset(used + (size_t)i * PAGES, 1, PAGES);
                while (units_used_before(&u, limit, &start, &end)) {
                        assert_true(start < end && end <= below);
                        for (uint64_t k = end / 4096; k < below / 4096; k++)
                                assert_int_equal(used[k], 0);
                        for (uint64_t k = start / 4096; k < end / 4096; k++)
                                assert_int_equal(used[k], 1);
                        limit = below = start;
                }
                for (uint64_t k = 0; k < below / 4096; k++)
                        assert_int_equal(used[k], 0);
                units_deinit(&u);
                free(used);
        }
}

static void test_settle(void **state)
{
        static const struct {
                uint64_t size;
                uint32_t given, backed;
                bool six;
                UnitsFate fate;
        } cases[] = {
                {5, 3, 5, false, UNITS_UNKNOWN},  /* taken */
                {6, 3, 6, true, UNITS_UNKNOWN},   /* taken, then grown by one: the lowest of them */
                {8, 0, 8, true, UNITS_UNKNOWN},   /* not taken */
                {10, 0, 10, true, UNITS_UNKNOWN}, /* not taken, grown by two */
                {5, 3, 5, false, UNITS_TAKEN},
                {8, 3, 8, true, UNITS_TAKEN}, /* and grown by as much */
                {8, 0, 8, true, UNITS_KEPT},
        };

        (void)state;
        for (unsigned i = 0; i < ELEMENTSOF(cases); i++) {
                UnitSpan spans[8];
                bool zero;
                Units u;

                assert_int_equal(units_init(&u, 0, 64, false), 0);
                units_sync(&u, 8 * U, 8 * U);
                assert_int_equal(units_take_at(&u, 6 * U, U, &zero), 0);
                assert_int_equal(units_begin_give(&u, 2, spans, 8), 2); /* 5 and 7 */
                units_abort_give(&u, spans, 2);
                assert_int_equal(units_put(&u, 6 * U, U), 0);
                assert_int_equal(units_begin_give(&u, 3, spans, 8), 1); /* 5, 6 and 7 */
                assert_int_equal(units_settle(&u, cases[i].fate, cases[i].size * U, 12 * U), cases[i].given);
                assert_int_equal(u.n_giving, 0);
                assert_int_equal(u.n_backed, cases[i].backed);
                assert_int_equal(u.free.total, cases[i].backed * U);
                assert_int_equal(units_take_at(&u, 5 * U, U, &zero), cases[i].six ? 0 : -ENOENT);
                units_deinit(&u);
        }
}

static void test_raw(void **state)
{
        Units u;

        (void)state;
        assert_int_equal(units_init(&u, 0, 64, true), 0);
        units_sync(&u, 8 * U, 8 * U);
        assert_int_equal(u.n_backed, 8);
        assert_int_equal(u.free.total, 0);
        assert_int_equal(units_begin_give_at(&u, (UnitSpan){7, 2}), -EINVAL);
        assert_int_equal(units_begin_give_at(&u, (UnitSpan){0, 0}), -EINVAL);
        assert_int_equal(units_begin_give_at(&u, (UnitSpan){UINT32_MAX, 2}), -EINVAL);
        assert_int_equal(units_begin_give_at(&u, (UnitSpan){8, 57}), -EINVAL);
        assert_int_equal(u.n_giving, 0);
        assert_int_equal(units_begin_give_at(&u, (UnitSpan){2, 3}), 0);
        assert_int_equal(units_begin_give_at(&u, (UnitSpan){2, 1}), -EINVAL);
        units_commit_give(&u, &(UnitSpan){2, 3}, 1, 5 * U, 8 * U);
        assert_int_equal(units_begin_give_at(&u, (UnitSpan){2, 1}), -EINVAL);
        assert_int_equal(u.n_backed, 5);
        assert_int_equal(units_begin_give_at(&u, (UnitSpan){0, 1}), 0);
        units_abort_give(&u, &(UnitSpan){0, 1}, 1);
        assert_int_equal(u.n_backed, 5);
        units_deinit(&u);
}

static void test_fresh_is_zero(void **state)
{
        UnitSpan spans[1];
        uint64_t offset;
        bool zero;
        Units u;

        (void)state;
        assert_int_equal(units_init(&u, 0, 64, false), 0);
        units_sync(&u, 2 * U, 2 * U);
        assert_int_equal(units_take(&u, 4096, 4096, &offset, &zero), 0);
        assert_true(zero);
        assert_int_equal(units_take(&u, 4096, 4096, &offset, &zero), 0);
        assert_true(zero);
        assert_int_equal(units_put(&u, offset, 4096), 0);
        assert_int_equal(units_take(&u, 4096, 4096, &offset, &zero), 0);
        assert_false(zero);

        /* What was handed out once is dirty also after it was away. */
        assert_int_equal(units_take_at(&u, U, U, &zero), 0);
        assert_true(zero);
        assert_int_equal(units_put(&u, U, U), 0);
        assert_int_equal(units_begin_give(&u, 1, spans, 1), 1);
        units_commit_give(&u, spans, 1, U, 2 * U);
        units_sync(&u, 3 * U, 3 * U);
        assert_int_equal(units_take_at(&u, U, U, &zero), 0);
        assert_false(zero);
        assert_int_equal(units_take_at(&u, 2 * U, U, &zero), 0);
        assert_true(zero);
        units_deinit(&u);
}

/* Alignment beyond a unit counts from the address, not from the file. */
static void test_alignment_of_addresses(void **state)
{
        uint64_t offset;
        bool zero;
        Units u;

        (void)state;
        assert_int_equal(units_init(&u, 3 * U, 64, false), 0);
        units_sync(&u, 16 * U, 16 * U);
        assert_int_equal(units_take(&u, 4096, 8 * U, &offset, &zero), 0);
        assert_int_equal(offset, 5 * U);
        assert_int_equal(units_take(&u, 4096, 16 * U, &offset, &zero), 0);
        assert_int_equal(offset, 13 * U);
        assert_int_equal(units_take(&u, 4096, 64 * U, &offset, &zero), -ENOSPC);
        units_deinit(&u);
}

/*
 * The daemon's side of the unit rules is played along, with changes that overtake each other: after every
 * settled step both sides agree on every single unit.
 */
static void test_units_model(void **state)
{
        enum {
                MAX = 96
        };
        uint32_t seed = 7;

        (void)state;
        for (int round = 0; round < 200; round++) {
                bool backed[MAX] = {};
                uint64_t size = 0, length = 0;
                Units u;

                assert_int_equal(units_init(&u, 0, MAX, true), 0);
                for (int step = 0; step < 200; step++) {
                        uint32_t first = rnd(&seed) % MAX, count = 1 + rnd(&seed) % 6, grow = rnd(&seed) % 5;
                        bool grow_first = rnd(&seed) % 2, told = rnd(&seed) % 2, taken = rnd(&seed) % 8 > 0;
                        UnitSpan span = {first, count};
                        bool gift = units_begin_give_at(&u, span) == 0;

                        for (int half = 0; half < 2; half++) {
                                if ((half == 0) == grow_first) {
                                        for (uint32_t k = 0; k < grow && size < MAX; k++) {
                                                uint32_t i = 0;

                                                while (backed[i])
                                                        i++;
                                                backed[i] = true;
                                                size++;
                                                length = length > i + 1 ? length : i + 1;
                                        }
                                        if (told)
                                                units_sync(&u, size * U, length * U);
                                } else if (gift && taken) {
                                        for (uint32_t i = first; i < first + count; i++) {
                                                assert_true(backed[i]);
                                                backed[i] = false;
                                        }
                                        size -= count;
                                        units_commit_give(&u, &span, 1, size * U, length * U);
                                } else if (gift)
                                        units_abort_give(&u, &span, 1);
                        }
                        units_sync(&u, size * U, length * U);

                        assert_int_equal(u.n_backed, size);
                        for (uint32_t i = 0; i < MAX; i++)
                                assert_int_equal(u.backed[i / 64] >> (i % 64) & 1, backed[i]);
                }
                units_deinit(&u);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_put_joins),
                cmocka_unit_test(test_take_best_fit),
                cmocka_unit_test(test_take_aligned),
                cmocka_unit_test(test_take_at),
                cmocka_unit_test(test_ranges_model),
                cmocka_unit_test(test_many_ranges),
                cmocka_unit_test(test_sync_backs_from_the_start),
                cmocka_unit_test(test_is_free),
                cmocka_unit_test(test_give_highest_first),
                cmocka_unit_test(test_give_limits),
                cmocka_unit_test(test_give_needs_whole_units),
                cmocka_unit_test(test_grown_while_giving),
                cmocka_unit_test(test_needed_for),
                cmocka_unit_test(test_used),
                cmocka_unit_test(test_settle),
                cmocka_unit_test(test_raw),
                cmocka_unit_test(test_fresh_is_zero),
                cmocka_unit_test(test_alignment_of_addresses),
                cmocka_unit_test(test_units_model),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
