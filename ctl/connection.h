/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One session with the daemon: one request, one answer, one after the other. Hello travels together with the first
 * request. Says on stderr what went wrong, so that a verb only passes the exit status up.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "ctl/arguments.h"
#include "proto/wire.h"

typedef struct CtlConnection CtlConnection;

/* To the daemon here, or over ssh to the one of --host. EXIT_DONE, EXIT_USAGE (no possible socket) or
 * EXIT_UNREACHABLE. */
int ctl_connect(const Arguments *arguments, CtlConnection **ret);
CtlConnection *ctl_disconnect(CtlConnection *c);

/* Whether the daemon said that this session is an administrator's; false before the first answer. */
bool ctl_is_admin(const CtlConnection *c);

typedef struct CtlRequest {
        Pmbroker__V1__ClientPacket *packet;            /* with its body; the rest is filled in */
        Pmbroker__V1__ServerPacket__BodyCase expected; /* what answers it */
        bool changes;        /* carries a request id, and is waited for without limit */
        const char *subject; /* "pool X", to begin a refusal's sentence, or NULL */
        const char *waiting; /* a note when the answer takes more than a second, or NULL */
        /* Called every so often while the answer is waited for, instead of the note; or NULL. */
        void (*tick)(void *userdata);
        void *userdata;
        int *ret_fd; /* the answer comes with a descriptor, which goes here; NULL: with none */
} CtlRequest;

/*
 * EXIT_DONE with the answer, to be freed by wire_free_server(); EXIT_NO_POOL when that is the refusal, EXIT_REFUSED
 * for every other one and for a daemon that hangs up or sends nonsense, EXIT_UNREACHABLE when it does not answer. While
 * the provisioner is away the request is repeated, for some seconds.
 */
int ctl_request(CtlConnection *c, const CtlRequest *request, Pmbroker__V1__ServerPacket **ret);

/*
 * The next event, for sessions that wait for some: EXIT_DONE, with NULL when none came for `timeout_ms` (-1: for ever);
 * EXIT_REFUSED when the daemon hangs up or talks nonsense. No answer may be outstanding.
 */
int ctl_next_event(CtlConnection *c, int timeout_ms, Pmbroker__V1__ServerPacket **ret);
/* For poll(2). */
int ctl_fd(const CtlConnection *c);

/* The answer is of the right kind, but makes no sense. Returns EXIT_REFUSED. */
int ctl_nonsense(const CtlConnection *c, const char *what);

DEFINE_CLEANUP(CtlConnection, ctl_disconnect);
DEFINE_CLEANUP(Pmbroker__V1__ServerPacket, wire_free_server);
