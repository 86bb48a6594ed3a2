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

#include "base/list.h"
#include "provisioner/job.h"

typedef struct Jobs Jobs;

/* Whose jobs these are: no more than `window` are under way at a time, the others wait. So nobody's job waits for more
 * of anybody else's than that. */
typedef struct JobLine {
        List waiting;
        uint32_t under_way;
        uint32_t window;
} JobLine;

void jobline_init(JobLine *line, uint32_t window);
bool jobline_is_idle(const JobLine *line);

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
 * Send `request` (version and serial are filled in) with `tail_size` bytes of tail, as soon as the line lets it; NULL:
 * at once. Returns 0, then the callback comes exactly once and never before this returns; or a negative errno
 * (-ENOTCONN), then it never comes. The line must live until then.
 */
int jobs_send(Jobs *jobs, JobLine *line, JobRequest *request, const void *tail, size_t tail_size,
        JobCallback callback, void *userdata);
