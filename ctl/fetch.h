/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What more than one verb asks the daemon for, and nothing but asking. All return as ctl_request(). */

#include "ctl/connection.h"
#include "ctl/pages.h"

/* Answers of the kind that the name says, to be freed by wire_free_server(). */
int fetch_status(CtlConnection *c, Pmbroker__V1__ServerPacket **ret);
int fetch_stores(CtlConnection *c, Pmbroker__V1__ServerPacket **ret);
int fetch_metrics(CtlConnection *c, Pmbroker__V1__ServerPacket **ret);
/* All tenants, in pages. */
int fetch_tenants(CtlConnection *c, Pages *ret);
