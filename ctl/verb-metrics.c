/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl metrics: figures for Prometheus. */

#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/openmetrics.h"
#include "ctl/overview.h"
#include "ctl/verb.h"

int verb_metrics(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(overview_done) Overview overview = {0};
        int r;

        r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = overview_fetch(c, OVERVIEW_METRICS, &overview);
        if (r == EXIT_DONE)
                openmetrics_write(&overview, stdout);
        return r;
}
