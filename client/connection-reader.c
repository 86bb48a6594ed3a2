/* SPDX-License-Identifier: BSD-3-Clause */
/* What arrives, who reads it, and what happens when nothing does any more. */

#include "client/connection-internal.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/timerfd.h>

#include "client/clock.h"

/*
 * How long a new connection may take; a daemon that does not answer shall not hold up the end of a client.
 */
#define HANDSHAKE_TIMEOUT_USEC (5 * USEC_PER_SEC)

/* ---------------------------------------------------------------------------------------------- delivery */

static void end_call(Call *call, int result)
{
        call->result = result;
        call->done = true;
        list_unlink(&call->call_link);
        (void)pthread_cond_signal(&call->cond);
}

static Call *find_call(Connection *c, uint64_t serial)
{
        list_for_each (it, &c->calls) {
                Call *call = list_entry(it, Call, call_link);

                if (call->packet.serial == serial)
                        return call;
        }
        return NULL;
}

/* The answer to a call that has timed out. */
static void deliver_stray(Connection *c, const ServerPacket *p)
{
        if (p->body_case == PMBROKER__V1__SERVER_PACKET__BODY_GRANT)
                c->handler->on_orphan(c->userdata, p->grant->pool);
        else if (p->body_case == PMBROKER__V1__SERVER_PACKET__BODY_SIZE)
                c->handler->on_event(c->userdata, p);
}

static void deliver(Connection *c, const ServerPacket *p, int *fd)
{
        Call *call;

        assert(p);
        if (p->body_case >= PMBROKER__V1__SERVER_PACKET__BODY_RESIZED) {
                c->handler->on_event(c->userdata, p);
                return;
        }
        /* No answer that we ask for is unknown to us: it is an event newer than we are. */
        if (p->body_case == PMBROKER__V1__SERVER_PACKET__BODY__NOT_SET)
                return;

        c->backoff_usec = BACKOFF_MIN_USEC;
        call = find_call(c, p->serial);
        if (!call) {
                deliver_stray(c, p);
        } else if (p->body_case == PMBROKER__V1__SERVER_PACKET__BODY_ERROR) {
                call->refusal = refusal_from_error(p->error);
                end_call(call, refusal_to_errno(&call->refusal));
        } else if ((int)p->body_case != call->expect) {
                call->uncertain = true;
                end_call(call, -EPROTO);
        } else
                end_call(call, call->on_reply ? call->on_reply(call, p, fd) : 0);
}

/* The daemon is gone, or talks nonsense. Nobody is reading. */
static void disconnect(Connection *c, bool garbled)
{
        connection_unwatch_socket(c);
        c->fd = safe_close(c->fd);

        /* Again at once the first time, but not in a circle: only an answer resets the back-off. */
        c->next_attempt_usec = now_usec() + (c->backoff_usec > BACKOFF_MIN_USEC ? c->backoff_usec : 0);
        c->backoff_usec *= 2;
        if (c->backoff_usec > BACKOFF_MAX_USEC)
                c->backoff_usec = BACKOFF_MAX_USEC;
        connection_set_timer(c, TFD_TIMER_ABSTIME, c->next_attempt_usec);

        while (!list_is_empty(&c->calls)) {
                Call *call = list_first(&c->calls, Call, call_link);

                list_unlink(&call->call_link);
                call->lost = true;
                call->n_garbled += garbled;
                (void)pthread_cond_signal(&call->cond);
        }
}

int connection_read_one(Connection *c, uint64_t deadline_usec)
{
        uint8_t buf[WIRE_SERVER_MAX];
        _cleanup_close_ int got = -EBADF;
        ServerPacket *p = NULL;
        int fd = c->fd, r = 0;
        ssize_t n = 0;

        assert(fd >= 0 && !c->reading);
        c->reading = true;
        connection_unlock(c);

        if (deadline_usec > 0)
                r = poll_until(fd, POLLIN, deadline_usec);
        if (r == 0) {
                n = wire_recv(fd, buf, sizeof(buf), &got);
                r = n < 0 ? (int)n : n == 0 ? -ECONNRESET : wire_decode_server(buf, (size_t)n, &p);
        }

        connection_lock(c);
        c->reading = false;
        if (r == -ETIMEDOUT || r == -EAGAIN)
                return r;
        if (r < 0)
                disconnect(c, !wire_error_is_disconnect(r));
        else
                deliver(c, p, &got);
        wire_free_server(p);
        return 0;
}

void connection_pass_role(Connection *c)
{
        Call *first = list_first(&c->calls, Call, call_link);

        if (!c->reading && first)
                (void)pthread_cond_signal(&first->cond);
}

/* -------------------------------------------------------------------------------------------- connecting */

static void install(Connection *c, Handshake *h)
{
        c->fd = TAKE_FD(h->fd);
        c->handler->on_resumed(c->userdata, h->pools, h->n_pools);
        for (size_t i = 0; i < h->n_events; i++)
                c->handler->on_event(c->userdata, h->events[i]);
        connection_kick(c);
}

void connection_restore_once(Connection *c, uint64_t deadline_usec)
{
        uint64_t until = now_usec() + HANDSHAKE_TIMEOUT_USEC;
        _cleanup_(handshake_deinit) Handshake h = {.fd = -EBADF};
        int r;

        c->restoring = true;
        connection_unlock(c);
        r = handshake_run(c->path, /* resume= */ true, until < deadline_usec ? until : deadline_usec, &h);
        connection_lock(c);
        c->restoring = false;

        if (r < 0) {
                c->next_attempt_usec = now_usec() + c->backoff_usec;
                c->backoff_usec *= 2;
                if (c->backoff_usec > BACKOFF_MAX_USEC)
                        c->backoff_usec = BACKOFF_MAX_USEC;
                connection_set_timer(c, TFD_TIMER_ABSTIME, c->next_attempt_usec);
        } else
                install(c, &h);
        (void)pthread_cond_broadcast(&c->restored);
}

void connection_wait_until(Connection *c, pthread_cond_t *cond, uint64_t usec)
{
        struct timespec ts = usec_to_timespec(usec);

        (void)pthread_cond_clockwait(cond, &c->lock, CLOCK_MONOTONIC, &ts);
}

int connection_restore(Connection *c, uint64_t deadline_usec)
{
        while (c->fd < 0) {
                uint64_t now = now_usec();

                if (c->dead)
                        return -ESTALE;
                if (now >= deadline_usec)
                        return -ENOTCONN;
                if (c->restoring)
                        connection_wait_until(c, &c->restored, deadline_usec);
                else if (now < c->next_attempt_usec)
                        connection_wait_until(c, &c->restored,
                                c->next_attempt_usec < deadline_usec ? c->next_attempt_usec : deadline_usec);
                else
                        connection_restore_once(c, deadline_usec);
        }
        return 0;
}
