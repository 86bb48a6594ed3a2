/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What set-limit is asked for: settings as in [Tenant] of pmbrokerd.conf(5), one per word. Pure. */

#include <stddef.h>

#include "proto/pmbroker.pb-c.h"

#define LIMITS_ERROR_MAX 160

typedef struct LimitName {
        const char *key; /* "Bytes" */
        unsigned bit;    /* Pmbroker__V1__LimitField */
} LimitName;

extern const LimitName limit_names[]; /* ended by one without a key */

/*
 * "Bytes=8G 25%", "Pools=10", "PoolBytes=infinity", "Bytes=" into the request's set, clear and values. Returns 0, or
 * -EINVAL with one line in `error`: not of the form, or the same setting twice.
 */
int limits_parse(const char *word, Pmbroker__V1__SetLimit *request, char error[static LIMITS_ERROR_MAX]);
