/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Between connection.c (calls) and connection-reader.c (what arrives, and the way back). The lock is held.
 */

#include "client/connection.h"

/* Have the epoll descriptor watch the socket, if nobody waits for an answer; or not. */
void connection_watch_socket(Connection *c);
void connection_unwatch_socket(Connection *c);

/* Set the timer of the epoll descriptor; 0 is never. */
void connection_set_timer(Connection *c, int flags, uint64_t usec);

void connection_wait_until(Connection *c, pthread_cond_t *cond, uint64_t usec);

/*
 * Take the role of the reader for one packet, waiting for it until then (0: not at all). Returns 0
 * (delivered, or disconnected), -ETIMEDOUT or -EAGAIN.
 */
int connection_read_one(Connection *c, uint64_t deadline_usec);

/* Let another waiting thread read on. */
void connection_pass_role(Connection *c);

/* Try to connect, now. */
void connection_restore_once(Connection *c, uint64_t deadline_usec);

/* See to it that there is a connection. Returns 0, -ENOTCONN (not until then) or -ESTALE (in a child). */
int connection_restore(Connection *c, uint64_t deadline_usec);
