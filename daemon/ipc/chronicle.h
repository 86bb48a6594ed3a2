/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What happened to pools, stores and tenants: a record in the journal, with fields, and an event for the sessions that
 * watch. From the records of pools alone follows who held how many bytes when; the message ids are explained in
 * systemd/pmbroker.catalog, and the fields in pmbrokerd(8).
 */

#include <stdint.h>

#include "ipc/session.h"
#include "proto/pmbroker.pb-c.h"
#include "proto/result.h"

typedef struct Happening {
        Pmbroker__V1__HappenedKind kind;
        const Pool *pool;   /* or NULL */
        const char *tenant; /* without a pool: by name, or NULL */
        const char *store;  /* likewise */
        uint64_t bytes;     /* of the pool: now, and before */
        uint64_t bytes_before;
        const Session *by;      /* the administrator who wanted it; NULL: nobody did */
        const Session *refused; /* of a refusal: whom, and why */
        const Refusal *refusal;
        const char *text; /* what there is to add, or NULL */
} Happening;

void chronicle(Server *server, const Happening *happening);

/* A refusal, if it is one that somebody should know of. Of one user's there are 10 at once and one each second at most;
 * how many were left out is said with the next one. */
void chronicle_refusal(const Session *session, const Refusal *refusal);
