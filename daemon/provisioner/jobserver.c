/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/parse.h"
#include "log.h"
#include "provisioner/jobserver.h"

struct JobServer {
        sd_event *event;
        sd_event_source *source;
        int listen_fd;
        uint32_t uid;
        JobHandler handler;
        void *userdata;
        List connections;
        JobPacket packet;
};

static uint32_t count_connections(JobServer *server)
{
        uint32_t n = 0;

        list_for_each (it, &server->connections)
                n++;
        return n;
}

static bool peer_is_welcome(const JobServer *server, int fd)
{
        struct ucred peer;
        socklen_t size = sizeof(peer);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return false;
        if (peer.uid == server->uid || peer.uid == 0 || peer.uid == geteuid())
                return true;
        log_warning("A process of user %u is not the broker, refused", peer.uid);
        return false;
}

static int on_listen(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
        JobServer *server = userdata;
        _cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int r;

        (void)source;
        (void)revents;
        if (fd < 0) {
                if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                        (void)log_errno(
                                LOG_WARNING, errno, "A connection to the job socket failed, ignoring");
                return 0;
        }
        if (!peer_is_welcome(server, fd))
                return 0;
        if (count_connections(server) >= JOB_CONNECTIONS_MAX) {
                log_warning("Too many connections to the job socket, refused");
                return 0;
        }
        r = job_connection_new(server->event, TAKE_FD(fd), &server->handler, server->userdata,
                &server->packet, &server->connections);
        if (r < 0)
                (void)log_errno(LOG_WARNING, r, "A connection to the job socket failed, ignoring");
        return 0;
}

int jobserver_new(sd_event *event, int listen_fd, uint32_t uid, const JobHandler *handler, void *userdata,
        JobServer **ret)
{
        _cleanup_close_ int fd = listen_fd;
        _cleanup_(cleanup_jobserver_free) JobServer *server = calloc(1, sizeof(*server));
        int r;

        if (!server)
                return -ENOMEM;
        list_init(&server->connections);
        server->event = sd_event_ref(event);
        server->listen_fd = TAKE_FD(fd);
        server->uid = uid;
        server->handler = *handler;
        server->userdata = userdata;
        r = sd_event_add_io(event, &server->source, server->listen_fd, EPOLLIN, on_listen, server);
        if (r < 0)
                return r;
        /* After the connections: a broker that is gone is noticed before its successor is served. */
        r = sd_event_source_set_priority(server->source, SD_EVENT_PRIORITY_NORMAL + 1);
        if (r < 0)
                return r;
        /* Out of descriptors, the socket stays readable. */
        r = sd_event_source_set_ratelimit(server->source, USEC_PER_SEC, 1000);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(server);
        return 0;
}

JobServer *jobserver_free(JobServer *server)
{
        if (!server)
                return NULL;
        list_for_each_safe (it, &server->connections)
                (void)job_connection_free(job_connection_from_link(it));
        (void)sd_event_source_disable_unref(server->source);
        safe_close(server->listen_fd);
        (void)sd_event_unref(server->event);
        free(server);
        return NULL;
}

void jobserver_broadcast(JobServer *server, JobReply *event, const void *tail, size_t tail_size)
{
        event->version = JOB_VERSION;
        list_for_each (it, &server->connections)
                job_event(job_connection_from_link(it), event, tail, tail_size);
}
