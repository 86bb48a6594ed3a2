/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The listening socket of the job protocol and its connections: who may connect, what is a packet, and answers that
 * wait for a slow reader. What a job means is the handler's business.
 */

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "provisioner/job.h"

#define JOB_CONNECTIONS_MAX 8
#define JOB_UNANSWERED_MAX  16384 /* jobs of a connection; then it is not read from */
#define JOB_UNSENT_MAX      512   /* replies of a connection; then it is not read from */
#define JOB_UNSENT_LIMIT    (JOB_UNSENT_MAX + JOB_UNANSWERED_MAX) /* then it is dropped */

typedef struct JobServer JobServer;
typedef struct JobConnection JobConnection;

typedef struct JobHandler {
        /* A job whose form is right: version, kind, n, and a tail of n elements. To be answered by job_reply(), now
         * or later. */
        void (*on_job)(
                void *userdata, JobConnection *connection, const JobRequest *request, const void *tail);
        /* It is gone: nothing it asked for can be answered any more. */
        void (*on_closed)(void *userdata, JobConnection *connection);
} JobHandler;

/* Takes listen_fd over, even in case of failure. Peers are `uid`, root, and our own user. */
int jobserver_new(sd_event *event, int listen_fd, uint32_t uid, const JobHandler *handler, void *userdata,
        JobServer **ret);
/* Closes all connections without calling on_closed(). NULL-safe, returns NULL. */
JobServer *jobserver_free(JobServer *server);
DEFINE_CLEANUP(JobServer, jobserver_free);

/* Answer a job: version is filled in. `fd` (-EBADF: none) is taken over. */
void job_reply(JobConnection *connection, JobReply *reply, const void *tail, size_t tail_size, int fd);
/* Tell every connection. */
void jobserver_broadcast(JobServer *server, JobReply *event, const void *tail, size_t tail_size);
