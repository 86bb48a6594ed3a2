/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection, a table of the jobs under way or waiting, and a timer that connects again. */

#include "ipc/jobs.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/parse.h"
#include "log.h"
#include "proto/wire.h"

#define RETRY_MIN_USEC (10 * UINT64_C(1000))
#define RETRY_MAX_USEC (500 * UINT64_C(1000))

typedef struct Job {
        uint64_t serial;
        uint32_t kind;
        JobCallback callback;
        void *userdata;
        JobLine *line; /* or NULL */
        bool in_window;
        List link; /* JobLine.waiting, then Jobs.unsent until the socket has taken it */
        UT_hash_handle hh;
        size_t size;
        uint8_t packet[];
} Job;

struct Jobs {
        sd_event *event;
        char *path;
        JobsHooks hooks;
        int fd;
        sd_event_source *io;
        sd_event_source *retry;
        uint64_t retry_usec;
        bool announced; /* its absence was logged */
        uint64_t next_serial;
        Job *under_way; /* by serial; also those that wait */
        List unsent;    /* Job.link: their turn has come, but the socket is full */
        _Alignas(8) uint8_t buffer[JOB_PACKET_MAX];
};

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata);
static int on_retry(sd_event_source *source, uint64_t usec, void *userdata);

static void schedule_retry(Jobs *jobs)
{
        uint64_t now;

        if (sd_event_now(jobs->event, CLOCK_MONOTONIC, &now) < 0)
                now = 0;
        (void)sd_event_source_set_time(jobs->retry, now + jobs->retry_usec);
        (void)sd_event_source_set_enabled(jobs->retry, SD_EVENT_ONESHOT);
        jobs->retry_usec = jobs->retry_usec * 2 > RETRY_MAX_USEC ? RETRY_MAX_USEC : jobs->retry_usec * 2;
}

void jobline_init(JobLine *line, uint32_t window)
{
        *line = (JobLine){.window = window};
        list_init(&line->waiting);
}

bool jobline_is_idle(const JobLine *line)
{
        return line->under_way == 0 && list_is_empty(&line->waiting);
}

/* End the connection and everything that hung on it. */
static void drop_connection(Jobs *jobs, int error)
{
        Job *job, *tmp, *lost;

        jobs->io = sd_event_source_disable_unref(jobs->io);
        jobs->fd = safe_close(jobs->fd);

        /* A callback may send the next job: it finds no connection, and the table is ours alone. It may let go of
         * everybody whose line is idle: each stays in its line until it is its turn. */
        lost = jobs->under_way;
        jobs->under_way = NULL;
        HASH_ITER(hh, lost, job, tmp)
        {
                JobReply reply = {
                        .version = JOB_VERSION, .kind = job->kind, .serial = job->serial, .error = error};
                int none = -EBADF;

                HASH_DEL(lost, job);
                list_unlink(&job->link);
                if (job->line && job->in_window)
                        job->line->under_way--;
                job->callback(&reply, NULL, &none, job->userdata);
                free(job);
        }
}

static int connect_now(Jobs *jobs)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_close_ int fd = -EBADF;
        int r;

        memcpy(address.sun_path, jobs->path, strlen(jobs->path) + 1);
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        r = sd_event_add_io(jobs->event, &jobs->io, fd, EPOLLIN, on_io, jobs);
        if (r < 0)
                return r;
        jobs->fd = TAKE_FD(fd);
        return 0;
}

static void try_connect(Jobs *jobs)
{
        int r = connect_now(jobs);

        if (r < 0) {
                if (!jobs->announced)
                        (void)log_errno(LOG_WARNING, r, "no provisioner at %s, trying on", jobs->path);
                jobs->announced = true;
                schedule_retry(jobs);
                return;
        }
        jobs->hooks.connected(jobs->hooks.userdata);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
        Jobs *jobs = userdata;

        (void)source;
        (void)usec;
        if (jobs->fd < 0)
                try_connect(jobs);
        return 0;
}

