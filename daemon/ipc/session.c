/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session that can be read from is not read from at once: it waits until it is its user's turn (schedule.h).
 * Reading stops while 16 requests are under way, and a session that does not read its answers is closed, so
 * that no client can make us hold more than a few packets for it. The one thing that the kernel counts
 * against the user and not the connection are descriptors in flight: a second one is sent only when the
 * first has been read.
 */

#include "ipc/session.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ipc/chronicle.h"
#include "ipc/lifetime.h"
#include "ipc/schedule.h"
#include "ipc/service.h"
#include "log.h"
#include "proto/wire.h"

#define FD_POLL_MIN_USEC UINT64_C(1000)
#define FD_POLL_MAX_USEC (100 * UINT64_C(1000))

struct SessionOutput {
        List link;
        int fd;
        size_t size;
        uint8_t data[];
};

/* The answer to a request with an id, for when it is repeated. */
struct SessionResult {
        List link;
        uint64_t request_id;
        uint64_t body_hash;
        size_t size;
        uint8_t data[];
};

static int send_queued(Session *s);
static void flush(Session *s);

/* ------------------------------------------------------------------------------------------- life, state */

static void update_io(Session *s)
{
        uint32_t events = 0;
        bool off;

        if (s->closing)
                return;
        if (!list_is_linked(&s->talking_link) && s->in_flight < LIMIT_IN_FLIGHT)
                events |= EPOLLIN;
        if (!list_is_empty(&s->outputs) && !s->fd_timer)
                events |= EPOLLOUT;
        /* That the peer has hung up would be said again and again until its last words are read. */
        off = events == 0 && list_is_linked(&s->talking_link);
        if (sd_event_source_set_io_events(s->io, events) < 0 ||
                sd_event_source_set_enabled(s->io, off ? SD_EVENT_OFF : SD_EVENT_ON) < 0)
                session_close(s); /* nothing would ever be heard of it again */
}

static void free_output(SessionOutput *o)
{
        list_unlink(&o->link);
        safe_close(o->fd);
        free(o);
}

static void free_result(SessionResult *r)
{
        list_unlink(&r->link);
        free(r);
}

static int on_free(sd_event_source *source, void *userdata)
{
        (void)source;
        session_free(userdata);
        return 0;
}

void session_close(Session *s)
{
        if (s->closing)
                return;
        (void)send_queued(s); /* whether it can be sent or not, the session ends */
        s->closing = true;
        schedule_leave(s);
        s->io = sd_event_source_disable_unref(s->io);
        s->hello_timer = sd_event_source_disable_unref(s->hello_timer);
        s->unread_timer = sd_event_source_disable_unref(s->unread_timer);
        s->fd_timer = sd_event_source_disable_unref(s->fd_timer);
        /* Callers may still hold the session: it goes when the loop comes round. */
        if (sd_event_add_defer(s->server->event, &s->io, on_free, s) < 0)
                log_error("no memory to end a session, leaving it to the next start");
}

void session_evict(Session *s)
{
        s->evicted = true;
        session_close(s);
        list_unlink(&s->server_link);
        s->server->n_sessions--;
        s->user->n_sessions--;
        s->user = NULL;
}

Session *session_free(Session *s)
{
        if (!s)
                return NULL;
        s->io = sd_event_source_disable_unref(s->io);
        sd_event_source_disable_unref(s->hello_timer);
        sd_event_source_disable_unref(s->unread_timer);
        sd_event_source_disable_unref(s->fd_timer);
        list_for_each_safe (it, &s->calls) {
                Call *call = list_entry(it, Call, session_link);

                list_unlink(it);
                call->session = NULL;
        }
        list_for_each_safe (it, &s->outputs)
                free_output(list_entry(it, SessionOutput, link));
        list_for_each_safe (it, &s->results)
                free_result(list_entry(it, SessionResult, link));
        if (list_is_linked(&s->server_link)) {
                list_unlink(&s->server_link);
                s->server->n_sessions--;
        }
        schedule_leave(s);
        if (s->watching)
                s->server->n_watching--;
        if (s->user)
                s->user->n_sessions--;
        if (s->owner)
                owner_detach(s->server, s->owner, s->evicted);
        safe_close(s->fd);
        peer_deinit(&s->peer);
        free(s);
        return NULL;
}

