/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The checks, by what they look at. Each adds its findings. */

#include "ctl/facts.h"
#include "ctl/findings.h"
#include "ctl/overview.h"

typedef struct Check {
        Findings findings;
        const Arguments *arguments;
        const char *root;         /* "" is this machine */
        const Overview *overview; /* NULL: the daemon was not reached, or does not tell us */
} Check;

/* check-daemon.c: what it serves. With an overview only. */
void check_daemon(Check *c);
/* check-system.c: the files of this machine. */
void check_configuration(Check *c);
void check_kernel(Check *c);
void check_limits(Check *c);
void check_systemd(Check *c);
