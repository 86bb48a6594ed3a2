/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The rows of pools as the daemon tells them, and the one that a user means. */

#include "ctl/connection.h"
#include "ctl/pages.h"

typedef struct Pools {
        Pages pages; /* own what the rows point to */
        Pmbroker__V1__PoolRow **rows;
        size_t n_rows;
} Pools;

void pools_done(Pools *pools);

/* All that this session may see. Returns as ctl_request(). */
int pools_fetch(CtlConnection *c, Pools *ret);

/* The one pool that is meant (see select.h), as rows[0]. EXIT_NO_POOL if there is none, or several. */
int pools_fetch_one(CtlConnection *c, const char *spec, Pools *ret);

/* The same when only the id is wanted: a whole id is not looked up. */
int pools_resolve(CtlConnection *c, const char *spec, uint64_t *ret_id);

#define POOLS_SUBJECT_MAX 24

/* "pool 0123456789abcdef", as messages begin. Returns buf. */
char *pools_subject(uint64_t id, char buf[static POOLS_SUBJECT_MAX]);
