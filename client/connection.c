/* SPDX-License-Identifier: BSD-3-Clause */
/* Life, watching, and calls. */

#include "client/connection-internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "client/clock.h"

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

/* ---------------------------------------------------------------------------------------------- watching */

void connection_set_timer(Connection *c, int flags, uint64_t usec)
{
        struct itimerspec when = {.it_value = usec_to_timespec(usec)};

        if (c->timer_fd >= 0)
                (void)timerfd_settime(c->timer_fd, flags, &when, NULL);
}

void connection_watch_socket(Connection *c)
{
        struct epoll_event e = {.events = EPOLLIN, .data.fd = c->fd};

        if (c->epoll_fd < 0 || c->fd < 0 || c->watched || c->reading || !list_is_empty(&c->calls))
                return;
        c->watched = epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->fd, &e) >= 0;
}

void connection_unwatch_socket(Connection *c)
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
                connection_watch_socket(c);
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
        connection_set_timer(c, 0, 1);
}

void connection_rest(Connection *c, uint64_t usec)
{
        c->kicked = false;
        if (c->fd >= 0)
                connection_set_timer(c, 0, usec);
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
                        connection_wait_until(c, &call->cond, deadline_usec);
                else
                        (void)connection_read_one(c, deadline_usec);
        }
        connection_pass_role(c);
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
                r = connection_restore(c, deadline_usec);
                if (r < 0)
                        return r;

                r = send_call(c, call);
                if (r == -EAGAIN) {
                        /* The daemon does not read; it may come to that only behind very many calls. */
                        if (now_usec() >= deadline_usec)
                                return -ETIMEDOUT;
                        connection_wait_until(c, &call->cond, now_usec() + BACKOFF_MIN_USEC);
                        continue;
                }
                if (r < 0)
                        return r;

                call->done = call->lost = false;
                list_append(&c->calls, &call->call_link);
                connection_unwatch_socket(c);
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
        uint64_t deadline = now_usec() + (call->timeout_usec ?: c->timeout_usec), pause = BACKOFF_MIN_USEC;
        int r;

        (void)pthread_cond_init(&call->cond, NULL);
        list_init(&call->call_link);

        connection_lock(c);
        /* The same to the end. What is refused for now is no result that would be repeated; but before that it may have
         * been done by a daemon that is no more, and the next one knows it by this id when it knows its pools. */
        call->packet.request_id = 0;
        if (call->flags & CALL_MUTATES)
                while (call->packet.request_id == 0)
                        call->packet.request_id = ++c->request_id;
        for (;;) {
                call->refusal = (Refusal){};
                r = call_once(c, call, deadline);
                /* The provisioner may have gone away with it half done: not to be taken for undone. */
                if ((call->flags & CALL_ONCE) && call->refusal.code == RESULT_RETRY) {
                        call->uncertain = true;
                        break;
                }
                if (!refused_for_now(call) || (call->flags & CALL_IF_CONNECTED) ||
                        now_usec() + pause >= deadline)
                        break;
                /* Nobody signals a call that is not linked: this sleeps. */
                connection_wait_until(c, &call->cond, now_usec() + pause);
                pause = pause * 2 < BACKOFF_MAX_USEC ? pause * 2 : BACKOFF_MAX_USEC;
        }
        connection_watch_socket(c);
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
                connection_restore_once(c, now + c->timeout_usec);

        /* A thread that waits for its answer reads for us, too. */
        for (unsigned i = 0; i < DISPATCH_MAX && c->fd >= 0 && !c->reading && list_is_empty(&c->calls); i++)
                if (connection_read_one(c, 0) < 0)
                        break;
        connection_pass_role(c);

        connection_watch_socket(c);
        if (c->fd < 0 && !c->dead && !c->restoring)
                connection_set_timer(c, TFD_TIMER_ABSTIME, c->next_attempt_usec);
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