static int on_hello_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
        Session *s = userdata;

        (void)source;
        (void)usec;
        log_debug("uid %u pid %u sent no Hello in time", s->peer.identity.uid, s->peer.identity.pid);
        session_close(s);
        return 0;
}

static int on_unread_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
        Session *s = userdata;

        (void)source;
        (void)usec;
        log_info("uid %u pid %u does not read its answers, closing its session", s->peer.identity.uid,
                s->peer.identity.pid);
        session_close(s);
        return 0;
}

/* ----------------------------------------------------------------------------------------------- sending */

static int on_fd_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        Session *s = userdata;

        (void)source;
        (void)usec;
        s->fd_timer = sd_event_source_disable_unref(s->fd_timer);
        flush(s);
        return 0;
}

/* SIOCOUTQ is 0 when the peer has read everything, the descriptor too. */
static bool fd_may_be_sent(Session *s)
{
        int unread = 0;

        if (!s->fd_unread)
                return true;
        if (ioctl(s->fd, SIOCOUTQ, &unread) < 0 || unread > 0)
                return false;
        s->fd_unread = false;
        return true;
}

/* Look again in a moment; meanwhile EPOLLOUT, which would say yes at once, is not asked for. */
static int wait_for_fd(Session *s)
{
        int r;

        if (!s->fd_timer) {
                r = sd_event_add_time_relative(s->server->event, &s->fd_timer, CLOCK_MONOTONIC,
                        s->fd_poll_usec, s->fd_poll_usec / 4, on_fd_timer, s);
                if (r < 0)
                        return r;
                s->fd_poll_usec =
                        s->fd_poll_usec * 2 < FD_POLL_MAX_USEC ? s->fd_poll_usec * 2 : FD_POLL_MAX_USEC;
        }
        return -EAGAIN;
}

/* 0: sent, -EAGAIN: later */
static int try_send(Session *s, const void *data, size_t size, int fd)
{
        int r;

        if (fd >= 0 && !fd_may_be_sent(s))
                return wait_for_fd(s);
        r = wire_send(s->fd, data, size, fd);
        if (r == -ETOOMANYREFS) /* too many unread descriptors, of other sessions of ours */
                return wait_for_fd(s);
        if (r == 0 && fd >= 0) {
                s->fd_unread = true;
                s->fd_poll_usec = FD_POLL_MIN_USEC;
        }
        return r;
}

/* 0: all sent, -EAGAIN: some wait */
static int send_queued(Session *s)
{
        while (!list_is_empty(&s->outputs)) {
                SessionOutput *o = list_first(&s->outputs, SessionOutput, link);
                int r = try_send(s, o->data, o->size, o->fd);

                if (r < 0)
                        return r;
                s->output_bytes -= o->size;
                free_output(o);
        }
        return 0;
}

static void flush(Session *s)
{
        int r;

        if (s->closing)
                return;
        r = send_queued(s);
        if (r < 0 && r != -EAGAIN) {
                session_close(s);
                return;
        }
        if (list_is_empty(&s->outputs))
                s->unread_timer = sd_event_source_disable_unref(s->unread_timer);
        update_io(s);
}

