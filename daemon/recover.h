/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * After a connection to the provisioner was made, first or again: learn its stores, then its pools, and make
 * the core agree. What the provisioner has is the truth; what the core had in mind is corrected by it.
 */

#include "ipc/server.h"

typedef struct Recovery Recovery;

/* `done` is called once, with 0 or a negative errno (-ECONNRESET: the provisioner went away again;
 * -EPROTONOSUPPORT: a record of a newer version, nothing was touched). */
int recovery_start(Server *server, void (*done)(int error, void *userdata), void *userdata, Recovery **ret);
/* Give up without calling `done`. NULL-safe, returns NULL. */
Recovery *recovery_free(Recovery *recovery);
