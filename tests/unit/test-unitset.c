/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "provisioner/unitset.h"

#define RANGES(...) ((const JobRange[]){__VA_ARGS__}), ELEMENTSOF(((const JobRange[]){__VA_ARGS__}))

static UnitSet make(const JobRange *ranges, size_t n)
{
        UnitSet set = {};

        for (size_t i = 0; i < n; i++)
                assert_int_equal(unitset_append(&set, ranges[i].first, ranges[i].count), 0);
        return set;
}

static void assert_set(const UnitSet *set, const JobRange *ranges, size_t n)
{
        assert_int_equal(set->n, n);
        for (size_t i = 0; i < n; i++) {
                assert_int_equal(set->ranges[i].first, ranges[i].first);
                assert_int_equal(set->ranges[i].count, ranges[i].count);
        }
}

static void appending_merges(void **state)
{
        _cleanup_unitset_ UnitSet set =
                make(RANGES({0, 2}, {2, 1}, {2, 5}, {3, 1}, {9, 1}, {20, 0}, {10, 2}));

        (void)state;
        assert_set(&set, RANGES({0, 7}, {9, 3}));
        assert_int_equal(unitset_count(&set), 10);
}

static void subtracting_and_intersecting(void **state)
{
        _cleanup_unitset_ UnitSet a = make(RANGES({0, 10}, {20, 10}, {40, 1})),
                                  b = make(RANGES({0, 1}, {3, 2}, {9, 13}, {29, 11}, {50, 5})), less = {},
                                  both = {}, none = {}, same = {}, nothing = {};

        (void)state;
        assert_int_equal(unitset_subtract(&a, &b, &less), 0);
        assert_set(&less, RANGES({1, 2}, {5, 4}, {22, 7}, {40, 1}));
        assert_int_equal(unitset_intersect(&a, &b, &both), 0);
        assert_set(&both, RANGES({0, 1}, {3, 2}, {9, 1}, {20, 2}, {29, 1}));
        assert_int_equal(unitset_count(&less) + unitset_count(&both), unitset_count(&a));
        assert_int_equal(unitset_subtract(&a, &a, &none), 0);
        assert_int_equal(none.n, 0);
        assert_int_equal(unitset_subtract(&a, &none, &same), 0);
        assert_true(unitset_equal(&a, &same));
        assert_false(unitset_equal(&a, &b));
        assert_int_equal(unitset_intersect(&none, &a, &nothing), 0);
        assert_true(unitset_equal(&none, &nothing));
}

static void equal_is_each_range(void **state)
{
        _cleanup_unitset_ UnitSet a = make(RANGES({0, 10}, {20, 10})),
                                  same = make(RANGES({0, 10}, {20, 10})),
                                  longer = make(RANGES({0, 10}, {20, 11})),
                                  moved = make(RANGES({0, 10}, {21, 10})), less = make(RANGES({0, 10})),
                                  none = {};

        (void)state;
        assert_true(unitset_equal(&a, &same));
        assert_true(unitset_equal(&none, &none));
        assert_false(unitset_equal(&a, &longer));
        assert_false(unitset_equal(&a, &moved));
        assert_false(unitset_equal(&a, &less));
        assert_false(unitset_equal(&less, &a));
        assert_false(unitset_equal(&none, &a));
}

static void filling_takes_the_lowest_holes(void **state)
{
        _cleanup_unitset_ UnitSet set = make(RANGES({1, 2}, {5, 1}));
        static const struct {
                uint64_t count, length;
                int r;
                size_t n;
                JobRange ranges[3];
        } cases[] = {
                {2, 6, -ERANGE, 0, {}},
                {3, 6, 0, 2, {{1, 2}, {5, 1}}},
                {4, 6, 0, 2, {{0, 3}, {5, 1}}},
                {5, 6, 0, 2, {{0, 4}, {5, 1}}},
                {6, 6, 0, 1, {{0, 6}}},
                {7, 6, -ERANGE, 0, {}},
                {7, 8, 0, 1, {{0, 7}}},
                {8, 8, 0, 1, {{0, 8}}},
                {9, 8, -ERANGE, 0, {}},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_unitset_ UnitSet filled = {};
                assert_int_equal(unitset_fill(&set, cases[i].count, cases[i].length, &filled), cases[i].r);
                if (cases[i].r == 0)
                        assert_set(&filled, cases[i].ranges, cases[i].n);
        }
        _cleanup_unitset_ UnitSet empty = {}, first = {};
        assert_int_equal(unitset_fill(&empty, 3, 8, &first), 0);
        assert_set(&first, RANGES({0, 3}));
}

/* Against an array of booleans. */
static void at_random(void **state)
{
        enum {
                UNITS = 64
        };

        (void)state;
        srandom(1);
        for (int round = 0; round < 2000; round++) {
                bool in_a[UNITS] = {}, in_b[UNITS] = {};
                _cleanup_unitset_ UnitSet a = {}, b = {}, less = {}, both = {}, filled = {};
                unsigned n = 0;
                for (unsigned i = 0; i < UNITS; i++) {
                        in_a[i] = random() % 3 > 0;
                        in_b[i] = random() % 2 > 0;
                        n += in_a[i];
                        assert_int_equal(unitset_append(&a, i, in_a[i]), 0);
                        assert_int_equal(unitset_append(&b, i, in_b[i]), 0);
                }
                unsigned want = n + (unsigned)random() % (UNITS - n + 1);
                assert_int_equal(unitset_subtract(&a, &b, &less), 0);
                assert_int_equal(unitset_intersect(&a, &b, &both), 0);
                assert_int_equal(unitset_fill(&a, want, UNITS, &filled), 0);
                const UnitSet *sets[] = {&less, &both, &filled};
                for (unsigned k = 0; k < ELEMENTSOF(sets); k++) {
                        bool found[UNITS] = {};
                        for (size_t i = 0; i < sets[k]->n; i++)
                                for (unsigned u = 0; u < sets[k]->ranges[i].count; u++)
                                        found[sets[k]->ranges[i].first + u] = true;
                        unsigned more = want - n;
                        for (unsigned i = 0; i < UNITS; i++) {
                                bool should = k == 0   ? in_a[i] && !in_b[i]
                                              : k == 1 ? in_a[i] && in_b[i]
                                                       : in_a[i];
                                if (k == 2 && !in_a[i] && more > 0) {
                                        should = true;
                                        more--;
                                }
                                assert_int_equal(found[i], should);
                        }
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(appending_merges),
                cmocka_unit_test(subtracting_and_intersecting),
                cmocka_unit_test(equal_is_each_range),
                cmocka_unit_test(filling_takes_the_lowest_holes),
                cmocka_unit_test(at_random),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
