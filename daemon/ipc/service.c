/* SPDX-License-Identifier: BSD-3-Clause */

#include "ipc/service.h"

#include "base/cleanup.h"
#include "proto/wire.h"

static void service_hello(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        const Pmbroker__V1__Hello *hello = packet->hello;
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__HelloReply reply = PMBROKER__V1__HELLO_REPLY__INIT;
        Session *session = call->session;

        if (hello->major != WIRE_MAJOR) {
                Refusal refusal = {.code = RESULT_VERSION,
                        .asked = hello->major,
                        .used = WIRE_MAJOR,
                        .limit = WIRE_MAJOR};

                call_refuse(call, &refusal);
                session_close(session);
                return;
        }
        session->hello_done = true;
        session->hello_timer = sd_event_source_disable_unref(session->hello_timer);
        reply.major = WIRE_MAJOR;
        reply.minor = WIRE_MINOR;
        reply.version = (char *)(uintptr_t)PMBROKER_VERSION;
        reply.admin = session->role == ROLE_ADMIN;
        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_HELLO;
        answer.hello = &reply;
        call_reply(call, &answer, -EBADF);
}

enum {
        CHANGES = 1 << 0, /* counts against the user's rate */
        POOLS = 1 << 1,   /* needs to know the pools: RETRY while they are not known */
};

/* Verb × who: deny by default. A handler narrows "anybody" to what the caller owns. */
static const struct {
        Pmbroker__V1__ClientPacket__BodyCase body;
        Role needs;
        unsigned flags;
        void (*handler)(Call *call, const Pmbroker__V1__ClientPacket *packet);
} verbs[] = {
        {PMBROKER__V1__CLIENT_PACKET__BODY_HELLO, ROLE_OWNER, 0, service_hello},
        {PMBROKER__V1__CLIENT_PACKET__BODY_CREATE_POOL, ROLE_OWNER, CHANGES | POOLS, service_create_pool},
        {PMBROKER__V1__CLIENT_PACKET__BODY_DESTROY_POOL, ROLE_OWNER, CHANGES | POOLS, service_destroy_pool},
        {PMBROKER__V1__CLIENT_PACKET__BODY_RESIZE_POOL, ROLE_OWNER, CHANGES | POOLS, service_resize_pool},
        {PMBROKER__V1__CLIENT_PACKET__BODY_GIVE_BACK, ROLE_OWNER, CHANGES | POOLS, service_give_back},
        {PMBROKER__V1__CLIENT_PACKET__BODY_RESUME_POOLS, ROLE_OWNER, POOLS, service_resume_pools},
        {PMBROKER__V1__CLIENT_PACKET__BODY_GET_POOL, ROLE_OWNER, POOLS, service_get_pool},
        {PMBROKER__V1__CLIENT_PACKET__BODY_LIST_POOLS, ROLE_OWNER, 0, service_list_pools},
        {PMBROKER__V1__CLIENT_PACKET__BODY_LIST_STORES, ROLE_ADMIN, 0, service_list_stores},
        {PMBROKER__V1__CLIENT_PACKET__BODY_LIST_TENANTS, ROLE_ADMIN, 0, service_list_tenants},
        {PMBROKER__V1__CLIENT_PACKET__BODY_GET_STATUS, ROLE_OWNER, 0, service_get_status},
        {PMBROKER__V1__CLIENT_PACKET__BODY_REVOKE_POOL, ROLE_ADMIN, CHANGES | POOLS, service_revoke_pool},
        {PMBROKER__V1__CLIENT_PACKET__BODY_LIST_REGIONS, ROLE_ADMIN, 0, service_list_regions},
        {PMBROKER__V1__CLIENT_PACKET__BODY_PROVISION, ROLE_ADMIN, CHANGES, service_provision},
        {PMBROKER__V1__CLIENT_PACKET__BODY_DEPROVISION, ROLE_ADMIN, CHANGES | POOLS, service_deprovision},
};

void service_dispatch(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        Server *server = call->server;
        Session *session = call->session;

        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                if (verbs[i].body != packet->body_case)
                        continue;
                if (!(verbs[i].flags & CHANGES))
                        call->request_id =
                                0; /* asking again does no harm, and pages would be a lot to keep */
                if (verbs[i].needs == ROLE_ADMIN && session->role != ROLE_ADMIN) {
                        call_refuse(call, &(Refusal){.code = RESULT_DENIED});
                        return;
                }
                if ((verbs[i].flags & CHANGES) && session->role != ROLE_ADMIN &&
                        !ratelimit_take(&session->user->requests, server_now(server))) {
                        Refusal refusal = {.code = RESULT_RATE, .limit = server->limits.requests_per_sec};

                        call_refuse(call, &refusal);
                        return;
                }
                if ((verbs[i].flags & POOLS) && !server->ready) {
                        call_refuse(call, &(Refusal){.code = RESULT_RETRY});
                        return;
                }
                verbs[i].handler(call, packet);
                return;
        }
        call_refuse(call, &(Refusal){.code = RESULT_UNSUPPORTED});
}
