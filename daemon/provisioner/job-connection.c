/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "provisioner/job-connection.h"

/* Packets of one connection that are read before others have their turn. */
#define READ_BURST 16

typedef struct Unsent {
        List unsent_link;
        int fd;
        size_t size;
        uint8_t packet[];
} Unsent;

struct JobConnection {
        const JobHandler *handler;
        void *userdata;
        JobPacket *packet;
        sd_event_source *source;
        int fd;
        bool broken; /* to be closed from the event loop */
        uint32_t events;
        uint32_t n_unanswered;
        uint32_t n_unsent;
        List unsent;
        List connection_link;
};

static void connection_close(JobConnection *connection)
{
        connection->handler->on_closed(connection->userdata, connection);
        (void)job_connection_free(connection);
}

/* From inside a handler: the event loop finds it hung up and closes it. */
static void connection_break(JobConnection *connection)
{
        connection->broken = true;
        (void)shutdown(connection->fd, SHUT_RDWR);
}

static void connection_watch(JobConnection *connection)
{
        uint32_t events = 0;

        if (connection->n_unanswered < JOB_UNANSWERED_MAX && connection->n_unsent < JOB_UNSENT_MAX)
                events |= EPOLLIN;
        if (connection->n_unsent > 0)
                events |= EPOLLOUT;
        if (events == connection->events)
                return;
        connection->events = events;
        if (sd_event_source_set_io_events(connection->source, events | EPOLLRDHUP) < 0)
                connection_break(connection);
}

/* --------------------------------------------------------------------------------------------- replies */

static int send_packet(
        int socket_fd, const void *head, size_t head_size, const void *tail, size_t tail_size, int fd)
{
        struct iovec iov[] = {{(void *)head, head_size}, {(void *)tail, tail_size}};
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = tail_size > 0 ? 2 : 1};

        if (fd >= 0) {
                msg.msg_control = &control;
                msg.msg_controllen = sizeof(control);
                struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
                cmsg->cmsg_level = SOL_SOCKET;
                cmsg->cmsg_type = SCM_RIGHTS;
                cmsg->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
        }
        return sendmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void connection_send(
        JobConnection *connection, const JobReply *reply, const void *tail, size_t tail_size, int taken_fd)
{
        _cleanup_close_ int fd = taken_fd;
        int r;

        if (connection->broken)
                return;
        if (connection->n_unsent == 0) {
                r = send_packet(connection->fd, reply, sizeof(*reply), tail, tail_size, fd);
                if (r >= 0)
                        return;
                if (r != -EAGAIN && r != -ENOBUFS) {
                        connection_break(connection);
                        return;
                }
        }
        Unsent *unsent = connection->n_unsent < JOB_UNSENT_LIMIT
                                 ? malloc(sizeof(*unsent) + sizeof(*reply) + tail_size)
                                 : NULL;
        if (!unsent) {
                log_warning("The broker does not read what it is answered, dropping the connection");
                connection_break(connection);
                return;
        }
        memcpy(unsent->packet, reply, sizeof(*reply));
        if (tail_size > 0)
                memcpy(unsent->packet + sizeof(*reply), tail, tail_size);
        unsent->size = sizeof(*reply) + tail_size;
        unsent->fd = TAKE_FD(fd);
        list_append(&connection->unsent, &unsent->unsent_link);
        connection->n_unsent++;
        connection_watch(connection);
}

static void connection_send_unsent(JobConnection *connection)
{
        Unsent *unsent;

        while (!connection->broken && (unsent = list_first(&connection->unsent, Unsent, unsent_link))) {
                int r = send_packet(connection->fd, unsent->packet, unsent->size, NULL, 0, unsent->fd);
                if (r == -EAGAIN || r == -ENOBUFS)
                        break;
                if (r < 0)
                        connection_break(connection);
                list_unlink(&unsent->unsent_link);
                connection->n_unsent--;
                safe_close(unsent->fd);
                free(unsent);
        }
        connection_watch(connection);
}

void job_reply(JobConnection *connection, JobReply *reply, const void *tail, size_t tail_size, int fd)
{
        assert(connection->n_unanswered > 0);
        assert(sizeof(*reply) + tail_size <= JOB_PACKET_MAX);

        reply->version = JOB_VERSION;
        connection->n_unanswered--;
        connection_send(connection, reply, tail, tail_size, fd);
        connection_watch(connection);
}

void job_event(JobConnection *connection, const JobReply *event, const void *tail, size_t tail_size)
{
        connection_send(connection, event, tail, tail_size, -EBADF);
}

/* ------------------------------------------------------------------------------------------------ jobs */

