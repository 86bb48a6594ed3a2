/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "provisioner/account.h"

static void they_come_and_go_with_their_orders(void **state)
{
        List accounts = LIST_INIT(accounts), order;
        Account *a, *b, *again;

        (void)state;
        assert_int_equal(account_get(&accounts, 0, &a), 0);
        assert_int_equal(account_get(&accounts, UINT64_MAX, &b), 0);
        assert_int_equal(account_get(&accounts, 0, &again), 0);
        assert_ptr_equal(a, again);
        assert_ptr_not_equal(a, b);

        list_init(&order);
        list_append(&a->waiting, &order);
        account_put(a); /* an order waits */
        list_unlink(&order);
        a->running = 1;
        account_put(a); /* and runs */
        assert_int_equal(account_get(&accounts, 0, &again), 0);
        assert_ptr_equal(a, again);
        a->running = 0;
        account_put(a);
        account_put(b);
        assert_true(list_is_empty(&accounts));
}

static void they_take_turns(void **state)
{
        List accounts = LIST_INIT(accounts), orders[3];
        Account *a[3];

        (void)state;
        assert_null(account_next(&accounts));
        for (size_t i = 0; i < ELEMENTSOF(a); i++) {
                assert_int_equal(account_get(&accounts, i, &a[i]), 0);
                list_init(&orders[i]);
                list_append(&a[i]->waiting, &orders[i]);
        }
        for (size_t i = 0; i < 30; i++)
                assert_ptr_equal(account_next(&accounts), a[i % 3]);
        for (size_t i = 0; i < ELEMENTSOF(a); i++) {
                list_unlink(&orders[i]);
                account_put(a[i]);
        }
}

static void who_has_enough_under_way_waits(void **state)
{
        List accounts = LIST_INIT(accounts), orders[2];
        Account *a, *b;

        (void)state;
        assert_int_equal(account_get(&accounts, 1, &a), 0);
        assert_int_equal(account_get(&accounts, 2, &b), 0);
        list_init(&orders[0]);
        list_init(&orders[1]);
        list_append(&a->waiting, &orders[0]);
        a->running = ACCOUNT_RUNNING_MAX;
        assert_null(account_next(&accounts)); /* b wants nothing */
        list_append(&b->waiting, &orders[1]);
        for (b->running = 0; b->running < ACCOUNT_RUNNING_MAX; b->running++)
                assert_ptr_equal(account_next(&accounts), b);
        assert_null(account_next(&accounts));
        a->running--;
        assert_ptr_equal(account_next(&accounts), a);

        list_unlink(&orders[0]);
        list_unlink(&orders[1]);
        a->running = b->running = 0;
        account_put(a);
        account_put(b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(they_come_and_go_with_their_orders),
                cmocka_unit_test(they_take_turns),
                cmocka_unit_test(who_has_enough_under_way_waits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
