/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/overview.h"

#include <stdlib.h>

#include "ctl/exit.h"
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

static int fetch_status(CtlConnection *c, Overview *o)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__GetStatus body = PMBROKER__V1__GET_STATUS__INIT;
        CtlRequest request = {.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_STATUS};
        int r;

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_GET_STATUS;
        packet.get_status = &body;
        r = ctl_request(c, &request, &o->status_packet);
        if (r == EXIT_DONE)
                o->status = o->status_packet->status;
        return r;
}

static int fetch_stores(CtlConnection *c, Overview *o)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__ListStores body = PMBROKER__V1__LIST_STORES__INIT;
        CtlRequest request = {.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_STORES};
        int r;

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_LIST_STORES;
        packet.list_stores = &body;
        r = ctl_request(c, &request, &o->stores_packet);
        if (r == EXIT_DONE)
                o->stores = o->stores_packet->stores;
        return r;
}

static int fetch_metrics(CtlConnection *c, Overview *o)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__GetMetrics body = PMBROKER__V1__GET_METRICS__INIT;
        CtlRequest request = {.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_METRICS};
        int r;

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_GET_METRICS;
        packet.get_metrics = &body;
        r = ctl_request(c, &request, &o->metrics_packet);
        if (r == EXIT_DONE)
                o->metrics = o->metrics_packet->metrics;
        return r;
}

static uint64_t get_next(const Pmbroker__V1__ServerPacket *page)
{
        return page->tenants->next;
}

static int fetch_tenants(CtlConnection *c, Overview *o)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__ListTenants body = PMBROKER__V1__LIST_TENANTS__INIT;
        CtlRequest request = {.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_TENANTS};
        size_t n = 0;
        int r;

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_LIST_TENANTS;
        packet.list_tenants = &body;
        r = pages_fetch(c, &request, &body.after, get_next, &o->tenant_pages);
        if (r != EXIT_DONE)
                return r;
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

        r = fetch_status(c, &o);
        if (r == EXIT_DONE)
                r = fetch_stores(c, &o);
        if (r == EXIT_DONE)
                r = fetch_tenants(c, &o);
        if (r == EXIT_DONE && (what & OVERVIEW_METRICS))
                r = fetch_metrics(c, &o);
        if (r == EXIT_DONE && (what & OVERVIEW_POOLS))
                r = pools_fetch(c, &o.pools);
        if (r != EXIT_DONE) {
                overview_done(&o);
                return r;
        }
        *ret = o;
        return EXIT_DONE;
}
