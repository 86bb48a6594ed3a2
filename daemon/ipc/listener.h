/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Accepting clients: who may have another session is decided here. */

#include "ipc/server.h"

int listener_start(Server *server);
