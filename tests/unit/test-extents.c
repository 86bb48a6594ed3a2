/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "provisioner/extents.h"
#include "provisioner/fsdax-pool.h"

#define U JOB_UNIT

static void the_limit_of_a_file_at_rest(void **state)
{
        static const struct {
                uint64_t used, size, length, limit;
        } cases[] = {
                {2 * U, 2 * U, 2 * U, 3 * U}, /* neither hole nor tree: a cluster to split extents with */
                {3 * U, 2 * U, 2 * U, 3 * U}, /* it has been taken for the tree */
                {4 * U, 2 * U, 2 * U, 4 * U}, /* and another */
                {2 * U, 2 * U, 3 * U, 2 * U}, /* a hole: what is to spare could fill it */
                {3 * U, 2 * U, 3 * U, 2 * U}, /* a hole and a tree, which may go */
                {U, U, U, 2 * U},             /* the smallest */
                {200 * U, 199 * U, 199 * U, 200 * U}, /* 398 MiB, one tree cluster from the start */
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_int_equal(
                        extents_first_limit(cases[i].used, cases[i].size, cases[i].length), cases[i].limit);
}

static void the_allowance(void **state)
{
        (void)state;
        assert_int_equal(extents_allowance(0), 4 << 20);
        assert_int_equal(extents_allowance(128 * U), (4 << 20) + U);
        assert_int_equal(extents_allowance(UINT64_C(1) << 40), (4 << 20) + (UINT64_C(1) << 33));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_limit_of_a_file_at_rest),
                cmocka_unit_test(the_allowance),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
