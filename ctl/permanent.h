/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What --permanent does: a drop-in beside the configuration is written, and the configuration read again. */

#include "ctl/arguments.h"
#include "ctl/connection.h"
#include "ctl/dropin.h"

/* Options that contradict each other. EXIT_DONE or EXIT_USAGE. */
int permanent_check(const Arguments *arguments);
/* The drop-in of this verb for this tenant or store. EXIT_DONE, or EXIT_REFUSED and it was said why. */
int permanent_open(const Arguments *arguments, const DropinKind *kind, const char *name, Dropin **ret);
/* Write it and have it take effect; if that fails, it is as it was when it was opened. Returns as ctl_request(). */
int permanent_apply(CtlConnection *c, const Arguments *arguments, const Dropin *dropin);
