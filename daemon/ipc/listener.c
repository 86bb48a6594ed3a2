/* SPDX-License-Identifier: BSD-3-Clause */

#include "ipc/listener.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "core/admission.h"
#include "ipc/peer.h"
#include "ipc/schedule.h"
#include "ipc/session.h"
#include "log.h"
#include "proto/wire.h"

#define ACCEPTS_PER_TURN  64
#define ARRIVALS_PER_USER 256
#define ARRIVALS_MAX      1024 /* of all users; more wait in the socket's backlog */

/* A connection that was accepted and waits for its user's turn. */
typedef struct Arrival {
        List link; /* User.arrivals */
        int fd;
} Arrival;

/* Say why before hanging up; the socket is fresh, so that this cannot block. */
static void turn_away(int fd, uint64_t used, uint64_t limit)
{
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Error error = PMBROKER__V1__ERROR__INIT;
        uint8_t data[WIRE_SERVER_MAX];
        ssize_t n;

        error.code = PMBROKER__V1__CODE__SESSION_LIMIT;
        error.errno_value = result_to_errno(RESULT_SESSION_LIMIT);
        error.asked = 1;
        error.used = used;
        error.limit = limit;
        packet.serial = 1;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_ERROR;
        packet.error = &error;
        n = wire_encode_server(&packet, data);
        if (n > 0)
                (void)wire_send(fd, data, (size_t)n, -EBADF);
}

/* How much its end would cost: nobody's pools but for a while, and never those that live with the connection. */
static unsigned cost_of(const Session *session)
{
        const Owner *owner = session->owner;

        if (!session->hello_done)
                return 0;
        if (list_is_empty(&owner->pools))
                return 1;
        if (owner->connection > 0)
                return UINT_MAX;
        return owner->n_sessions > 1 ? 2 : 3;
}

/* One that costs least, the newest of them; NULL if none may go. */
static Session *find_victim(Server *server, const User *user)
{
        Session *victim = NULL;
        unsigned least = UINT_MAX;

        list_for_each (it, &server->sessions) {
                Session *session = list_entry(it, Session, server_link);

                if (session->user != user || session->closing || cost_of(session) == UINT_MAX ||
                        cost_of(session) > least)
                        continue;
                victim = session;
                least = cost_of(session);
        }
        return victim;
}

static bool is_admitted(
        Server *server, const Peer *peer, const User *user, uint64_t *ret_used, uint64_t *ret_limit)
{
        const AdmissionLimits limits = {
                .sessions_max = server->limits.sessions_max,
                .sessions_per_uid = server->limits.sessions_per_uid,
                .sessions_reserved = server->limits.sessions_reserved,
        };
        AdmissionRequest request = {
                .admin = policy_role(&peer->identity, &server->roles) == ROLE_ADMIN,
                .own = user->n_sessions,
                .total = server->n_sessions,
        };
        UsersFigures figures = {0};
        Session *victim;

        *ret_used = server->n_sessions;
        *ret_limit = request.admin ? limits.sessions_max : admission_room(&limits);
        if (server->n_sessions >= *ret_limit) {
                figures = users_figures(server->users);
                request.users = figures.n + (user->n_sessions == 0);
                request.largest = figures.largest ? figures.largest->n_sessions : 0;
        }
        switch (admission_decide(&limits, &request)) {
        case ADMISSION_GRANTED:
                return true;
        case ADMISSION_IN_PLACE:
                assert(figures.largest);
                victim = find_victim(server, figures.largest);
                if (!victim)
                        return false;
                log_info("uid %u has %u of %u sessions, ending one of them: uid %u needs it",
                        figures.largest->uid, figures.largest->n_sessions, server->n_sessions, user->uid);
                session_evict(victim);
                return true;
        case ADMISSION_REFUSED_USER:
                *ret_used = user->n_sessions;
                *ret_limit = limits.sessions_per_uid;
                return false;
        case ADMISSION_REFUSED_ALL:
                break;
        }
        return false;
}

static void admit(Server *server, User *user, int client_fd)
{
        _cleanup_close_ int fd = client_fd;
        uint64_t used, limit;
        Session *session;
        Peer peer;
        int r;

        r = peer_identify(fd, server->match_units, &peer);
        if (r < 0) {
                if (r != -ESRCH)
                        (void)log_errno(LOG_WARNING, r, "cannot identify a client");
                return;
        }
        if (!is_admitted(server, &peer, user, &used, &limit)) {
                log_debug("uid %u has its sessions", peer.identity.uid);
                server->metrics.sessions_refused++;
                server->metrics.refusals[RESULT_SESSION_LIMIT]++;
                turn_away(fd, used, limit);
                peer_deinit(&peer);
                return;
        }
        r = session_new(server, TAKE_FD(fd), &peer, user, &session);
        if (r < 0)
                (void)log_errno(LOG_WARNING, r, "cannot serve a client");
}

static int take_arrival(Server *server, User *user)
{
        Arrival *arrival = list_first(&user->arrivals, Arrival, link);
        int fd;

        assert(arrival);
        fd = arrival->fd;
        list_unlink(&arrival->link);
        free(arrival);
        user->n_arrivals--;
        server->n_arrivals--;
        return fd;
}

void listener_admit(Server *server, User *user)
{
        if (server->n_arrivals == ARRIVALS_MAX)
                schedule_accepting(server);
        admit(server, user, take_arrival(server, user));
}

void listener_drop_arrivals(Server *server)
{
        User *user;

        while (server->n_arrivals > 0 && (user = users_arriving(server->users)))
                safe_close(take_arrival(server, user));
}

/* Only whose it is is asked here: the rest costs more, and is done in the user's own time. */
static void arrive(Server *server, int client_fd)
{
        _cleanup_close_ int fd = client_fd;
        struct ucred cred;
        socklen_t size = sizeof(cred);
        Arrival *arrival;
        User *user;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
                return;
        user = server_user(server, cred.uid);
        if (!user)
                return;
        if (user->n_arrivals >= ARRIVALS_PER_USER)
                return; /* not a word: it must cost less to refuse than to ask */
        arrival = calloc(1, sizeof(*arrival));
        if (!arrival)
                return;
        arrival->fd = TAKE_FD(fd);
        list_append(&user->arrivals, &arrival->link);
        user->n_arrivals++;
        server->n_arrivals++;
        schedule_user(server, user);
}

bool listener_serve(Server *server)
{
        for (unsigned i = 0; i < ACCEPTS_PER_TURN && server->n_arrivals < ARRIVALS_MAX; i++) {
                int client = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (client >= 0) {
                        arrive(server, client);
                        continue;
                }
                if (errno == EINTR || errno == ECONNABORTED)
                        continue;
                if (errno == EAGAIN)
                        (void)sd_event_source_set_enabled(server->listen_source, SD_EVENT_ON);
                else
                        /* Out of descriptors or memory: the connection waits in the backlog; look again in a second
                         * (server.c's tick switches us on) instead of spinning. */
                        (void)log_errno(LOG_WARNING, errno, "cannot accept a client, waiting");
                return false;
        }
        return server->n_arrivals < ARRIVALS_MAX;
}

void listener_resume(Server *server)
{
        if (server->listen_source && !turn_is_waiting(&server->accepting))
                (void)sd_event_source_set_enabled(server->listen_source, SD_EVENT_ON);
}

/* Until everybody is accepted there is nothing more to be told. */
static int on_listen(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        (void)fd;
        (void)events;
        schedule_accepting(userdata);
        return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

int listener_start(Server *server)
{
        return sd_event_add_io(
                server->event, &server->listen_source, server->listen_fd, EPOLLIN, on_listen, server);
}
