/* SPDX-License-Identifier: BSD-3-Clause */

#include "ipc/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ipc/lifetime.h"
#include "ipc/listener.h"
#include "ipc/schedule.h"
#include "ipc/service.h"
#include "ipc/session.h"

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
        Server *server = userdata;

        (void)usec;
        listener_resume(server);
        lifetime_tick(server);
        (void)sd_event_source_set_time_relative(source, USEC_PER_SEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int server_new(const ServerOptions *options, Server **ret)
{
        _cleanup_close_ int listen_fd = options->listen_fd;
        Server *server;
        int flags, r;

        server = calloc(1, sizeof(*server));
        if (!server)
                return -ENOMEM;
        server->event = sd_event_ref(options->event);
        server->listen_fd = TAKE_FD(listen_fd);
        server->hooks = options->hooks;
        server->roles = (RolePolicy){
                .admin_gid = (uint32_t)-1, .admin_uid = options->admin_uid, .observer_gid = (uint32_t)-1};
        list_init(&server->sessions);
        list_init(&server->errands);
        turns_init(&server->turns);
        turn_init(&server->accepting);

        r = broker_new(&server->broker);
        if (r >= 0)
                r = users_new(&server->users);
        if (r >= 0)
                r = jobs_new(options->event, options->jobs_path, options->job_hooks, &server->jobs);
        if (r >= 0)
                r = schedule_start(server);
        if (r >= 0)
                r = sd_event_add_time_relative(server->event, &server->tick, CLOCK_MONOTONIC, USEC_PER_SEC,
                        USEC_PER_SEC / 10, on_tick, server);
        if (r >= 0) {
                flags = fcntl(server->listen_fd, F_GETFL);
                if (flags < 0 || fcntl(server->listen_fd, F_SETFL, flags | O_NONBLOCK) < 0)
                        r = -errno;
        }
        if (r < 0) {
                server_free(server);
                return r;
        }
        server->started_usec = server_now(server);
        *ret = server;
        return 0;
}

Server *server_free(Server *server)
{
        if (!server)
                return NULL;
        sd_event_source_disable_unref(server->listen_source);
        sd_event_source_disable_unref(server->turn_source);
        sd_event_source_disable_unref(server->tick);
        server->jobs = jobs_free(server->jobs); /* ends the calls under way */
        service_stores_known(server);
        list_for_each_safe (it, &server->sessions)
                session_free(list_entry(it, Session, server_link));
        if (server->broker) {
                list_for_each_safe (it, broker_pools(server->broker))
                        pool_forget(list_entry(it, Pool, broker_link));
                list_for_each_safe (it, broker_owners(server->broker))
                        owner_unwatch(list_entry(it, Owner, owner_link));
        }
        broker_free(server->broker);
        if (server->users)
                listener_drop_arrivals(server);
        users_free(server->users);
        safe_close(server->listen_fd);
        sd_event_unref(server->event);
        free(server);
        return NULL;
}

int server_start(Server *server)
{
        return listener_start(server);
}

void server_configure(Server *server, const ServerSettings *settings)
{
        server->limits = settings->limits;
        server->roles.admin_gid = settings->admin_gid;
        server->roles.observer_gid = settings->observer_gid;
        server->match_units = settings->match_units;
}

uint64_t server_now(Server *server)
{
        uint64_t now = 0;

        (void)sd_event_now(server->event, CLOCK_MONOTONIC, &now);
        return now;
}

User *server_user(Server *server, uint32_t uid)
{
        return users_get(server->users, uid, server->limits.requests_per_sec, server->limits.requests_burst,
                server_now(server));
}

void server_tell_owner(
        Server *server, const Owner *owner, Pmbroker__V1__ServerPacket *event, const Session *except)
{
        event->serial = ++server->next_event_serial;
        list_for_each (it, &server->sessions) {
                Session *session = list_entry(it, Session, server_link);

                if (session->owner == owner && session != except && session->hello_done)
                        session_send(session, event, -EBADF);
        }
}

void server_tell_closing(Server *server)
{
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Closing closing = PMBROKER__V1__CLOSING__INIT;

        packet.serial = ++server->next_event_serial;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_CLOSING;
        packet.closing = &closing;
        list_for_each (it, &server->sessions) {
                Session *session = list_entry(it, Session, server_link);

                if (session->hello_done)
                        session_send(session, &packet, -EBADF);
        }
}
