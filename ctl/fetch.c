/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/fetch.h"

int fetch_status(CtlConnection *c, Pmbroker__V1__ServerPacket **ret)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__GetStatus body = PMBROKER__V1__GET_STATUS__INIT;

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_GET_STATUS;
        packet.get_status = &body;
        return ctl_request(c,
                &(CtlRequest){.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_STATUS}, ret);
}

int fetch_stores(CtlConnection *c, Pmbroker__V1__ServerPacket **ret)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__ListStores body = PMBROKER__V1__LIST_STORES__INIT;

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_LIST_STORES;
        packet.list_stores = &body;
        return ctl_request(c,
                &(CtlRequest){.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_STORES}, ret);
}

int fetch_metrics(CtlConnection *c, Pmbroker__V1__ServerPacket **ret)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__GetMetrics body = PMBROKER__V1__GET_METRICS__INIT;

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_GET_METRICS;
        packet.get_metrics = &body;
        return ctl_request(c,
                &(CtlRequest){.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_METRICS},
                ret);
}

static uint64_t get_next(const Pmbroker__V1__ServerPacket *page)
{
        return page->tenants->next;
}

int fetch_tenants(CtlConnection *c, Pages *ret)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__ListTenants body = PMBROKER__V1__LIST_TENANTS__INIT;
        CtlRequest request = {.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_TENANTS};

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_LIST_TENANTS;
        packet.list_tenants = &body;
        return pages_fetch(c, &request, &body.after, get_next, ret);
}