int jobs_new(sd_event *event, const char *socket_path, const JobsHooks *hooks, Jobs **ret)
{
        Jobs *jobs;
        int r;

        if (strlen(socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
                return -ENAMETOOLONG;
        jobs = calloc(1, sizeof(*jobs));
        if (!jobs)
                return -ENOMEM;
        jobs->event = sd_event_ref(event);
        jobs->fd = -EBADF;
        jobs->hooks = *hooks;
        jobs->retry_usec = RETRY_MIN_USEC;
        jobs->next_serial = 1;
        list_init(&jobs->unsent);
        jobs->path = strdup(socket_path);
        if (!jobs->path) {
                jobs_free(jobs);
                return -ENOMEM;
        }
        /* The first attempt is a timer too: hooks are never called from within jobs_new(). */
        r = sd_event_add_time(event, &jobs->retry, CLOCK_MONOTONIC, 0, 1000, on_retry, jobs);
        if (r < 0) {
                jobs_free(jobs);
                return r;
        }
        *ret = jobs;
        return 0;
}

Jobs *jobs_free(Jobs *jobs)
{
        if (!jobs)
                return NULL;
        drop_connection(jobs, -ECANCELED);
        sd_event_source_disable_unref(jobs->retry);
        sd_event_unref(jobs->event);
        free(jobs->path);
        free(jobs);
        return NULL;
}

bool jobs_is_connected(const Jobs *jobs)
{
        return jobs->fd >= 0;
}

static int flush_unsent(Jobs *jobs)
{
        while (!list_is_empty(&jobs->unsent)) {
                Job *job = list_first(&jobs->unsent, Job, link);
                int r = wire_send(jobs->fd, job->packet, job->size, -1);

                if (r == -EAGAIN)
                        return sd_event_source_set_io_events(jobs->io, EPOLLIN | EPOLLOUT);
                if (r < 0)
                        return r;
                list_unlink(&job->link);
        }
        return sd_event_source_set_io_events(jobs->io, EPOLLIN);
}

/* Into the socket, or behind what it has not taken yet. */
static int transmit(Jobs *jobs, Job *job)
{
        int r = list_is_empty(&jobs->unsent) ? wire_send(jobs->fd, job->packet, job->size, -1) : -EAGAIN;

        if (r == -EAGAIN) {
                list_append(&jobs->unsent, &job->link);
                return sd_event_source_set_io_events(jobs->io, EPOLLIN | EPOLLOUT);
        }
        return r;
}

/* The next of those who wait. One that cannot be sent ends the connection, and with it everything that is under way;
 * that is noticed, and told, by on_io(). */
static void advance(Jobs *jobs, JobLine *line)
{
        while (jobs->fd >= 0 && line->under_way < line->window && !list_is_empty(&line->waiting)) {
                Job *job = list_first(&line->waiting, Job, link);

                list_unlink(&job->link);
                job->in_window = true;
                line->under_way++;
                if (transmit(jobs, job) < 0)
                        (void)shutdown(jobs->fd, SHUT_RDWR);
        }
}

int jobs_send(Jobs *jobs, JobLine *line, JobRequest *request, const void *tail, size_t tail_size,
        JobCallback callback, void *userdata)
{
        size_t size = sizeof(*request) + tail_size;
        _cleanup_free_ Job *job = NULL;
        int r;

        assert(size <= JOB_PACKET_MAX);
        if (jobs->fd < 0)
                return -ENOTCONN;
        job = calloc(1, sizeof(*job) + size);
        if (!job)
                return -ENOMEM;
        request->version = JOB_VERSION;
        request->serial = jobs->next_serial++;
        memcpy(job->packet, request, sizeof(*request));
        if (tail_size > 0)
                memcpy(job->packet + sizeof(*request), tail, tail_size);
        job->size = size;
        job->serial = request->serial;
        job->kind = request->kind;
        job->callback = callback;
        job->userdata = userdata;
        job->line = line;
        list_init(&job->link);
        HASH_ADD(hh, jobs->under_way, serial, sizeof(job->serial), job);
        if (!job->hh.tbl) /* how uthash says that it had no memory */
                return -ENOMEM;
        if (line && line->under_way >= line->window) {
                list_append(&line->waiting, &job->link);
                (void)TAKE_PTR(job);
                return 0;
        }
        r = transmit(jobs, job);
        if (r < 0) {
                list_unlink(&job->link);
                HASH_DEL(jobs->under_way, job);
                /* The end of the connection is noticed, and told, by on_io(). */
                return wire_error_is_disconnect(r) ? -ENOTCONN : r;
        }
        if (line) {
                job->in_window = true;
                line->under_way++;
        }
        (void)TAKE_PTR(job);
        return 0;
}

static size_t tail_size_of(const JobReply *reply)
{
        switch (reply->kind) {
        case JOB_STORES:
                return reply->n <= JOB_STORES_MAX ? reply->n * sizeof(JobStore) : SIZE_MAX;
        case JOB_POOLS:
                return reply->n <= JOB_POOLS_MAX ? reply->n * sizeof(JobPool) : SIZE_MAX;
        case JOB_USAGE:
                return reply->n <= JOB_USAGE_MAX ? reply->n * sizeof(JobUsage) : SIZE_MAX;
        case JOB_REGIONS:
                return reply->n <= JOB_REGIONS_MAX ? reply->n * sizeof(JobRegion) : SIZE_MAX;
        case JOB_PLAN:
        case JOB_APPLY:
        case JOB_DEPROVISION:
        case JOB_RELOAD:
                return reply->n <= JOB_STEPS_MAX ? reply->n * sizeof(JobStep) : SIZE_MAX;
        case JOB_EVENT_REASON:
                return reply->n == 1 ? sizeof(JobStore) : SIZE_MAX;
        default:
                return reply->n == 0 ? 0 : SIZE_MAX;
        }
}

/* One packet; -EAGAIN when there is none. */
static int receive(Jobs *jobs)
{
        _cleanup_close_ int fd = -EBADF;
        JobReply reply;
        Job *job;
        ssize_t n;

        n = wire_recv(jobs->fd, jobs->buffer, sizeof(jobs->buffer), &fd);
        if (n < 0)
                return (int)n;
        if (n == 0)
                return -ECONNRESET;
        if ((size_t)n < sizeof(reply))
                return -EBADMSG;
        memcpy(&reply, jobs->buffer, sizeof(reply));
        if (reply.version != JOB_VERSION)
                return -EPROTONOSUPPORT;
        if (tail_size_of(&reply) != (size_t)n - sizeof(reply))
                return -EBADMSG;
        /* Only now: one who accepts and hangs up is not to be bothered more often than one who is not there. */
        jobs->announced = false;
        jobs->retry_usec = RETRY_MIN_USEC;
        if (reply.serial == 0) {
                jobs->hooks.event(&reply, jobs->buffer + sizeof(reply), jobs->hooks.userdata);
                return 0;
        }
        HASH_FIND(hh, jobs->under_way, &reply.serial, sizeof(reply.serial), job);
        if (!job || job->kind != reply.kind)
                return -EBADMSG;
        if (job->line && !job->in_window)
                return -EBADMSG; /* not even asked */
        HASH_DEL(jobs->under_way, job);
        list_unlink(&job->link);
        if (job->line) {
                job->line->under_way--;
                advance(jobs, job->line);
        }
        job->callback(&reply, jobs->buffer + sizeof(reply), &fd, job->userdata);
        free(job);
        return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        Jobs *jobs = userdata;
        int r = 0;

        (void)source;
        (void)fd;
        if (events & EPOLLOUT)
                r = flush_unsent(jobs);
        for (unsigned i = 0; r >= 0 && i < 32; i++)
                r = receive(jobs);
        if (r >= 0 || r == -EAGAIN)
                return 0;
        if (jobs->announced)
                ; /* said already */
        else if (wire_error_is_disconnect(r))
                log_info("the provisioner has gone away, connecting again");
        else
                (void)log_errno(LOG_WARNING, r, "the connection to the provisioner broke, connecting again");
        jobs->announced = true;
        drop_connection(jobs, -ECONNRESET);
        jobs->hooks.disconnected(jobs->hooks.userdata);
        schedule_retry(jobs);
        return 0;
}
