/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The near side of --host: ssh runs `pmbrokerctl bridge` over there, and a child of ours relays between it and a socket
 * that looks like the daemon's. Who we are for that daemon is who ssh logs in as.
 */

#include <sys/types.h>

/*
 * `socket`: its path over there, NULL for the default. $PMBROKER_SSH is the program to run instead of ssh. Returns the
 * socket and the child, or a negative errno; ssh itself says what fails later.
 */
int remote_open(const char *host, const char *socket, int *ret_fd, pid_t *ret_child);
