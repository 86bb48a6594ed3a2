/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/limits.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"

const LimitName limit_names[] = {
        {"Bytes", PMBROKER__V1__LIMIT_FIELD__LIMIT_BYTES},
        {"Pools", PMBROKER__V1__LIMIT_FIELD__LIMIT_POOLS},
        {"PoolBytes", PMBROKER__V1__LIMIT_FIELD__LIMIT_POOL_BYTES},
        {0},
};

static bool is_infinity(const char *value)
{
        return strcasecmp(value, "infinity") == 0;
}

/* A size, a percentage, or one of each. */
static int parse_bytes(const char *value, Pmbroker__V1__SetLimit *request)
{
        char text[64], *save = NULL;
        bool any = false;

        request->bytes_max = UINT64_MAX;
        request->percent = 0;
        if (is_infinity(value))
                return 0;
        if (strlen(value) >= sizeof(text))
                return -EINVAL;
        strcpy(text, value);
        for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
                uint64_t bytes;
                unsigned percent;

                if (parse_size_or_percent(word, &bytes, &percent) < 0)
                        return -EINVAL;
                if (percent > 0 ? request->percent > 0 : request->bytes_max != UINT64_MAX)
                        return -EINVAL;
                if (percent > 0)
                        request->percent = percent;
                else
                        request->bytes_max = bytes;
                any = true;
        }
        return any ? 0 : -EINVAL;
}

static int parse_value(unsigned bit, const char *value, Pmbroker__V1__SetLimit *request)
{
        switch (bit) {
        case PMBROKER__V1__LIMIT_FIELD__LIMIT_BYTES:
                return parse_bytes(value, request);
        case PMBROKER__V1__LIMIT_FIELD__LIMIT_POOLS:
                request->pools_max = UINT32_MAX;
                return is_infinity(value) ? 0 : parse_u32(value, &request->pools_max);
        default:
                request->pool_bytes_max = UINT64_MAX;
                return is_infinity(value) ? 0 : parse_size(value, &request->pool_bytes_max);
        }
}

int limits_parse(const char *word, Pmbroker__V1__SetLimit *request, char error[static LIMITS_ERROR_MAX])
{
        const char *equals = strchr(word, '=');
        const LimitName *name = limit_names;

        while (name->key && equals &&
                (strlen(name->key) != (size_t)(equals - word) ||
                        strncasecmp(name->key, word, (size_t)(equals - word)) != 0))
                name++;
        if (!equals || !name->key) {
                (void)snprintf(error, LIMITS_ERROR_MAX, "'%.60s' is not Bytes=, Pools= or PoolBytes=", word);
                return -EINVAL;
        }
        if ((request->set | request->clear) & name->bit) {
                (void)snprintf(error, LIMITS_ERROR_MAX, "%s= is there twice", name->key);
                return -EINVAL;
        }
        if (equals[1] == '\0') {
                request->clear |= name->bit;
                return 0;
        }
        if (parse_value(name->bit, equals + 1, request) < 0) {
                (void)snprintf(
                        error, LIMITS_ERROR_MAX, "'%.60s' is no value for %s=", equals + 1, name->key);
                return -EINVAL;
        }
        request->set |= name->bit;
        return 0;
}
