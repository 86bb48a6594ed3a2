/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls, the role of the reader, and the way back. */

#include "connection.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "clock.h"

/* How long a new connection may take; a daemon that does not answer shall not hold up the end of a client. */
#define HANDSHAKE_TIMEOUT_USEC (5 * USEC_PER_SEC)

/* Packets that one dispatch reads: the application's loop has other things to do, too. */
#define DISPATCH_MAX 64

int connection_init(Connection *c, const char *path, const ConnectionHandler *handler, void *userdata)
{
        *c = (Connection){
                .handler = handler,
                .userdata = userdata,
                .timeout_usec = CALL_TIMEOUT_USEC,
                .fd = -EBADF,
                .epoll_fd = -EBADF,
                .timer_fd = -EBADF,
                .backoff_usec = BACKOFF_MIN_USEC,
        };
        list_init(&c->calls);
        (void)pthread_mutex_init(&c->lock, NULL);
        (void)pthread_cond_init(&c->restored, NULL);
        if (path[0] == '\0' || strlen(path) >= sizeof(c->path))
                return -EINVAL;
        (void)strcpy(c->path, path);

        /* Ids of different clients in one process, and of processes with the same number, shall not meet. */
        if (getrandom(&c->request_id, sizeof(c->request_id), GRND_NONBLOCK) != sizeof(c->request_id))
                c->request_id = now_usec() ^ (uint64_t)(uintptr_t)c << 16 ^ (uint64_t)getpid() << 40;
        return 0;
}

void connection_deinit(Connection *c)
{
        assert(list_is_empty(&c->calls));
        c->fd = safe_close(c->fd);
        c->epoll_fd = safe_close(c->epoll_fd);
        c->timer_fd = safe_close(c->timer_fd);
        (void)pthread_cond_destroy(&c->restored);
        (void)pthread_mutex_destroy(&c->lock);
}

/* ---------------------------------------------------------------------------------------------- watching */

/* 0 is never. */
static void set_timer(Connection *c, int flags, uint64_t usec)
{
        struct itimerspec when = {.it_value = usec_to_timespec(usec)};

        if (c->timer_fd >= 0)
                (void)timerfd_settime(c->timer_fd, flags, &when, NULL);
}

static void watch(Connection *c)
{
        struct epoll_event e = {.events = EPOLLIN, .data.fd = c->fd};

        if (c->epoll_fd < 0 || c->fd < 0 || c->watched || c->reading || !list_is_empty(&c->calls))
                return;
        c->watched = epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->fd, &e) >= 0;
}

static void unwatch(Connection *c)
{
        if (c->watched)
                (void)epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
        c->watched = false;
}

int connection_watch(Connection *c)
{
        _cleanup_close_ int ep = -EBADF, timer = -EBADF;
        struct epoll_event e = {.events = EPOLLIN};

        ep = epoll_create1(EPOLL_CLOEXEC);
        if (ep < 0)
                return -errno;
        timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (timer < 0)
                return -errno;
        e.data.fd = timer;
        if (epoll_ctl(ep, EPOLL_CTL_ADD, timer, &e) < 0)
                return -errno;

        connection_lock(c);
        if (c->epoll_fd < 0) {
                c->epoll_fd = TAKE_FD(ep);
                c->timer_fd = TAKE_FD(timer);
                if (c->kicked || c->fd < 0)
                        connection_kick(c);
                watch(c);
        }
        connection_unlock(c);
        return 0;
}

int connection_fd(Connection *c)
{
        return c->epoll_fd;
}

void connection_kick(Connection *c)
{
        c->kicked = true;
        set_timer(c, 0, 1);
}

