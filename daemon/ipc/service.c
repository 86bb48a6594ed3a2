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

#define REQUEST(NAME, name) PMBROKER__V1__CLIENT_PACKET__BODY_##NAME, #name, service_##name

/* Verb × who: deny by default. A handler narrows "anybody" to what the caller owns. */
static const struct {
        Pmbroker__V1__ClientPacket__BodyCase body;
        const char *name;
        void (*handler)(Call *call, const Pmbroker__V1__ClientPacket *packet);
        Role needs;
        unsigned flags;
} verbs[] = {
        {REQUEST(HELLO, hello), ROLE_OWNER, 0},
        {REQUEST(CREATE_POOL, create_pool), ROLE_OWNER, CHANGES | POOLS},
        {REQUEST(DESTROY_POOL, destroy_pool), ROLE_OWNER, CHANGES | POOLS},
        {REQUEST(RESIZE_POOL, resize_pool), ROLE_OWNER, CHANGES | POOLS},
        {REQUEST(GIVE_BACK, give_back), ROLE_OWNER, CHANGES | POOLS},
        {REQUEST(RESUME_POOLS, resume_pools), ROLE_OWNER, POOLS},
        {REQUEST(GET_POOL, get_pool), ROLE_OWNER, POOLS},
        {REQUEST(LIST_POOLS, list_pools), ROLE_OWNER, 0},
        {REQUEST(LIST_STORES, list_stores), ROLE_OBSERVER, 0},
        {REQUEST(LIST_TENANTS, list_tenants), ROLE_OBSERVER, 0},
        {REQUEST(GET_STATUS, get_status), ROLE_OWNER, 0},
        {REQUEST(REVOKE_POOL, revoke_pool), ROLE_ADMIN, CHANGES | POOLS},
        {REQUEST(LIST_REGIONS, list_regions), ROLE_OBSERVER, 0},
        {REQUEST(PROVISION, provision), ROLE_ADMIN, CHANGES},
        {REQUEST(DEPROVISION, deprovision), ROLE_ADMIN, CHANGES | POOLS},
        {REQUEST(LIST_SESSIONS, list_sessions), ROLE_OBSERVER, 0},
        {REQUEST(GET_METRICS, get_metrics), ROLE_OBSERVER, 0},
        {REQUEST(WATCH, watch), ROLE_ADMIN, 0},
        {REQUEST(DRAIN_STORE, drain_store), ROLE_ADMIN, CHANGES},
        {REQUEST(SET_LIMIT, set_limit), ROLE_ADMIN, CHANGES},
        {REQUEST(RELOAD, reload), ROLE_ADMIN, CHANGES},
};

_Static_assert(ELEMENTSOF(verbs) < METRICS_REQUESTS, "raise METRICS_REQUESTS");

unsigned service_kind(const Pmbroker__V1__ClientPacket *packet)
{
        for (unsigned i = 0; i < ELEMENTSOF(verbs); i++)
                if (verbs[i].body == packet->body_case)
                        return i + 1;
        return 0;
}

const char *service_name(unsigned kind)
{
        if (kind == 0)
                return "unknown";
        return kind <= ELEMENTSOF(verbs) ? verbs[kind - 1].name : NULL;
}

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
                if (session->role < verbs[i].needs) {
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
