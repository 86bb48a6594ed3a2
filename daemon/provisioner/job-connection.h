/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One connection of a broker: what is a packet, and replies that wait for a slow reader. A packet that is
 * not of the protocol, or that carries descriptors, ends the connection. What a job means is the handler's
 * business.
 */

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "provisioner/job.h"

#define JOB_UNANSWERED_MAX 16384 /* jobs of a connection; then it is not read from */
#define JOB_UNSENT_MAX     512   /* replies of a connection; then it is not read from */
#define JOB_UNSENT_LIMIT   (JOB_UNSENT_MAX + JOB_UNANSWERED_MAX) /* then it is dropped */

typedef struct JobConnection JobConnection;

typedef struct JobHandler {
        /* A job whose form is right: version, kind, n, and a tail of n elements. To be answered by
         * job_reply(), now or later. */
        void (*on_job)(
                void *userdata, JobConnection *connection, const JobRequest *request, const void *tail);
        /* It is gone: nothing it asked for can be answered any more. */
        void (*on_closed)(void *userdata, JobConnection *connection);
} JobHandler;

/* What is received; connections of one thread can share it. */
typedef union JobPacket {
        JobRequest request;
        uint8_t bytes[JOB_PACKET_MAX];
} JobPacket;

/* Takes the fd over, even in case of failure; handler and packet are borrowed. The connection adds itself to
 * the list and ends, on_closed() having been called, from the event loop. */
int job_connection_new(sd_event *event, int fd, const JobHandler *handler, void *userdata, JobPacket *packet,
        List *connections);
/* At the end of everything: without on_closed(). NULL-safe, returns NULL. */
JobConnection *job_connection_free(JobConnection *connection);
DEFINE_CLEANUP(JobConnection, job_connection_free);
JobConnection *job_connection_from_link(List *link);

/* Answer a job: version is filled in. `fd` (-EBADF: none) is taken over. */
void job_reply(JobConnection *connection, JobReply *reply, const void *tail, size_t tail_size, int fd);
/* Something that was not asked for. */
void job_event(JobConnection *connection, const JobReply *event, const void *tail, size_t tail_size);
