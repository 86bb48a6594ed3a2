/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is connected, what was counted, and the sessions that want to be told what happens. */

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ipc/service.h"

#define ROWS_MAX 64 /* of at most 200 bytes each: a page fits into a packet */

_Static_assert(PMBROKER__V1__SESSION_ROLE__ROLE_OWNER == ROLE_OWNER + 1, "roles");
_Static_assert(PMBROKER__V1__SESSION_ROLE__ROLE_OBSERVER == ROLE_OBSERVER + 1, "roles");
_Static_assert(PMBROKER__V1__SESSION_ROLE__ROLE_ADMIN == ROLE_ADMIN + 1, "roles");

/* ---------------------------------------------------------------------------------------------- sessions */

/* A unit's name may be long, and is chosen by whoever made the unit: as much of it as is printable and has room. */
static char *shorten_unit(const char *unit, char text[static 64])
{
        size_t n = 0;

        while (n < 63 && unit[n] >= ' ' && unit[n] <= '~') {
                text[n] = unit[n];
                n++;
        }
        text[n] = '\0';
        return text;
}

static void fill_session(Session *s, char unit[static 64], Pmbroker__V1__SessionRow *ret)
{
        uint64_t now = server_now(s->server);

        pmbroker__v1__session_row__init(ret);
        ret->session = s->connection;
        ret->uid = s->peer.identity.uid;
        ret->pid = s->peer.identity.pid;
        ret->command = s->peer.command;
        ret->unit = shorten_unit(s->peer.identity.unit, unit);
        ret->role = (Pmbroker__V1__SessionRole)(s->role + 1);
        ret->age_usec = now > s->since ? now - s->since : 0;
        ret->in_flight = s->in_flight;
        ret->unread = s->output_bytes;
        ret->requests = s->n_requests;
        ret->watching = s->watching;
        list_for_each (it, &s->owner->pools) {
                const Pool *pool = list_entry(it, Pool, owner_link);

                ret->pools++;
                ret->bytes += pool->size;
        }
}

void service_list_sessions(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__SessionList list = PMBROKER__V1__SESSION_LIST__INIT;
        Pmbroker__V1__SessionRow rows[ROWS_MAX];
        Pmbroker__V1__SessionRow *pointers[ROWS_MAX];
        char units[ROWS_MAX][64];

        /* In the order in which they came, which is that of their numbers. */
        list_for_each (it, &call->server->sessions) {
                Session *s = list_entry(it, Session, server_link);

                if (s->connection <= packet->list_sessions->after || s->closing)
                        continue;
                if (list.n_rows == ROWS_MAX) {
                        list.next = rows[ROWS_MAX - 1].session;
                        break;
                }
                fill_session(s, units[list.n_rows], &rows[list.n_rows]);
                pointers[list.n_rows] = &rows[list.n_rows];
                list.n_rows++;
        }
        list.rows = pointers;
        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_SESSIONS;
        answer.sessions = &list;
        call_reply(call, &answer, -EBADF);
}

/* ----------------------------------------------------------------------------------------------- metrics */

void service_get_metrics(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        const Metrics *m = &call->server->metrics;
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Metrics body = PMBROKER__V1__METRICS__INIT;
        Pmbroker__V1__RequestMetrics requests[METRICS_REQUESTS];
        Pmbroker__V1__RequestMetrics *request_pointers[METRICS_REQUESTS];
        Pmbroker__V1__RefusalMetrics refusals[_RESULT_MAX];
        Pmbroker__V1__RefusalMetrics *refusal_pointers[_RESULT_MAX];

        (void)packet;
        body.bounds_usec = (uint64_t *)(uintptr_t)metrics_bounds;
        body.n_bounds_usec = METRICS_BOUNDS;
        for (unsigned i = 0; service_name(i); i++) {
                Pmbroker__V1__RequestMetrics *row = request_pointers[i] = &requests[i];

                pmbroker__v1__request_metrics__init(row);
                row->request = (char *)(uintptr_t)service_name(i);
                row->count = m->requests[i].count;
                row->sum_usec = m->requests[i].sum_usec;
                row->buckets = (uint64_t *)(uintptr_t)m->requests[i].buckets;
                row->n_buckets = METRICS_BOUNDS + 1;
                body.n_requests = i + 1;
        }
        body.requests = request_pointers;
        for (unsigned code = RESULT_OK + 1; code < _RESULT_MAX; code++) {
                Pmbroker__V1__RefusalMetrics *row = &refusals[body.n_refusals];

                if (m->refusals[code] == 0)
                        continue;
                pmbroker__v1__refusal_metrics__init(row);
                row->code = (Pmbroker__V1__Code)code;
                row->count = m->refusals[code];
                refusal_pointers[body.n_refusals++] = row;
        }
        body.refusals = refusal_pointers;
        body.sessions_total = m->sessions_total;
        body.sessions_refused = m->sessions_refused;
        body.events_lost = m->events_lost;
        body.provisioner_lost = m->provisioner_lost;
        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_METRICS;
        answer.metrics = &body;
        call_reply(call, &answer, -EBADF);
}

/* ------------------------------------------------------------------------------------------------- watch */

void service_watch(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Done done = PMBROKER__V1__DONE__INIT;

        (void)packet;
        if (!call->session->watching)
                call->server->n_watching++;
        call->session->watching = true;
        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_DONE;
        answer.done = &done;
        call_reply(call, &answer, -EBADF);
}
