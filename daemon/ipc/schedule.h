/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The daemon's time, shared out: sessions that can be read from wait here, and users take turns (core/turn.h), however
 * many sessions each has. Accepting new clients is a turn like a user's.
 */

#include "ipc/server.h"
#include "ipc/session.h"

int schedule_start(Server *server);

/* It can be read from. Nothing if it waits already. */
void schedule_session(Session *session);
/* It cannot, or not any more. Nothing if it does not wait. */
void schedule_leave(Session *session);
/* Connections of the user have arrived. */
void schedule_user(Server *server, User *user);
/* There may be clients to accept. */
void schedule_accepting(Server *server);

/* Something that was done for the user outside of a turn has begun then (schedule_clock()). */
void schedule_charge(Server *server, User *user, uint64_t begin_usec);
/* Monotonic, microseconds, by now and not by the turn of the loop. */
uint64_t schedule_clock(void);
