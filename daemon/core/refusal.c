/* SPDX-License-Identifier: BSD-3-Clause */

/* Filling in a Refusal. */

#include <assert.h>
#include <string.h>

#include "core/refusal.h"

Result refuse(Refusal *ret, Result code, uint64_t asked, uint64_t limit, uint64_t used, const char *subject)
{
        Refusal refusal = {.code = code, .asked = asked, .limit = limit, .used = used};
        size_t length = strlen(subject);

        assert(code != RESULT_OK);
        assert(length < sizeof(refusal.subject));
        memcpy(refusal.subject, subject, length);
        *ret = refusal;
        return code;
}

Result refuse_plain(Refusal *ret, Result code, const char *subject)
{
        return refuse(ret, code, 0, 0, 0, subject);
}

Result refuse_invalid(Refusal *ret, uint64_t asked)
{
        return refuse(ret, RESULT_INVALID, asked, 0, 0, "");
}

Result refuse_errno(Refusal *ret, int error)
{
        assert(error < 0);
        (void)refuse_plain(ret, RESULT_FAILED, "");
        ret->errno_value = -error;
        return RESULT_FAILED;
}