void connection_rest(Connection *c, uint64_t usec)
{
        c->kicked = false;
        if (c->fd >= 0)
                set_timer(c, 0, usec);
}

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
        unwatch(c);
        c->fd = safe_close(c->fd);

        /* Again at once the first time, but not in a circle: only an answer resets the back-off. */
        c->next_attempt_usec = now_usec() + (c->backoff_usec > BACKOFF_MIN_USEC ? c->backoff_usec : 0);
        c->backoff_usec *= 2;
        if (c->backoff_usec > BACKOFF_MAX_USEC)
                c->backoff_usec = BACKOFF_MAX_USEC;
        set_timer(c, TFD_TIMER_ABSTIME, c->next_attempt_usec);

        while (!list_is_empty(&c->calls)) {
                Call *call = list_first(&c->calls, Call, call_link);

                list_unlink(&call->call_link);
                call->lost = true;
                call->n_garbled += garbled;
                (void)pthread_cond_signal(&call->cond);
        }
}

/*
 * Take the role of the reader for one packet, waiting for it until then (0: not at all). Returns 0 (delivered, or
 * disconnected), -ETIMEDOUT or -EAGAIN.
 */
static int read_one(Connection *c, uint64_t deadline_usec)
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

/* Let another waiting thread read on. */
static void pass_role(Connection *c)
{
        if (!c->reading && !list_is_empty(&c->calls))
                (void)pthread_cond_signal(&list_first(&c->calls, Call, call_link)->cond);
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

static void restore_once(Connection *c, uint64_t deadline_usec)
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
                set_timer(c, TFD_TIMER_ABSTIME, c->next_attempt_usec);
        } else
                install(c, &h);
        (void)pthread_cond_broadcast(&c->restored);
}

static void wait_until(Connection *c, pthread_cond_t *cond, uint64_t usec)
{
        struct timespec ts = usec_to_timespec(usec);

        (void)pthread_cond_clockwait(cond, &c->lock, CLOCK_MONOTONIC, &ts);
}

static int restore(Connection *c, uint64_t deadline_usec)
{
        while (c->fd < 0) {
                uint64_t now = now_usec();

                if (c->dead)
                        return -ESTALE;
                if (now >= deadline_usec)
                        return -ENOTCONN;
                if (c->restoring)
                        wait_until(c, &c->restored, deadline_usec);
                else if (now < c->next_attempt_usec)
                        wait_until(c, &c->restored,
                                c->next_attempt_usec < deadline_usec ? c->next_attempt_usec : deadline_usec);
                else
                        restore_once(c, deadline_usec);
        }
        return 0;
}

int connection_open(Connection *c, Refusal *ret_refusal)
{
        _cleanup_(handshake_deinit) Handshake h = {.fd = -EBADF};
        int r;

        r = handshake_run(c->path, /* resume= */ false, now_usec() + c->timeout_usec, &h);
        if (r < 0) {
                *ret_refusal = h.refusal;
                return r;
        }
        connection_lock(c);
        c->fd = TAKE_FD(h.fd);
        connection_unlock(c);
        return 0;
}

/* ------------------------------------------------------------------------------------------------- calls */

static int send_call(Connection *c, Call *call)
{
        uint8_t buf[WIRE_CLIENT_MAX];
        ssize_t size;
        int r;

        call->packet.serial = ++c->serial;
        size = wire_encode_client(&call->packet, buf);
        if (size < 0)
                return (int)size;
        r = wire_send(c->fd, buf, (size_t)size, -1);
        if (r < 0 && r != -EAGAIN && r != -EMSGSIZE) {
                /* Whoever reads comes to the end after what is still unread, and disconnects. */
                (void)shutdown(c->fd, SHUT_RDWR);
                r = 0;
        }
        return r;
}

static void wait_call(Connection *c, Call *call, uint64_t deadline_usec)
{
        while (!call->done && !call->lost && now_usec() < deadline_usec) {
                if (c->reading)
                        wait_until(c, &call->cond, deadline_usec);
                else
                        (void)read_one(c, deadline_usec);
        }
        pass_role(c);
}

