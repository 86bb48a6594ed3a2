/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The socket of the daemon here. */

#include "ctl/arguments.h"

/* Connected; EXIT_DONE, or EXIT_USAGE (no possible socket) or EXIT_UNREACHABLE after saying why. */
int socket_open(const Arguments *arguments, int *ret_fd);

/* "pmbrokerd at PATH does not answer"; returns EXIT_UNREACHABLE. */
int socket_no_answer(const char *path);
