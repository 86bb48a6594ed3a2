/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What clients can grow, and how far. The defaults are in config-table.c; pmbroker.proto and pmbrokerd.conf(5)
 * name them. */

#include <stdint.h>

/* Fixed by the protocol. */
#define LIMIT_IN_FLIGHT 16    /* requests of a session that are worked on */
#define LIMIT_RESULTS   64    /* results of a session that are kept for repeating */
#define LIMIT_UNREAD    65536 /* bytes of replies that wait to be read */

/* Set by the configuration. */
typedef struct Limits {
        uint32_t sessions_max;
        uint32_t sessions_per_uid;
        uint32_t sessions_reserved; /* of sessions_max, for administrators */
        uint32_t requests_per_sec;  /* create, destroy, resize, give back; per uid */
        uint32_t requests_burst;
        uint64_t hello_timeout_usec;
        uint64_t unread_timeout_usec;
        uint64_t reconnect_usec; /* how long pools wait for a living owner without a session */
        uint64_t shrink_usec;    /* how long a shrink waits for an owner that gives nothing back */
} Limits;
