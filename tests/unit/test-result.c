/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/parse.h"
#include "proto/result.h"

static void every_code_has_a_name_and_an_errno(void **state)
{
        (void)state;
        for (Result c = RESULT_OK; c < _RESULT_MAX; c++) {
                assert_non_null(result_to_string(c));
                assert_string_not_equal(result_to_string(c), "unknown");
                assert_true((result_to_errno(c) == 0) == (c == RESULT_OK));
                for (Result d = RESULT_OK; d < c; d++)
                        assert_string_not_equal(result_to_string(c), result_to_string(d));
        }
        assert_string_equal(result_to_string(_RESULT_MAX), "unknown");
        assert_string_equal(result_to_string((Result)-1), "unknown");
        assert_int_equal(result_to_errno(_RESULT_MAX), EPROTO);
        assert_int_equal(result_to_errno(RESULT_QUOTA_BYTES), EDQUOT);
        assert_int_equal(result_to_errno(RESULT_STORE_FULL), ENOSPC);
}

static void sentences_carry_their_numbers(void **state)
{
        char buf[REFUSAL_SENTENCE_MAX];
        Refusal r = {.code = RESULT_QUOTA_BYTES,
                .asked = 64 * MIB,
                .limit = 8 * GIB,
                .used = 8 * GIB,
                .subject = "batch"};

        (void)state;
        assert_string_equal(
                refusal_to_sentence(&r, buf), "tenant batch has 8G of 8G in use, 64M more were asked for");
        r.code = RESULT_STORE_FULL;
        assert_string_equal(
                refusal_to_sentence(&r, buf), "store batch has 8G of 8G in use, 64M more were asked for");
        r = (Refusal){.code = RESULT_QUOTA_POOLS, .asked = 1, .limit = 3, .used = 3, .subject = "batch"};
        assert_string_equal(refusal_to_sentence(&r, buf), "tenant batch has 3 of 3 pools");
        r = (Refusal){.code = RESULT_FAILED, .errno_value = EIO};
        assert_non_null(strstr(refusal_to_sentence(&r, buf), strerror(EIO)));
        r = (Refusal){.code = (Result)77};
        assert_string_equal(refusal_to_sentence(&r, buf), "refused with code 77");
}

static void every_sentence_ends(void **state)
{
        (void)state;
        for (Result c = RESULT_OK; c <= _RESULT_MAX; c++) {
                char buf[REFUSAL_SENTENCE_MAX];
                Refusal r = {.code = c,
                        .asked = UINT64_MAX,
                        .limit = UINT64_MAX,
                        .used = UINT64_MAX,
                        .subject = "abcdefghijklmnopqrstuvwxyz012345"};

                memset(buf, 'x', sizeof(buf));
                refusal_to_sentence(&r, buf);
                assert_non_null(memchr(buf, '\0', sizeof(buf)));
                assert_true(strlen(buf) > 0 && strlen(buf) < sizeof(buf) - 1); /* not cut either */
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_code_has_a_name_and_an_errno),
                cmocka_unit_test(sentences_carry_their_numbers),
                cmocka_unit_test(every_sentence_ends),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
