/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What requests mean. One table: request, rights, handler; a handler checks, asks the core, has it done,
 * replies. */

#include "ipc/session.h"
#include "proto/pmbroker.pb-c.h"

/* Answers the call, now or when its job is done. */
void service_dispatch(Call *call, const Pmbroker__V1__ClientPacket *packet);

/* The stores are known as they are now, or will not be: what waited for that is answered. */
void service_stores_known(Server *server);

/* The kinds of requests, for counting: 0 is none that we know, then as in the table. */
unsigned service_kind(const Pmbroker__V1__ClientPacket *packet);
/* "create_pool" and so on, as the field of ClientPacket is called; NULL behind the last. */
const char *service_name(unsigned kind);

/* Handlers, by noun. Each ends its call exactly once. */
void service_create_pool(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_destroy_pool(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_resize_pool(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_give_back(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_revoke_pool(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_resume_pools(Call *call, const Pmbroker__V1__ClientPacket *packet);

void service_list_regions(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_provision(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_deprovision(Call *call, const Pmbroker__V1__ClientPacket *packet);

void service_get_pool(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_list_pools(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_list_stores(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_list_tenants(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_get_status(Call *call, const Pmbroker__V1__ClientPacket *packet);

void service_list_sessions(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_get_metrics(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_watch(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_drain_store(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_set_limit(Call *call, const Pmbroker__V1__ClientPacket *packet);
void service_reload(Call *call, const Pmbroker__V1__ClientPacket *packet);
