/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything else in the loop comes first and is short: noticing that a session can be read from, replies of the
 * provisioner, timers. What is left of the time goes to turns, for half a millisecond on end; then the loop looks who
 * has come meanwhile.
 */

#include "ipc/schedule.h"

#include <assert.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ipc/listener.h"

#define SLICE_USEC 500
/*
 * Accepting counts as so many users: it stands for all who wait to be let in, and one who connects without end must not
 * fill the socket's backlog, in which everybody else would wait behind his connections.
 */
#define ACCEPTING_SHARE 4

uint64_t schedule_clock(void)
{
        struct timespec now = {0};

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

static void wait_for_turn(Server *server, Turn *turn)
{
        turns_wait(&server->turns, turn);
        (void)sd_event_source_set_enabled(server->turn_source, SD_EVENT_ON);
}

void schedule_session(Session *session)
{
        if (list_is_linked(&session->talking_link))
                return;
        list_append(&session->user->talking, &session->talking_link);
        wait_for_turn(session->server, &session->user->turn);
}

void schedule_user(Server *server, User *user)
{
        wait_for_turn(server, &user->turn);
}

void schedule_leave(Session *session)
{
        if (!list_is_linked(&session->talking_link))
                return;
        list_unlink(&session->talking_link);
        if (list_is_empty(&session->user->talking) && session->user->n_arrivals == 0)
                turn_leave(&session->user->turn);
}

void schedule_accepting(Server *server)
{
        wait_for_turn(server, &server->accepting);
}

void schedule_charge(Server *server, User *user, uint64_t begin_usec)
{
        turns_charge(&server->turns, &user->turn, schedule_clock() - begin_usec);
}

/* One packet of the session that has waited longest; behind the others with it if it has more. */
static void serve_session(User *user)
{
        Session *session = list_first(&user->talking, Session, talking_link);

        assert(session);
        list_unlink(&session->talking_link);
        if (session_serve(session))
                list_append(&user->talking, &session->talking_link);
        else
                session_listen(session);
}

static void serve_user(Server *server, User *user)
{
        if (user->n_arrivals > 0 && (user->arrival_is_next || list_is_empty(&user->talking)))
                listener_admit(server, user);
        else
                serve_session(user);
        user->arrival_is_next = !user->arrival_is_next;
        if (!list_is_empty(&user->talking) || user->n_arrivals > 0)
                turns_wait(&server->turns, &user->turn);
}

static int on_turns(sd_event_source *source, void *userdata)
{
        Server *server = userdata;
        uint64_t begin = schedule_clock(), before = begin, now;

        do {
                Turn *turn = turns_next(&server->turns);

                if (!turn)
                        return sd_event_source_set_enabled(source, SD_EVENT_OFF);
                if (turn != &server->accepting)
                        serve_user(server, CONTAINER_OF(turn, User, turn));
                else if (listener_serve(server))
                        turns_wait(&server->turns, turn);
                now = schedule_clock();
                turns_charge(&server->turns, turn,
                        turn == &server->accepting ? (now - before) / ACCEPTING_SHARE : now - before);
                before = now;
        } while (now - begin < SLICE_USEC);
        return 0;
}

int schedule_start(Server *server)
{
        int r = sd_event_add_defer(server->event, &server->turn_source, on_turns, server);

        if (r >= 0)
                r = sd_event_source_set_priority(server->turn_source, SD_EVENT_PRIORITY_NORMAL + 1);
        if (r >= 0)
                r = sd_event_source_set_enabled(server->turn_source, SD_EVENT_OFF);
        return r;
}
