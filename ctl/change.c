/* SPDX-License-Identifier: BSD-3-Clause */
/* What resize is asked for. */

#include "ctl/change.h"

#include <errno.h>

#include "base/parse.h"

int change_parse(const char *s, Change *ret)
{
        Change change = {.sign = *s == '+' ? 1 : *s == '-' ? -1 : 0};
        int r;

        r = parse_size(s + (change.sign != 0), &change.bytes);
        if (r < 0)
                return r;
        *ret = change;
        return 0;
}

int change_apply(const Change *change, uint64_t current, uint64_t *ret_target, bool *ret_rounded)
{
        uint64_t exact, target;

        if (change->sign < 0) {
                if (change->bytes >= current)
                        return -EDOM;
                exact = current - change->bytes;
        } else if (__builtin_add_overflow(change->sign > 0 ? current : 0, change->bytes, &exact))
                return -ERANGE;
        if (exact == 0)
                return -EDOM;
        if (__builtin_add_overflow(exact, CHANGE_UNIT - 1, &target))
                return -ERANGE;
        target -= target % CHANGE_UNIT;
        *ret_target = target;
        *ret_rounded = target != exact;
        return 0;
}
