/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The broker process's edge towards clients: what the sessions, services and releases share. It ties the
 * core (which decides) to the jobs (which do).
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/list.h"
#include "core/broker.h"
#include "core/turn.h"
#include "ipc/jobs.h"
#include "ipc/limits.h"
#include "ipc/metrics.h"
#include "ipc/user.h"
#include "proto/pmbroker.pb-c.h"

typedef struct Server Server;
typedef struct Session Session;

/* What requests have the manager do. */
typedef struct ServerHooks {
        /* Read the configuration, and with `apply` use it. A negative errno, and why in *ret_message (malloc'd; NULL:
         * out of memory); then nothing has changed. */
        int (*reload)(bool apply, char **ret_message, void *userdata);
        /* Learn anew which stores there are, then call service_stores_known(); a negative errno if that cannot be. */
        int (*learn_stores)(void *userdata);
        void *userdata;
} ServerHooks;

struct Server {
        sd_event *event;
        Broker *broker;
        Jobs *jobs;
        Limits limits;
        RolePolicy roles;
        bool match_units; /* some tenant is matched by unit or slice */
        bool ready;       /* stores and pools are known: requests about pools are answered */
        Users *users;
        List sessions; /* Session.server_link */
        List errands;  /* service-provision.c: done, and to be answered when the stores are known */
        uint32_t n_sessions;
        uint32_t n_arrivals; /* connections that wait to be made sessions */
        uint32_t n_watching; /* sessions that want to be told what happens */
        Metrics metrics;
        ServerHooks hooks;
        uint64_t next_connection;
        uint64_t next_event_serial;
        uint64_t started_usec;
        int listen_fd;
        sd_event_source *listen_source;
        Turns turns;
        Turn accepting; /* new clients take turns with those who are there */
        sd_event_source *turn_source;
        sd_event_source *tick; /* once a second: deadlines of owners, shrinks and releases */
};

typedef struct ServerOptions {
        sd_event *event;
        int listen_fd;              /* listening SOCK_SEQPACKET socket; taken over */
        const char *jobs_path;      /* where the provisioner listens */
        const JobsHooks *job_hooks; /* the manager's */
        ServerHooks hooks;          /* likewise */
        uint32_t admin_uid;
} ServerOptions;

int server_new(const ServerOptions *options, Server **ret);
Server *server_free(Server *server);
/* Begin to accept clients. */
int server_start(Server *server);
typedef struct ServerSettings {
        Limits limits;
        uint32_t admin_gid;
        uint32_t observer_gid;
        bool match_units;
} ServerSettings;
void server_configure(Server *server, const ServerSettings *settings);

/* Monotonic, microseconds; the time that everything in one turn of the loop goes by. */
uint64_t server_now(Server *server);

/* The user, made if there is none; NULL when there is no memory. */
User *server_user(Server *server, uint32_t uid);

/* Send an event (its serial is filled in) to every session of the owner, but `except`. */
void server_tell_owner(
        Server *server, const Owner *owner, Pmbroker__V1__ServerPacket *event, const Session *except);
/* Tell every session that the daemon goes away. */
void server_tell_closing(Server *server);
