/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A pool that is held for as long as a command runs, or until a signal comes: what the daemon tells meanwhile is read, and
 * when the daemon is started again, the holder introduces itself anew, as every owner of pools has to.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "ctl/arguments.h"
#include "ctl/connection.h"

/* Filled in by who had the pool granted; everything but the arguments is the holder's. */
typedef struct Holder {
        const Arguments *arguments;
        CtlConnection *connection;
        Pmbroker__V1__ServerPacket *grant;
        int fd;        /* of the pool; -EBADF once the command has it */
        int signal_fd; /* see holder_signals */
        pid_t child;   /* the command; 0: none */
        bool revoked;
} Holder;

/* What signal_fd has to take, for signals_take(). */
extern const int holder_signals[];

/* Until it is over: the exit status, which is the command's if there is one. */
int holder_run(Holder *holder);
void holder_done(Holder *holder);
