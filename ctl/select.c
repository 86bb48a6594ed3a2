/* SPDX-License-Identifier: BSD-3-Clause */
/* Which pool is meant, see select.h. */

#include "ctl/select.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"

#define ID_DIGITS 16

bool select_is_id(const char *spec, uint64_t *ret_id)
{
        return strlen(spec) == ID_DIGITS && parse_hex64(spec, ret_id) == 0;
}

bool select_matches(const Pmbroker__V1__PoolRow *row, const char *spec)
{
        char id[ID_DIGITS + 1];
        uint64_t whole;

        if (*spec == '\0')
                return false;
        if (select_is_id(spec, &whole))
                return row->pool == whole;
        (void)snprintf(id, sizeof(id), "%016" PRIx64, row->pool);
        return strncasecmp(id, spec, strlen(spec)) == 0 || strcmp(row->name, spec) == 0;
}

int select_pool(Pmbroker__V1__PoolRow *const *rows, size_t n, const char *spec, size_t *ret_index)
{
        size_t found = n;

        for (size_t i = 0; i < n; i++) {
                if (!select_matches(rows[i], spec))
                        continue;
                if (found < n)
                        return -ENOTUNIQ;
                found = i;
        }
        if (found == n)
                return -ENOENT;
        *ret_index = found;
        return 0;
}
