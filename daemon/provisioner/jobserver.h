/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The listening socket of the job protocol: who may connect, and the connections. */

#include "provisioner/job-connection.h"

#define JOB_CONNECTIONS_MAX 8

typedef struct JobServer JobServer;

/* Takes listen_fd over, even in case of failure. Peers are `uid`, root, and our own user. */
int jobserver_new(sd_event *event, int listen_fd, uint32_t uid, const JobHandler *handler, void *userdata,
        JobServer **ret);
/* Closes all connections without calling on_closed(). NULL-safe, returns NULL. */
JobServer *jobserver_free(JobServer *server);
DEFINE_CLEANUP(JobServer, jobserver_free);

/* Tell every connection: version is filled in. */
void jobserver_broadcast(JobServer *server, JobReply *event, const void *tail, size_t tail_size);
