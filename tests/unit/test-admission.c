/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "core/admission.h"

static const AdmissionLimits limits = {.sessions_max = 100, .sessions_per_uid = 40, .sessions_reserved = 4};

static Admission decide(bool admin, uint32_t own, uint32_t total, uint32_t users, uint32_t largest)
{
        return admission_decide(&limits,
                &(AdmissionRequest){
                        .admin = admin, .own = own, .total = total, .users = users, .largest = largest});
}

static void while_there_is_room(void **state)
{
        (void)state;
        assert_int_equal(admission_room(&limits), 96);
        assert_int_equal(decide(false, 0, 0, 1, 0), ADMISSION_GRANTED);
        assert_int_equal(decide(false, 39, 95, 5, 40), ADMISSION_GRANTED);
        assert_int_equal(decide(false, 40, 50, 5, 40), ADMISSION_REFUSED_USER);
        assert_int_equal(decide(false, 40, 96, 5, 40), ADMISSION_REFUSED_USER);
}

static void the_share_and_not_one_more(void **state)
{
        (void)state;
        /* 96 for 4 users: 24 each */
        assert_int_equal(decide(false, 23, 96, 4, 25), ADMISSION_IN_PLACE);
        assert_int_equal(decide(false, 24, 96, 4, 25), ADMISSION_REFUSED_ALL);
        assert_int_equal(decide(false, 25, 96, 4, 40), ADMISSION_REFUSED_ALL);
        /* nobody is pushed below his */
        assert_int_equal(decide(false, 23, 96, 4, 24), ADMISSION_REFUSED_ALL);
        /* more users than places: there is no share */
        assert_int_equal(decide(false, 0, 96, 97, 1), ADMISSION_REFUSED_ALL);
        assert_int_equal(decide(false, 0, 96, 96, 2), ADMISSION_IN_PLACE);
}

static void an_administrator_always_gets_in(void **state)
{
        (void)state;
        assert_int_equal(decide(true, 1000, 99, 5, 40), ADMISSION_GRANTED);
        assert_int_equal(decide(true, 0, 96, 5, 40), ADMISSION_GRANTED);
        assert_int_equal(decide(true, 50, 100, 101, 1), ADMISSION_IN_PLACE);
        assert_int_equal(decide(true, 100, 100, 1, 100), ADMISSION_IN_PLACE);
}

static void limits_that_leave_nothing(void **state)
{
        const AdmissionLimits none = {.sessions_max = 4, .sessions_per_uid = 4, .sessions_reserved = 4};

        (void)state;
        assert_int_equal(admission_room(&none), 0);
        assert_int_equal(admission_decide(&none, &(AdmissionRequest){.users = 1}), ADMISSION_REFUSED_ALL);
        assert_int_equal(admission_decide(&none, &(AdmissionRequest){.admin = true}), ADMISSION_GRANTED);
}

/* Users come and grab what they can; in the end each has his share, and nobody above it was needed for that. */
static void everybody_ends_with_his_share(void **state)
{
        uint32_t has[12] = {0}, total = 0;

        (void)state;
        srand(1);
        for (uint32_t users = 1; users <= ELEMENTSOF(has); users++) {
                for (unsigned i = 0; i < 20000; i++) {
                        uint32_t who = i < 10000 ? users - 1 : (uint32_t)rand() % users, largest = 0, n = 0;
                        Admission a;

                        for (uint32_t k = 0; k < ELEMENTSOF(has); k++) {
                                n += has[k] > 0;
                                if (has[k] > has[largest])
                                        largest = k;
                        }
                        a = decide(false, has[who], total, n + (has[who] == 0), has[largest]);
                        if (a == ADMISSION_IN_PLACE) {
                                assert_int_not_equal(largest, who);
                                has[largest]--;
                                total--;
                        }
                        if (a == ADMISSION_GRANTED || a == ADMISSION_IN_PLACE) {
                                has[who]++;
                                total++;
                        }
                        assert_true(total <= 96 && has[who] <= 40);
                }
                for (uint32_t k = 0; k < users; k++)
                        assert_true(has[k] >= (96 / users < 40 ? 96 / users : 40));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(while_there_is_room),
                cmocka_unit_test(the_share_and_not_one_more),
                cmocka_unit_test(an_administrator_always_gets_in),
                cmocka_unit_test(limits_that_leave_nothing),
                cmocka_unit_test(everybody_ends_with_his_share),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
