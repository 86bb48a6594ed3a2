/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Stand-alone service: what systemd does for the two units, for one socket. A parent makes the sockets,
 * starts the provisioner and the broker with them, and starts again whichever dies. It keeps no descriptors
 * for them: with the provisioner end the pools of mounted stores.
 */

#include <stdbool.h>

typedef struct SupervisorOptions {
        const char *socket_path;
        const char *config_path;
        bool config_must_exist;
        const char *state_dir; /* NULL: SOCKET.d */
        const char *user;      /* of the broker, when root */
        const char *log_level; /* or NULL */
} SupervisorOptions;

/* Serve until SIGTERM or SIGINT. Returns the exit status or a negative errno (logged). */
int supervisor_run(const SupervisorOptions *options);
