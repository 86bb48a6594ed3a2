/* SPDX-License-Identifier: BSD-3-Clause */

#include "ipc/listener.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "ipc/peer.h"
#include "ipc/session.h"
#include "log.h"
#include "proto/wire.h"

#define ACCEPTS_PER_TURN 16

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

/* Some sessions are kept for administrators, whom no limit per user holds either: they always get in. */
static bool is_admitted(
        Server *server, const Peer *peer, const User *user, uint64_t *ret_used, uint64_t *ret_limit)
{
        const Limits *l = &server->limits;

        if (policy_role(&peer->identity, &server->roles) == ROLE_ADMIN) {
                *ret_used = server->n_sessions;
                *ret_limit = l->sessions_max;
                return server->n_sessions < l->sessions_max;
        }
        if (user->n_sessions >= l->sessions_per_uid) {
                *ret_used = user->n_sessions;
                *ret_limit = l->sessions_per_uid;
                return false;
        }
        *ret_used = server->n_sessions;
        *ret_limit = l->sessions_max - l->sessions_reserved;
        return server->n_sessions < *ret_limit;
}

static void admit(Server *server, int client_fd)
{
        _cleanup_close_ int fd = client_fd;
        uint64_t used, limit;
        Session *session;
        Peer peer;
        User *user;
        int r;

        r = peer_identify(fd, server->match_units, &peer);
        if (r < 0) {
                if (r != -ESRCH)
                        (void)log_errno(LOG_WARNING, r, "cannot identify a client");
                return;
        }
        user = users_get(server->users, peer.identity.uid, server->limits.requests_per_sec,
                server->limits.requests_burst, server_now(server));
        if (!user) {
                peer_deinit(&peer);
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

static int on_listen(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        Server *server = userdata;

        (void)source;
        (void)events;
        for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
                int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (client < 0) {
                        if (errno == EAGAIN)
                                return 0;
                        if (errno == EINTR || errno == ECONNABORTED)
                                continue;
                        /* Out of descriptors or memory: the connection waits in the backlog; look again in a
                         * second (server.c's tick switches us on) instead of spinning. */
                        (void)log_errno(LOG_WARNING, errno, "cannot accept a client, waiting");
                        (void)sd_event_source_set_enabled(server->listen_source, SD_EVENT_OFF);
                        return 0;
                }
                admit(server, client);
        }
        return 0;
}

int listener_start(Server *server)
{
        return sd_event_add_io(
                server->event, &server->listen_source, server->listen_fd, EPOLLIN, on_listen, server);
}
