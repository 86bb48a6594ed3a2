/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Accepting clients: who may have another session is decided here. */

#include "ipc/server.h"

int listener_start(Server *server);
/* Accept a few clients. False: nobody waits, and the listener will say when somebody does. */
bool listener_serve(Server *server);
/* Make the user's first arrival a session, or turn it away. */
void listener_admit(Server *server, User *user);
/* Nobody who has arrived is to be served any more. */
void listener_drop_arrivals(Server *server);
/* Look again, if it was given up for want of descriptors. */
void listener_resume(Server *server);
