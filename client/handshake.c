/* SPDX-License-Identifier: BSD-3-Clause */
/* Connect, Hello, ResumePools. */

#include "client/handshake.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/parse.h"
#include "client/clock.h"

enum {
        SERIAL_HELLO = 1,
        SERIAL_RESUME = 2, /* and up, one for each page */
};

/* More events than this before the first answer is no daemon of ours. */
#define EVENTS_MAX 4096

Refusal refusal_from_error(const Pmbroker__V1__Error *error)
{
        Refusal r = {
                .code = (Result)error->code,
                .errno_value = error->errno_value,
                .asked = error->asked,
                .limit = error->limit,
                .used = error->used,
        };

        (void)strncpy(r.subject, error->subject, sizeof(r.subject) - 1);
        return r;
}

int refusal_to_errno(const Refusal *refusal)
{
        int e = result_to_errno(refusal->code);

        if (refusal->code == RESULT_FAILED && refusal->errno_value > 0 && refusal->errno_value < 4096)
                e = refusal->errno_value;
        return e > 0 ? -e : -EPROTO;
}

int poll_until(int fd, short events, uint64_t deadline_usec)
{
        struct pollfd p = {.fd = fd, .events = events};

        for (;;) {
                uint64_t now = now_usec();
                struct timespec ts = usec_to_timespec(deadline_usec > now ? deadline_usec - now : 0);
                int n = ppoll(&p, 1, &ts, NULL);

                if (n > 0)
                        return 0;
                if (n == 0)
                        return -ETIMEDOUT;
                if (errno != EINTR)
                        return -errno;
        }
}

