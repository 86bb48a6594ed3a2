/* SPDX-License-Identifier: BSD-3-Clause */
/* Our classes are jemalloc's, and both sides of each of them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "pmb_jemalloc.h"
#include "client/sizeclass.h"

static void test_classes_are_those_of_the_arena(void **state)
{
        (void)state;
        sizeclass_init();
        assert_int_equal(class_sizes[CLASS_NONE], 0);
        assert_int_equal(class_sizes[CLASS_FIRST], 8);
        assert_int_equal(class_sizes[CLASS_LAST], CLASS_SIZE_MAX);
        assert_int_equal(class_sizes[CLASS_HUGE], 0);
        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++) {
                size_t size = class_sizes[k];

                assert_int_equal(pmbj_nallocx(size, 0), size);
                assert_int_equal(sizeclass_of(size), k);
                assert_int_equal(sizeclass_of(size - 1), k);
                assert_int_equal(sizeclass_of(size + 1), k + 1);
                if (k < CLASS_LAST)
                        assert_int_equal(pmbj_nallocx(size + 1, 0), class_sizes[k + 1]);
        }
        assert_int_equal(sizeclass_of(0), CLASS_FIRST);
        assert_int_equal(sizeclass_of(SIZE_MAX), CLASS_HUGE);
}

static void test_every_size(void **state)
{
        (void)state;
        sizeclass_init();
        for (size_t size = 1; size <= 300000; size++)
                assert_int_equal(class_sizes[sizeclass_of(size)], pmbj_nallocx(size, 0));
}

/* What aligned allocation relies on: a class for a multiple of an alignment is one, too. */
static void test_multiples_of_alignments(void **state)
{
        (void)state;
        sizeclass_init();
        for (size_t alignment = 8; alignment <= 4096; alignment *= 2)
                for (size_t size = alignment; size <= CLASS_SIZE_MAX && size <= 4096 * alignment;
                        size += alignment)
                        assert_int_equal(class_sizes[sizeclass_of(size)] % alignment, 0);
}

static void test_capacity(void **state)
{
        (void)state;
        assert_int_equal(sizeclass_room(CLASS_NONE), 0);
        assert_int_equal(sizeclass_room(CLASS_HUGE), 0);
        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++) {
                unsigned last = 0;

                assert_in_range(sizeclass_batch(k), 1, 64);
                for (uint64_t size = (uint64_t)1 << 20; size <= (uint64_t)1 << 40; size *= 2) {
                        unsigned n = sizeclass_capacity(k, size);

                        assert_true(n >= last && n <= sizeclass_room(k));
                        /* Never more than a sixteenth. */
                        assert_true(n * class_sizes[k] <= size / 16);
                        last = n;
                }
                assert_int_equal(last, sizeclass_room(k));
        }
        assert_int_equal(sizeclass_capacity(sizeclass_of(64), 32 << 20), 128);
        assert_int_equal(sizeclass_capacity(sizeclass_of(1 << 20), 32 << 20), 2);
        assert_int_equal(sizeclass_capacity(sizeclass_of((1 << 20) + 1), 32 << 20), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_classes_are_those_of_the_arena),
                cmocka_unit_test(test_every_size),
                cmocka_unit_test(test_multiples_of_alignments),
                cmocka_unit_test(test_capacity),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