static int queue(Session *s, const uint8_t *data, size_t size, int fd)
{
        _cleanup_free_ SessionOutput *o = NULL;
        _cleanup_close_ int copy = -EBADF;
        int r;

        if (s->output_bytes + size > LIMIT_UNREAD)
                return -ENOBUFS;
        o = malloc(sizeof(*o) + size);
        if (!o)
                return -ENOMEM;
        if (fd >= 0) {
                copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
                if (copy < 0)
                        return -errno;
        }
        if (!s->unread_timer) {
                r = sd_event_add_time_relative(s->server->event, &s->unread_timer, CLOCK_MONOTONIC,
                        s->server->limits.unread_timeout_usec, USEC_PER_SEC / 10, on_unread_timeout, s);
                if (r < 0)
                        return r;
        }
        o->fd = TAKE_FD(copy);
        o->size = size;
        memcpy(o->data, data, size);
        list_append(&s->outputs, &o->link);
        (void)TAKE_PTR(o);
        s->output_bytes += size;
        update_io(s);
        return 0;
}

static void send_bytes(Session *s, const uint8_t *data, size_t size, int fd)
{
        int r;

        if (s->closing)
                return;
        r = list_is_empty(&s->outputs) ? try_send(s, data, size, fd) : -EAGAIN;
        if (r == -EAGAIN)
                r = queue(s, data, size, fd);
        if (r == 0)
                return;
        if (!wire_error_is_disconnect(r))
                (void)log_errno(LOG_INFO, r, "cannot answer uid %u pid %u, closing its session",
                        s->peer.identity.uid, s->peer.identity.pid);
        session_close(s);
}

void session_send(Session *s, const Pmbroker__V1__ServerPacket *packet, int pass_fd)
{
        uint8_t data[WIRE_SERVER_MAX];
        ssize_t n = wire_encode_server(packet, data);

        assert(n > 0); /* pages are made so that they fit */
        send_bytes(s, data, (size_t)n, pass_fd);
}

bool session_has_room(const Session *s)
{
        return s->output_bytes < LIMIT_UNREAD / 2;
}

/* ------------------------------------------------------------------------------------------------- calls */

