/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* From a job to whoever does it: its numbers are checked here, before anything is made of them. */

#include "provisioner/audit.h"
#include "provisioner/job-connection.h"
#include "provisioner/provisioner.h"
#include "provisioner/store-list.h"

typedef struct Dispatch {
        StoreList *list;
        TaskRunner *runner;
        Audit *audit;
        uint64_t pools_max; /* that there are descriptors for */
        ReloadHook reload;
        void *userdata;
} Dispatch;

/* The job is answered, at once or later, by what comes of it or by an error. */
void dispatch_job(Dispatch *d, JobConnection *connection, const JobRequest *request, const void *tail);
