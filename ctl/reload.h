/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Having the configuration read again, for reload and for what is done --permanent. */

#include "ctl/connection.h"

/* The daemon's report, with what is wrong; to be freed. Returns as ctl_request(). */
int reload_request(CtlConnection *c, Pmbroker__V1__ServerPacket **ret);
/* Its lines on stderr. EXIT_DONE when the new configuration is in use, otherwise EXIT_REFUSED. */
int reload_tell(const Pmbroker__V1__ReloadReport *report, bool quiet);
