/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/overview.h"

#include <stdlib.h>

#include "ctl/exit.h"
#include "ctl/fetch.h"
#include "ctl/message.h"

void overview_done(Overview *o)
{
        wire_free_server(o->status_packet);
        wire_free_server(o->stores_packet);
        wire_free_server(o->metrics_packet);
        pages_done(&o->tenant_pages);
        pools_done(&o->pools);
        free(o->tenants);
        *o = (Overview){0};
}

static int gather_tenants(Overview *o)
{
        size_t n = 0;

        for (size_t i = 0; i < o->tenant_pages.n; i++)
                n += o->tenant_pages.packets[i]->tenants->n_rows;
        o->tenants = calloc(n + 1, sizeof(*o->tenants));
        if (!o->tenants)
                return message_oom();
        for (size_t i = 0; i < o->tenant_pages.n; i++) {
                const Pmbroker__V1__TenantList *list = o->tenant_pages.packets[i]->tenants;

                for (size_t k = 0; k < list->n_rows; k++)
                        o->tenants[o->n_tenants++] = list->rows[k];
        }
        return EXIT_DONE;
}

int overview_fetch(CtlConnection *c, unsigned what, Overview *ret)
{
        Overview o = {0};
        int r;

        r = fetch_status(c, &o.status_packet);
        if (r == EXIT_DONE)
                r = fetch_stores(c, &o.stores_packet);
        if (r == EXIT_DONE)
                r = fetch_tenants(c, &o.tenant_pages);
        if (r == EXIT_DONE)
                r = gather_tenants(&o);
        if (r == EXIT_DONE && (what & OVERVIEW_METRICS))
                r = fetch_metrics(c, &o.metrics_packet);
        if (r == EXIT_DONE && (what & OVERVIEW_POOLS))
                r = pools_fetch(c, &o.pools);
        if (r != EXIT_DONE) {
                overview_done(&o);
                return r;
        }
        o.status = o.status_packet->status;
        o.stores = o.stores_packet->stores;
        o.metrics = o.metrics_packet ? o.metrics_packet->metrics : NULL;
        *ret = o;
        return EXIT_DONE;
}