/* Send it until it is answered. */
static int call_once(Connection *c, Call *call, uint64_t deadline_usec)
{
        int r;

        for (;;) {
                if (c->dead)
                        return -ESTALE;
                if (c->fd < 0 && (call->flags & CALL_IF_CONNECTED))
                        return -ENOTCONN;
                r = restore(c, deadline_usec);
                if (r < 0)
                        return r;

                r = send_call(c, call);
                if (r == -EAGAIN) {
                        /* The daemon does not read; it may come to that only behind very many calls. */
                        if (now_usec() >= deadline_usec)
                                return -ETIMEDOUT;
                        wait_until(c, &call->cond, now_usec() + BACKOFF_MIN_USEC);
                        continue;
                }
                if (r < 0)
                        return r;

                call->done = call->lost = false;
                list_append(&c->calls, &call->call_link);
                unwatch(c);
                if (call->meanwhile) {
                        connection_unlock(c);
                        call->meanwhile(call);
                        call->meanwhile = NULL;
                        connection_lock(c);
                }
                wait_call(c, call, deadline_usec);
                if (call->done)
                        return call->result;

                call->uncertain = true;
                if (!call->lost) {
                        list_unlink(&call->call_link);
                        return -ETIMEDOUT;
                }
                if (call->n_garbled > 1)
                        return -EBADMSG;
                if (call->flags & CALL_ONCE)
                        return -ECONNRESET;
                if (call->flags & CALL_IF_CONNECTED)
                        return -ENOTCONN;
        }
}

/* A repeated request may find itself at work. */
static bool refused_for_now(const Call *call)
{
        return call->refusal.code == RESULT_RETRY || call->refusal.code == RESULT_RATE ||
               (call->refusal.code == RESULT_BUSY && call->uncertain);
}

int connection_call(Connection *c, Call *call)
{
        uint64_t deadline = now_usec() + c->timeout_usec, pause = BACKOFF_MIN_USEC;
        int r;

        (void)pthread_cond_init(&call->cond, NULL);
        list_init(&call->call_link);

        connection_lock(c);
        for (;;) {
                call->refusal = (Refusal){};
                /* A new id also after a refusal: the old one would be answered with the same refusal. */
                call->packet.request_id = 0;
                if (call->flags & CALL_MUTATES)
                        while (call->packet.request_id == 0)
                                call->packet.request_id = ++c->request_id;

                r = call_once(c, call, deadline);
                if (!refused_for_now(call) || (call->flags & CALL_IF_CONNECTED) ||
                        now_usec() + pause >= deadline)
                        break;
                /* Nobody signals a call that is not linked: this sleeps. */
                wait_until(c, &call->cond, now_usec() + pause);
                pause = pause * 2 < BACKOFF_MAX_USEC ? pause * 2 : BACKOFF_MAX_USEC;
        }
        watch(c);
        connection_unlock(c);

        (void)pthread_cond_destroy(&call->cond);
        return r;
}

void connection_dispatch(Connection *c)
{
        uint64_t ignored, now = now_usec();

        connection_lock(c);
        if (c->timer_fd >= 0)
                (void)!read(c->timer_fd, &ignored, sizeof(ignored));

        if (!c->dead && c->fd < 0 && !c->restoring && now >= c->next_attempt_usec)
                restore_once(c, now + c->timeout_usec);

        /* A thread that waits for its answer reads for us, too. */
        for (unsigned i = 0; i < DISPATCH_MAX && c->fd >= 0 && !c->reading && list_is_empty(&c->calls); i++)
                if (read_one(c, 0) < 0)
                        break;
        pass_role(c);

        watch(c);
        if (c->fd < 0 && !c->dead && !c->restoring)
                set_timer(c, TFD_TIMER_ABSTIME, c->next_attempt_usec);
        connection_unlock(c);
}

void connection_forked(Connection *c)
{
        c->fd = safe_close(c->fd);
        c->epoll_fd = safe_close(c->epoll_fd);
        c->timer_fd = safe_close(c->timer_fd);
        c->watched = c->reading = c->restoring = false;
        c->dead = true;
        list_init(&c->calls); /* the threads that wait are not in this process */
        (void)pthread_cond_init(&c->restored, NULL);
}