/* Most elements that the tail may have, and the bytes of one; false for a kind that we do not know. */
static bool tail_of(uint32_t kind, uint32_t *ret_max, size_t *ret_size)
{
        *ret_max = 0;
        *ret_size = 0;
        switch (kind) {
        case JOB_STORES:
        case JOB_POOLS:
        case JOB_GROW:
        case JOB_RELEASE:
        case JOB_REGIONS:
        case JOB_PLAN:
        case JOB_APPLY:
        case JOB_DEPROVISION:
        case JOB_RELOAD:
                return true;
        case JOB_CREATE:
                *ret_max = JOB_RECORD_MAX;
                *ret_size = 1;
                return true;
        case JOB_SHRINK:
                *ret_max = JOB_RANGES_MAX;
                *ret_size = sizeof(JobRange);
                return true;
        case JOB_USAGE:
                *ret_max = JOB_USAGE_MAX;
                *ret_size = sizeof(uint64_t);
                return true;
        }
        return false;
}

/* Returns -EBADMSG for what no broker sends: the connection ends. */
static int connection_take_job(JobConnection *connection, size_t n)
{
        const JobRequest *request = &connection->packet->request;
        JobReply reply = {};
        uint32_t max;
        size_t size;

        if (n < offsetof(JobRequest, pool) || request->serial == 0)
                return -EBADMSG;
        reply.kind = request->kind;
        reply.serial = request->serial;
        connection->n_unanswered++;
        if (request->version != JOB_VERSION) {
                reply.error = -EPROTONOSUPPORT;
                job_reply(connection, &reply, NULL, 0, -EBADF);
                return 0;
        }
        if (!tail_of(request->kind, &max, &size)) {
                reply.error = -EOPNOTSUPP;
                job_reply(connection, &reply, NULL, 0, -EBADF);
                return 0;
        }
        if (n < sizeof(*request) || request->n > max || n != sizeof(*request) + request->n * size)
                return -EBADMSG;
        connection->handler->on_job(connection->userdata, connection, request, request + 1);
        return 0;
}

static int connection_read(JobConnection *connection)
{
        struct iovec iov = {connection->packet, sizeof(*connection->packet)};
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1}; /* no room for descriptors: none is received */

        ssize_t n = recvmsg(connection->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return -errno;
        if (n == 0)
                return -ECONNRESET;
        if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
                return -EBADMSG;
        return connection_take_job(connection, (size_t)n);
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        JobConnection *connection = userdata;
        int r = 0;

        (void)source;
        (void)fd;
        /* Jobs that a broker sent with its last breath are not begun: the next one may already ask what
         * there is. */
        if (connection->broken || revents & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) {
                connection_close(connection);
                return 0;
        }
        if (revents & EPOLLOUT)
                connection_send_unsent(connection);
        for (int i = 0; i < READ_BURST && connection->events & EPOLLIN && !connection->broken && r >= 0; i++)
                r = connection_read(connection);
        if (r == -EBADMSG)
                log_warning("A packet that is not of the job protocol, dropping the connection");
        if (connection->broken || (r < 0 && r != -EAGAIN && r != -EINTR)) {
                connection_close(connection);
                return 0;
        }
        connection_watch(connection);
        return 0;
}

/* ------------------------------------------------------------------------------------------------ life */

int job_connection_new(sd_event *event, int taken_fd, const JobHandler *handler, void *userdata,
        JobPacket *packet, List *connections)
{
        _cleanup_close_ int fd = taken_fd;
        _cleanup_(cleanup_job_connection_free) JobConnection *connection = calloc(1, sizeof(*connection));
        int r;

        if (!connection)
                return -ENOMEM;
        list_init(&connection->unsent);
        list_init(&connection->connection_link);
        connection->handler = handler;
        connection->userdata = userdata;
        connection->packet = packet;
        connection->fd = TAKE_FD(fd);
        connection->events = EPOLLIN;
        r = sd_event_add_io(
                event, &connection->source, connection->fd, EPOLLIN | EPOLLRDHUP, on_connection, connection);
        if (r < 0)
                return r;
        list_append(connections, &connection->connection_link);
        (void)TAKE_PTR(connection);
        return 0;
}

JobConnection *job_connection_free(JobConnection *connection)
{
        if (!connection)
                return NULL;
        list_for_each_safe (it, &connection->unsent) {
                Unsent *unsent = list_entry(it, Unsent, unsent_link);
                safe_close(unsent->fd);
                free(unsent);
        }
        list_unlink(&connection->connection_link);
        (void)sd_event_source_disable_unref(connection->source);
        safe_close(connection->fd);
        free(connection);
        return NULL;
}

JobConnection *job_connection_from_link(List *link)
{
        return list_entry(link, JobConnection, connection_link);
}
