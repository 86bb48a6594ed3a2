/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* All that is to be seen at a moment, for top, metrics and check. The parts are asked for one after the other, so that
 * they may differ by what happened in between. */

#include "ctl/connection.h"
#include "ctl/pools.h"

enum {
        OVERVIEW_POOLS = 1 << 0,
        OVERVIEW_METRICS = 1 << 1,
};

typedef struct Overview {
        Pmbroker__V1__ServerPacket *status_packet, *stores_packet, *metrics_packet;
        Pages tenant_pages;
        Pools pools;

        /* What is in them: */
        const Pmbroker__V1__Status *status;
        const Pmbroker__V1__StoreList *stores;
        const Pmbroker__V1__Metrics *metrics; /* NULL: not asked for */
        const Pmbroker__V1__TenantRow **tenants;
        size_t n_tenants;
} Overview;

/* `what`: OVERVIEW_*, besides status, stores and tenants. Returns as ctl_request(). */
int overview_fetch(CtlConnection *c, unsigned what, Overview *ret);
void overview_done(Overview *o);
