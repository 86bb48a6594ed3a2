/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What connection.c, which asks, and connection-packets.c, which sends and receives, share. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/parse.h"
#include "ctl/connection.h"

struct CtlConnection {
        int fd;
        pid_t relay;      /* the child between us and ssh; 0: none */
        const char *path; /* where it is, for messages; borrowed from the arguments */
        bool quiet;
        uint64_t serial; /* the last one given out */
        uint64_t hello_serial;
        bool greeted; /* Hello was answered */
        bool admin;
        bool closing; /* the daemon has announced that it goes */
};

/* Monotonic, microseconds. */
uint64_t connection_now(void);

/* Say what went wrong. Both return the exit status for it. */
int connection_failed(const CtlConnection *c, int error);
int connection_refused(const Pmbroker__V1__Error *error, const char *subject);

/* Each EXIT_DONE, or what connection_failed() returns. */
int connection_send(CtlConnection *c, Pmbroker__V1__ClientPacket *packet);
/* The next packet, whatever it is; with `ret_fd` it may come with a descriptor (-EBADF: it did not). */
int connection_receive(const CtlConnection *c, Pmbroker__V1__ServerPacket **ret, int *ret_fd);

/* Until something is to be read or the deadline (0: none) has come: 0, or a negative errno, -EAGAIN then. */
int connection_wait(const CtlConnection *c, uint64_t deadline);
