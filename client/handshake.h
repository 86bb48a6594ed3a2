/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The first exchange on a new connection, done by one thread on a descriptor that nobody else knows yet:
 * Hello, and after a disconnect the question which pools there still are.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "proto/result.h"
#include "proto/wire.h"

typedef Pmbroker__V1__ClientPacket ClientPacket;
typedef Pmbroker__V1__ServerPacket ServerPacket;

typedef struct ResumedPool {
        uint64_t id;
        uint64_t size;
        uint64_t length;
        bool releasing;
} ResumedPool;

typedef struct Handshake {
        int fd;
        ResumedPool *pools; /* all pools of this process, in no order */
        size_t n_pools;
        ServerPacket **events; /* that came in between, in order */
        size_t n_events;
        Refusal refusal; /* when the daemon said no */
} Handshake;

/*
 * Connect to `path`, and fill *ret, which handshake_deinit() empties. On failure only ret->refusal may be
 * set. Returns 0; the errno of connect(); -EPROTONOSUPPORT, -EUSERS and so on for what the daemon refused;
 * -ETIMEDOUT; -ECONNRESET when it hung up, -EBADMSG or -EPROTO when it does not speak the protocol.
 */
int handshake_run(const char *path, bool resume, uint64_t deadline_usec, Handshake *ret);

void handshake_deinit(Handshake *h);

/* The refusal that an Error packet carries. */
Refusal refusal_from_error(const Pmbroker__V1__Error *error);

/* The negative errno of a refusal, never 0. */
int refusal_to_errno(const Refusal *refusal);

/* Wait for `events` (POLLIN, POLLOUT) until then. Returns 0, -ETIMEDOUT, or another negative errno. */
int poll_until(int fd, short events, uint64_t deadline_usec);
