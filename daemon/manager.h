/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The broker process: configuration, server, provisioner and service manager brought together. */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "config.h"

typedef struct Manager Manager;

typedef struct ManagerOptions {
        sd_event *event;
        int listen_fd;           /* taken over */
        const char *jobs_path;   /* where the provisioner listens */
        const char *config_path; /* read again at SIGHUP */
        bool config_must_exist;
        uint32_t admin_uid; /* besides root: the user of an unprivileged daemon; -1: none */
} ManagerOptions;

/* `config` is taken over. */
int manager_new(const ManagerOptions *options, Config *config, Manager **ret);
Manager *manager_free(Manager *manager);

/* Serve until SIGTERM or SIGINT. Returns the process's exit status or a negative errno. */
int manager_run(Manager *manager);
