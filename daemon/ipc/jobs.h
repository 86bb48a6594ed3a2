/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The broker's end of the job protocol (provisioner/job.h): send a job, be called back once with its reply.
 * The connection is made again by itself; jobs under way when it breaks are called back with -ECONNRESET,
 * and what became of them is found out by asking the provisioner for its pools.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "provisioner/job.h"

typedef struct Jobs Jobs;

/* `reply->error` is the outcome; `tail` its reply->n elements; `fd` is -EBADF or a descriptor that the
 * callback may take by setting *fd to -EBADF. */
typedef void (*JobCallback)(const JobReply *reply, const void *tail, int *fd, void *userdata);

typedef struct JobsHooks {
        void (*connected)(void *userdata);
        void (*disconnected)(void *userdata); /* after the callbacks of what was under way */
        void (*event)(const JobReply *event, const void *tail, void *userdata);
        void *userdata;
} JobsHooks;

int jobs_new(sd_event *event, const char *socket_path, const JobsHooks *hooks, Jobs **ret);
/* What is under way is called back with -ECANCELED; no hook is. NULL-safe, returns NULL. */
Jobs *jobs_free(Jobs *jobs);

bool jobs_is_connected(const Jobs *jobs);

/*
 * Send `request` (version and serial are filled in) with `tail_size` bytes of tail. Returns 0, then the
 * callback comes exactly once and never before this returns; or a negative errno (-ENOTCONN), then it never
 * comes.
 */
int jobs_send(Jobs *jobs, JobRequest *request, const void *tail, size_t tail_size, JobCallback callback,
        void *userdata);
