/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Having a store provisioned or taken down, and what the daemon says of it: steps, for people or as JSON. */

#include <stdbool.h>
#include <stddef.h>

#include "ctl/connection.h"
#include "ctl/json.h"
#include "proto/pmbroker.pb-c.h"

/* The request in `packet`, which may take long. Returns as ctl_request(). */
int steps_request(CtlConnection *c, Pmbroker__V1__ClientPacket *packet, const char *store,
        Pmbroker__V1__ServerPacket **ret);

/* Whether a step is in this state. */
bool steps_have(const Pmbroker__V1__ProvisionReport *report, Pmbroker__V1__StepState state);
/* EXIT_DONE, or EXIT_REFUSED when the last step says so. */
int steps_status(const Pmbroker__V1__ProvisionReport *report);

void steps_print(const Pmbroker__V1__ProvisionReport *report);
/* The members of an object that is open. */
void steps_print_json(const Pmbroker__V1__ProvisionReport *report, Json *json);