/* Finer than the time of the loop's turn, in which most requests are answered. */
static uint64_t precise_now(void)
{
        struct timespec ts = {0};

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

static void keep_result(Session *s, const Call *call, const uint8_t *data, size_t size)
{
        SessionResult *r = malloc(sizeof(*r) + size);

        if (!r)
                return; /* a repetition will then be carried out again, which absolute requests allow */
        r->request_id = call->request_id;
        r->body_hash = call->body_hash;
        r->size = size;
        memcpy(r->data, data, size);
        list_append(&s->results, &r->link);
        if (s->n_results == LIMIT_RESULTS)
                free_result(list_first(&s->results, SessionResult, link));
        else
                s->n_results++;
}

/* A refusal for the moment is no result: the request may be repeated. */
static bool is_result(const Pmbroker__V1__ServerPacket *packet)
{
        if (packet->body_case != PMBROKER__V1__SERVER_PACKET__BODY_ERROR)
                return true;
        return packet->error->code != PMBROKER__V1__CODE__RETRY &&
               packet->error->code != PMBROKER__V1__CODE__RATE &&
               packet->error->code != PMBROKER__V1__CODE__BUSY;
}

void call_reply(Call *call, Pmbroker__V1__ServerPacket *packet, int pass_fd)
{
        Session *s = call->session;

        metrics_observe(&call->server->metrics.requests[call->kind], precise_now() - call->begun_usec);
        if (s) {
                uint8_t data[WIRE_SERVER_MAX];
                ssize_t n;

                packet->serial = call->serial;
                n = wire_encode_server(packet, data);
                assert(n > 0);
                if (call->request_id > 0 && is_result(packet))
                        keep_result(s, call, data, (size_t)n);
                list_unlink(&call->session_link);
                s->in_flight--;
                send_bytes(s, data, (size_t)n, pass_fd);
                update_io(s);
        }
        free(call);
}

void call_refuse(Call *call, const Refusal *refusal)
{
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Error error = PMBROKER__V1__ERROR__INIT;

        call->server->metrics.refusals[refusal->code]++;
        if (call->session)
                chronicle_refusal(call->session, refusal);
        error.code = (Pmbroker__V1__Code)refusal->code;
        error.errno_value = refusal->code == RESULT_FAILED && refusal->errno_value > 0
                                    ? refusal->errno_value
                                    : result_to_errno(refusal->code);
        error.asked = refusal->asked;
        error.limit = refusal->limit;
        error.used = refusal->used;
        error.subject = (char *)(uintptr_t)refusal->subject;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_ERROR;
        packet.error = &error;
        call_reply(call, &packet, -EBADF);
}

void call_fail(Call *call, int error)
{
        Refusal refusal = {.code = RESULT_FAILED, .errno_value = error < 0 ? -error : error};

        call_refuse(call, &refusal);
}

/* --------------------------------------------------------------------------------------------- receiving */

/* FNV-1a. A collision would only make a client's own mistake go unnoticed. */
static uint64_t hash_bytes(const uint8_t *data, size_t size)
{
        uint64_t h = UINT64_C(0xcbf29ce484222325);

        for (size_t i = 0; i < size; i++)
                h = (h ^ data[i]) * UINT64_C(0x100000001b3);
        return h;
}

/* What the request says besides its serial. */
static uint64_t hash_body(Pmbroker__V1__ClientPacket *packet)
{
        uint8_t data[WIRE_CLIENT_MAX];
        uint64_t serial = packet->serial;
        ssize_t n;

        packet->serial = 0;
        n = wire_encode_client(packet, data);
        packet->serial = serial;
        /* Decoding and encoding may lengthen what was not in its shortest form. */
        return n < 0 ? 0 : hash_bytes(data, (size_t)n);
}

/* True if the request was answered from what is kept. */
static bool answer_again(Session *s, Call *call)
{
        list_for_each (it, &s->calls) {
                const Call *other = list_entry(it, Call, session_link);

                if (other != call && other->request_id == call->request_id) {
                        Refusal refusal = {.code = other->body_hash == call->body_hash
                                                           ? RESULT_BUSY
                                                           : RESULT_REQUEST_CONFLICT};

                        call->request_id = 0;
                        call_refuse(call, &refusal);
                        return true;
                }
        }
        list_for_each (it, &s->results) {
                const SessionResult *r = list_entry(it, SessionResult, link);
                Pmbroker__V1__ServerPacket *packet;

                if (r->request_id != call->request_id)
                        continue;
                call->request_id = 0; /* kept already */
                if (r->body_hash != call->body_hash) {
                        call_refuse(call, &(Refusal){.code = RESULT_REQUEST_CONFLICT});
                        return true;
                }
                if (wire_decode_server(r->data, r->size, &packet) < 0) {
                        call_fail(call, -ENOMEM);
                        return true;
                }
                call_reply(call, packet, -EBADF);
                wire_free_server(packet);
                return true;
        }
        return false;
}

/* An error that ends the session, with a serial if the packet had one. */
static void refuse_and_close(Session *s, uint64_t serial, Result code)
{
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Error error = PMBROKER__V1__ERROR__INIT;

        error.code = (Pmbroker__V1__Code)code;
        error.errno_value = result_to_errno(code);
        packet.serial = serial > 0 ? serial : 1;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_ERROR;
        packet.error = &error;
        session_send(s, &packet, -EBADF);
        session_close(s);
}

static void handle_packet(Session *s, const uint8_t *data, size_t size)
{
        Pmbroker__V1__ClientPacket *packet;
        Call *call;
        int r;

        r = wire_decode_client(data, size, &packet);
        if (r == -ENOMEM) {
                session_close(s);
                return;
        }
        if (r < 0) {
                refuse_and_close(s, 0, RESULT_MALFORMED);
                return;
        }
        if (s->hello_done == (packet->body_case == PMBROKER__V1__CLIENT_PACKET__BODY_HELLO)) {
                refuse_and_close(s, packet->serial, RESULT_HELLO_REQUIRED);
                wire_free_client(packet);
                return;
        }
        call = calloc(1, sizeof(*call));
        if (!call) {
                session_close(s);
                wire_free_client(packet);
                return;
        }
        call->server = s->server;
        call->session = s;
        call->serial = packet->serial;
        call->request_id = packet->request_id;
        call->begun_usec = precise_now();
        call->kind = service_kind(packet);
        s->n_requests++;
        list_append(&s->calls, &call->session_link);
        list_init(&call->wait_link);
        s->in_flight++;
        if (call->request_id > 0)
                call->body_hash = hash_body(packet);
        if (call->request_id == 0 || !answer_again(s, call))
                service_dispatch(call, packet);
        wire_free_client(packet);
}

bool session_serve(Session *s)
{
        uint8_t data[WIRE_CLIENT_MAX];
        ssize_t n;

        if (s->closing || s->in_flight >= LIMIT_IN_FLIGHT)
                return false;
        n = wire_recv(s->fd, data, sizeof(data), NULL);
        if (n == -EAGAIN)
                return false;
        if (n == -EBADMSG)
                refuse_and_close(s, 0, RESULT_MALFORMED);
        else if (n <= 0)
                session_close(s);
        else
                handle_packet(s, data, (size_t)n);
        return !s->closing && s->in_flight < LIMIT_IN_FLIGHT;
}

void session_listen(Session *s)
{
        update_io(s);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        Session *s = userdata;

        (void)source;
        (void)fd;
        if (events & EPOLLOUT)
                flush(s);
        if ((events & (EPOLLHUP | EPOLLERR)) && s->in_flight >= LIMIT_IN_FLIGHT) {
                session_close(s); /* what it still asks, nobody reads the answer to */
                return 0;
        }
        if (!s->closing && s->in_flight < LIMIT_IN_FLIGHT && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
                schedule_session(s);
        update_io(s);
        return 0;
}

static int attach_owner(Session *s)
{
        Owner *owner;
        int r;

        r = broker_owner_attach(
                s->server->broker, &s->peer.identity, s->connection, s->peer.command, &owner);
        if (r >= 0 && owner_ends(owner)) { /* this is another process, which has its pid */
                owner_detach(s->server, owner, /* pools_stay= */ false);
                r = broker_owner_attach(
                        s->server->broker, &s->peer.identity, s->connection, s->peer.command, &owner);
        }
        if (r >= 0)
                s->owner = owner;
        return r;
}

int session_new(Server *server, int fd, Peer *peer, User *user, Session **ret)
{
        Session *s;
        int r;

        s = calloc(1, sizeof(*s));
        if (!s) {
                safe_close(fd);
                peer_deinit(peer);
                return -ENOMEM;
        }
        s->server = server;
        s->fd = fd;
        s->peer = *peer;
        s->peer.identity.groups = s->peer.groups;
        s->connection = ++server->next_connection;
        s->fd_poll_usec = FD_POLL_MIN_USEC;
        list_init(&s->calls);
        list_init(&s->outputs);
        list_init(&s->results);
        list_init(&s->server_link);
        list_init(&s->talking_link);
        s->since = server_now(server);
        s->role = policy_role(&s->peer.identity, &server->roles);

        r = sd_event_add_io(server->event, &s->io, fd, EPOLLIN, on_io, s);
        if (r >= 0)
                r = sd_event_add_time_relative(server->event, &s->hello_timer, CLOCK_MONOTONIC,
                        server->limits.hello_timeout_usec, USEC_PER_SEC / 10, on_hello_timeout, s);
        if (r >= 0)
                r = attach_owner(s);
        if (r < 0) {
                session_free(s);
                return r;
        }
        s->user = user;
        user->n_sessions++;
        list_append(&server->sessions, &s->server_link);
        server->n_sessions++;
        server->metrics.sessions_total++;
        *ret = s;
        return 0;
}