static int connect_to(const char *path, uint64_t deadline_usec)
{
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        _cleanup_close_ int fd = -EBADF;

        assert(strlen(path) < sizeof(sa.sun_path));
        (void)strcpy(sa.sun_path, path);
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        while (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
                /*
                 * Local sockets connect at once or, with a full backlog, not at all, and cannot be polled
                 * for it.
                 */
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
                if (now_usec() >= deadline_usec)
                        return -ETIMEDOUT;
                (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
        return TAKE_FD(fd);
}

static int send_packet(int fd, ClientPacket *p, uint64_t deadline_usec)
{
        uint8_t buf[WIRE_CLIENT_MAX];
        ssize_t size = wire_encode_client(p, buf);
        int r;

        if (size < 0)
                return (int)size;
        while ((r = wire_send(fd, buf, (size_t)size, -1)) == -EAGAIN) {
                r = poll_until(fd, POLLOUT, deadline_usec);
                if (r < 0)
                        return r;
        }
        return r == -EPIPE ? -ECONNRESET : r;
}

static int send_hello(int fd, uint64_t deadline_usec)
{
        Pmbroker__V1__Hello hello = PMBROKER__V1__HELLO__INIT;
        ClientPacket p = PMBROKER__V1__CLIENT_PACKET__INIT;
        char program[33] = "";

        (void)strncpy(program, program_invocation_short_name, sizeof(program) - 1);
        make_printable(program);
        hello.major = WIRE_MAJOR;
        hello.minor = WIRE_MINOR;
        hello.program = program;
        p.serial = SERIAL_HELLO;
        p.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_HELLO;
        p.hello = &hello;
        return send_packet(fd, &p, deadline_usec);
}

static int send_resume(int fd, uint64_t serial, uint64_t after, uint64_t deadline_usec)
{
        Pmbroker__V1__ResumePools resume = PMBROKER__V1__RESUME_POOLS__INIT;
        ClientPacket p = PMBROKER__V1__CLIENT_PACKET__INIT;

        resume.after = after;
        p.serial = serial;
        p.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_RESUME_POOLS;
        p.resume_pools = &resume;
        return send_packet(fd, &p, deadline_usec);
}

static int keep_event(Handshake *h, ServerPacket *p)
{
        ServerPacket **events;

        if (h->n_events >= EVENTS_MAX)
                return -EPROTO;
        events = reallocarray(h->events, h->n_events + 1, sizeof(*events));
        if (!events)
                return -ENOMEM;
        h->events = events;
        events[h->n_events++] = p;
        return 0;
}

/* Receive the answer to `serial`; an Error becomes its errno. Events that come before it are kept. */
static int recv_answer(Handshake *h, uint64_t serial, int body, uint64_t deadline_usec, ServerPacket **ret)
{
        uint8_t buf[WIRE_SERVER_MAX];
        ServerPacket *p;
        ssize_t n;
        int r;

        for (;;) {
                n = wire_recv(h->fd, buf, sizeof(buf), NULL);
                if (n == -EAGAIN) {
                        r = poll_until(h->fd, POLLIN, deadline_usec);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (n <= 0)
                        return n < 0 ? (int)n : -ECONNRESET;
                r = wire_decode_server(buf, (size_t)n, &p);
                if (r < 0)
                        return r;
                if (p->body_case >= PMBROKER__V1__SERVER_PACKET__BODY_RESIZED) {
                        r = keep_event(h, p);
                        if (r < 0) {
                                wire_free_server(p);
                                return r;
                        }
                } else if (p->body_case == PMBROKER__V1__SERVER_PACKET__BODY__NOT_SET) {
                        wire_free_server(p); /* an event newer than we are */
                } else if (p->body_case == PMBROKER__V1__SERVER_PACKET__BODY_ERROR) {
                        h->refusal = refusal_from_error(p->error);
                        wire_free_server(p);
                        return refusal_to_errno(&h->refusal);
                } else if (p->serial != serial || (int)p->body_case != body) {
                        wire_free_server(p);
                        return -EPROTO;
                } else {
                        *ret = p;
                        return 0;
                }
        }
}

static int recv_hello(Handshake *h, uint64_t deadline_usec)
{
        ServerPacket *p = NULL;
        int r;

        r = recv_answer(h, SERIAL_HELLO, PMBROKER__V1__SERVER_PACKET__BODY_HELLO, deadline_usec, &p);
        if (r < 0)
                return r;
        assert(p);
        if (p->hello->major != WIRE_MAJOR) {
                h->refusal = (Refusal){.code = RESULT_VERSION,
                        .asked = WIRE_MAJOR,
                        .limit = p->hello->major,
                        .used = p->hello->major};
                r = -EPROTONOSUPPORT;
        }
        wire_free_server(p);
        return r;
}

/* All pages; the first was asked for already. */
static int recv_pools(Handshake *h, uint64_t deadline_usec)
{
        uint64_t next;

        for (uint64_t serial = SERIAL_RESUME;; serial++) {
                ResumedPool *pools;
                ServerPacket *p = NULL;
                int r;

                r = recv_answer(h, serial, PMBROKER__V1__SERVER_PACKET__BODY_POOLS, deadline_usec, &p);
                if (r < 0)
                        return r;
                assert(p);
                pools = reallocarray(h->pools, h->n_pools + p->pools->n_rows + 1, sizeof(*pools));
                if (!pools) {
                        wire_free_server(p);
                        return -ENOMEM;
                }
                h->pools = pools;
                for (size_t i = 0; i < p->pools->n_rows; i++) {
                        const Pmbroker__V1__PoolRow *row = p->pools->rows[i];

                        pools[h->n_pools++] = (ResumedPool){
                                .id = row->pool,
                                .size = row->size,
                                .length = row->length,
                                .releasing = row->state == PMBROKER__V1__POOL_STATE__STATE_RELEASING,
                        };
                }
                next = p->pools->next;
                wire_free_server(p);
                if (next == 0)
                        return 0;
                r = send_resume(h->fd, serial + 1, next, deadline_usec);
                if (r < 0)
                        return r;
        }
}

int handshake_run(const char *path, bool resume, uint64_t deadline_usec, Handshake *ret)
{
        Handshake h = {.fd = -EBADF};
        int r;

        h.fd = r = connect_to(path, deadline_usec);
        if (r >= 0)
                r = send_hello(h.fd, deadline_usec);
        if (r >= 0 && resume)
                r = send_resume(h.fd, SERIAL_RESUME, 0, deadline_usec);
        /* When sending fails, what the daemon said before it hung up is the better answer. */
        if (r >= 0 || (r == -ECONNRESET && h.fd >= 0)) {
                r = recv_hello(&h, deadline_usec);
                if (r >= 0 && resume)
                        r = recv_pools(&h, deadline_usec);
        }
        if (r < 0) {
                Refusal refusal = h.refusal;

                handshake_deinit(&h);
                ret->refusal = refusal;
                return r;
        }
        *ret = h;
        return 0;
}

void handshake_deinit(Handshake *h)
{
        for (size_t i = 0; i < h->n_events; i++)
                wire_free_server(h->events[i]);
        free(h->events);
        free(h->pools);
        h->fd = safe_close(h->fd);
        *h = (Handshake){.fd = -EBADF};
}
