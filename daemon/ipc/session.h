/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One connection of one client: packets in, packets out, and the limits that keep it from costing anybody
 * else anything. What requests mean is service.c's business.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/broker.h"
#include "ipc/peer.h"
#include "ipc/server.h"
#include "ipc/user.h"
#include "proto/pmbroker.pb-c.h"
#include "proto/result.h"

typedef struct SessionOutput SessionOutput;
typedef struct SessionResult SessionResult;

/* A request that is being worked on. It outlives its session: then session is NULL and the answer goes
 * nowhere. */
typedef struct Call {
        Server *server;
        Session *session;
        uint64_t serial;
        uint64_t request_id;
        uint64_t body_hash;
        uint64_t begun_usec;
        unsigned kind;     /* of request: see service_name() */
        List session_link; /* Session.calls */
        List wait_link;    /* PoolEdge.release_calls */
} Call;

struct Session {
        Server *server;
        uint64_t connection; /* never used again */
        uint64_t since;      /* usec */
        uint64_t n_requests;
        int fd;
        sd_event_source *io;
        sd_event_source *hello_timer;
        sd_event_source *unread_timer; /* armed while something waits to be sent */
        sd_event_source *fd_timer;     /* a second descriptor waits for the first to be read */
        Peer peer;
        User *user;
        Owner *owner;
        Role role;
        bool hello_done;
        bool closing;          /* freed by the next turn of the loop */
        bool evicted;          /* somebody else needed its place: its pools may stay without it */
        bool watching;         /* is told what happens */
        uint64_t events_lost;  /* of that, as it did not read, and was not told of yet */
        bool fd_unread;        /* a descriptor was sent and perhaps not read yet */
        uint64_t fd_poll_usec; /* how long to wait before looking again */
        uint32_t in_flight;
        List calls;   /* Call.session_link */
        List outputs; /* SessionOutput, in order */
        size_t output_bytes;
        List results; /* SessionResult, oldest first */
        uint32_t n_results;
        List server_link;
        List talking_link; /* User.talking: it has, or may have, something to say */
};

/* Serve `fd` (taken over, also on failure). The limits of sessions have been checked. */
int session_new(Server *server, int fd, Peer *peer, User *user, Session **ret);
/* Read one packet and deal with it. False: there is nothing more for now, and the session will say when there is. */
bool session_serve(Session *session);
/* It does not wait for its turn any more. */
void session_listen(Session *session);

/* End it: its calls lose their session, its owner a session. NULL-safe, returns NULL. */
Session *session_free(Session *session);

/* End it after the current turn of the loop; what waits to be sent is tried once more. */
void session_close(Session *session);

/* The same, since somebody else needs its place: it counts no more, and its owner's pools stay. */
void session_evict(Session *session);

/* Send a packet that answers no call (an event). Closes the session when it does not read. */
void session_send(Session *session, const Pmbroker__V1__ServerPacket *packet, int pass_fd);

/* Whether it reads fast enough for an event that it can do without. */
bool session_has_room(const Session *session);

/* ------------------------------------------------------------------------------------------------- calls */

/* Answer and end a call; `pass_fd` is borrowed. The result is kept if the request may be repeated. */
void call_reply(Call *call, Pmbroker__V1__ServerPacket *packet, int pass_fd);
void call_refuse(Call *call, const Refusal *refusal);
/* Something unexpected, as errno. Logged by whoever calls this. */
void call_fail(Call *call, int error);
