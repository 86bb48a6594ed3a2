/* SPDX-License-Identifier: BSD-3-Clause */
/* The session with the daemon. */

#include "ctl/connection.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/remote.h"
#include "ctl/socket.h"
#include "proto/result.h"

#define ANSWER_USEC   (30 * USEC_PER_SEC)
#define PATIENCE_USEC (1 * USEC_PER_SEC)  /* before a note says what is waited for */
#define RETRY_USEC    (10 * USEC_PER_SEC) /* a provisioner is back within a second */
#define RETRY_PAUSE   200000              /* microseconds */

/* The daemon counts its events from 1 on: numbers of another kind make sure that an event of a later version, which
 * cannot be told from an answer otherwise, is never taken for one. */
#define SERIAL_FIRST (UINT64_C(1) << 62)

#define TICK_USEC 250000

struct CtlConnection {
        int fd;
        pid_t relay;      /* the child between us and ssh; 0: none */
        const char *path; /* where it is, for messages; borrowed from the arguments */
        bool quiet;
        uint64_t serial; /* the last one given out */
        uint64_t hello_serial;
        bool greeted; /* Hello was answered */
        bool admin;
        bool closing; /* the daemon has announced that it goes */
};

static uint64_t now_usec(void)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* -------------------------------------------------------------------------------------------- complaints */

static int hung_up(const CtlConnection *c)
{
        if (c->relay > 0 && !c->greeted) {
                message_error("no pmbrokerd was reached on %s", c->path);
                return EXIT_UNREACHABLE;
        }
        if (c->closing)
                message_error("pmbrokerd at %s is shutting down", c->path);
        else
                message_error("pmbrokerd at %s closed the connection without an answer", c->path);
        return EXIT_REFUSED;
}

static int failed(const CtlConnection *c, int r)
{
        if (r == -ENOMEM)
                return message_oom();
        if (wire_error_is_disconnect(r))
                return hung_up(c);
        if (r == -EAGAIN)
                return socket_no_answer(c->path);
        message_error("talking to pmbrokerd at %s failed: %s", c->path, strerror(-r));
        return EXIT_REFUSED;
}

int ctl_nonsense(const CtlConnection *c, const char *what)
{
        message_error("what answers at %s does not speak pmbroker's protocol: %s", c->path, what);
        return EXIT_REFUSED;
}

static int refused(const Pmbroker__V1__Error *error, const char *subject)
{
        Refusal refusal = {
                .code = (Result)error->code,
                .errno_value = error->errno_value,
                .asked = error->asked,
                .limit = error->limit,
                .used = error->used,
        };
        char sentence[REFUSAL_SENTENCE_MAX];

        (void)snprintf(refusal.subject, sizeof(refusal.subject), "%s", error->subject);
        message_error("%s%s%s", subject ? subject : "", subject ? ": " : "",
                refusal_to_sentence(&refusal, sentence));
        return refusal.code == RESULT_NOT_FOUND ? EXIT_NO_POOL : EXIT_REFUSED;
}

/* ----------------------------------------------------------------------------------------- send, receive */

static int send_packet(CtlConnection *c, Pmbroker__V1__ClientPacket *packet)
{
        uint8_t buf[WIRE_CLIENT_MAX];
        ssize_t n;
        int r;

        packet->serial = ++c->serial;
        n = wire_encode_client(packet, buf);
        assert(n > 0); /* none of our requests can be too long */
        r = wire_send(c->fd, buf, (size_t)n, -1);
        /* A daemon that hangs up may have said why before. */
        return r < 0 && !wire_error_is_disconnect(r) ? failed(c, r) : EXIT_DONE;
}

static int send_hello(CtlConnection *c)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__Hello hello = PMBROKER__V1__HELLO__INIT;
        char program[] = "pmbrokerctl";

        hello.major = WIRE_MAJOR;
        hello.minor = WIRE_MINOR;
        hello.program = program;
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_HELLO;
        packet.hello = &hello;
        c->hello_serial = c->serial + 1;
        return send_packet(c, &packet);
}

/* Until something is to be read or the deadline (0: none) has come; -EAGAIN then. */
static int wait_readable(const CtlConnection *c, uint64_t deadline)
{
        for (;;) {
                struct pollfd pollfd = {.fd = c->fd, .events = POLLIN};
                uint64_t now = now_usec();
                int timeout = -1, r;

                if (deadline > 0)
                        timeout = now < deadline ? (int)((deadline - now + 999) / 1000) : 0;
                r = poll(&pollfd, 1, timeout);
                if (r > 0)
                        return 0;
                if (r == 0)
                        return -EAGAIN;
                if (errno != EINTR)
                        return -errno;
        }
}

/* The next packet, whatever it is; with `ret_fd` it may come with a descriptor (-EBADF: it did not). */
static int receive_packet(const CtlConnection *c, Pmbroker__V1__ServerPacket **ret, int *ret_fd)
{
        uint8_t buf[WIRE_SERVER_MAX];
        ssize_t n;
        int r;

        n = wire_recv(c->fd, buf, sizeof(buf), ret_fd);
        /* A daemon that hangs up without having read our Hello resets the connection, but what it said before is still
         * there. */
        if (n == -ECONNRESET)
                n = wire_recv(c->fd, buf, sizeof(buf), ret_fd);
        if (n == 0)
                return hung_up(c);
        if (n == -EBADMSG)
                return ctl_nonsense(c, "a packet that is too long, or with a descriptor");
        if (n < 0)
                return failed(c, (int)n);
        r = wire_decode_server(buf, (size_t)n, ret);
        if (r == -EBADMSG)
                return ctl_nonsense(c, "a packet that cannot be decoded");
        return r < 0 ? failed(c, r) : EXIT_DONE;
}

static int take_hello(CtlConnection *c, const Pmbroker__V1__ServerPacket *packet)
{
        if (packet->body_case == PMBROKER__V1__SERVER_PACKET__BODY_ERROR)
                return refused(packet->error, NULL);
        if (packet->body_case != PMBROKER__V1__SERVER_PACKET__BODY_HELLO ||
                packet->hello->major != WIRE_MAJOR)
                return ctl_nonsense(c, "no answer to Hello");
        c->greeted = true;
        c->admin = packet->hello->admin;
        return EXIT_DONE;
}

/* The answer to `serial`, once Hello was answered, too. The daemon may answer in any order. */
static int receive_answer(
        CtlConnection *c, uint64_t serial, const CtlRequest *request, Pmbroker__V1__ServerPacket **ret)
{
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        uint64_t start = now_usec();
        bool noted = !request->waiting || c->quiet || request->tick;

        while (!answer || !c->greeted) {
                _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *packet = NULL;
                /* Of logging in over there ssh takes care, and the user. */
                bool patient = c->greeted ? request->changes : c->relay > 0;
                uint64_t deadline = patient ? 0 : start + ANSWER_USEC;
                _cleanup_close_ int fd = -EBADF;
                int r;

                if (request->tick)
                        r = wait_readable(c, now_usec() + TICK_USEC);
                else
                        r = wait_readable(c, noted ? deadline : start + PATIENCE_USEC);
                if (r == -EAGAIN && request->tick && (deadline == 0 || now_usec() < deadline)) {
                        request->tick(request->userdata);
                        continue;
                }
                if (r == -EAGAIN && !noted) {
                        message_note("%s", request->waiting);
                        noted = true;
                        continue;
                }
                if (r < 0)
                        return failed(c, r);
                r = receive_packet(c, &packet, request->ret_fd ? &fd : NULL);
                if (r != EXIT_DONE)
                        return r;
                assert(packet);
                if (fd >= 0 && packet->serial == serial)
                        *request->ret_fd = TAKE_FD(fd);
                if (packet->serial == c->hello_serial && !c->greeted) {
                        r = take_hello(c, packet);
                        if (r != EXIT_DONE)
                                return r;
                } else if (packet->serial == serial && !answer)
                        answer = TAKE_PTR(packet);
                else if (packet->body_case == PMBROKER__V1__SERVER_PACKET__BODY_ERROR)
                        return refused(packet->error, NULL); /* of the session as a whole: its last words */
                else if (packet->body_case == PMBROKER__V1__SERVER_PACKET__BODY_CLOSING)
                        c->closing = true;
                /* Other events are for the owners of pools. */
        }
        *ret = TAKE_PTR(answer);
        return EXIT_DONE;
}

/* ----------------------------------------------------------------------------------- connect, disconnect */

static int open_remote(CtlConnection *c, const Arguments *arguments)
{
        int r = remote_open(arguments->host, arguments->socket, &c->fd, &c->relay);

        if (r == 0)
                return EXIT_DONE;
        message_error("cannot run ssh: %s", strerror(-r));
        return EXIT_UNREACHABLE;
}

int ctl_connect(const Arguments *arguments, CtlConnection **ret)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        int r;

        c = calloc(1, sizeof(*c));
        if (!c)
                return message_oom();
        c->fd = -EBADF;
        c->path = arguments->host ? arguments->host : arguments_socket(arguments);
        c->quiet = arguments->quiet;
        c->serial = SERIAL_FIRST;
        r = arguments->host ? open_remote(c, arguments) : socket_open(arguments, &c->fd);
        if (r == EXIT_DONE)
                r = send_hello(c);
        if (r != EXIT_DONE)
                return r;
        *ret = TAKE_PTR(c);
        return EXIT_DONE;
}

CtlConnection *ctl_disconnect(CtlConnection *c)
{
        if (c) {
                safe_close(c->fd);
                if (c->relay > 0) /* it ends with the socket, and ssh with it */
                        (void)waitpid(c->relay, NULL, 0);
                free(c);
        }
        return NULL;
}

int ctl_fd(const CtlConnection *c)
{
        return c->fd;
}

int ctl_next_event(CtlConnection *c, int timeout_ms, Pmbroker__V1__ServerPacket **ret)
{
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *packet = NULL;
        int r = wait_readable(c, timeout_ms < 0 ? 0 : now_usec() + (uint64_t)timeout_ms * 1000);

        *ret = NULL;
        if (r == -EAGAIN)
                return EXIT_DONE;
        if (r < 0)
                return failed(c, r);
        r = receive_packet(c, &packet, NULL);
        if (r != EXIT_DONE)
                return r;
        assert(packet);
        if (packet->body_case == PMBROKER__V1__SERVER_PACKET__BODY_ERROR)
                return refused(packet->error, NULL);
        if (packet->body_case == PMBROKER__V1__SERVER_PACKET__BODY_CLOSING)
                c->closing = true;
        *ret = TAKE_PTR(packet);
        return EXIT_DONE;
}

bool ctl_is_admin(const CtlConnection *c)
{
        return c->admin;
}

/* ----------------------------------------------------------------------------------------------- request */

static uint64_t random_id(void)
{
        uint64_t id = 0;

        while (id == 0)
                if (getrandom(&id, sizeof(id), 0) != sizeof(id))
                        id = now_usec(); /* unique among the requests of this session is all that is needed */
        return id;
}

int ctl_request(CtlConnection *c, const CtlRequest *request, Pmbroker__V1__ServerPacket **ret)
{
        uint64_t start = now_usec();
        bool noted = c->quiet;

        for (;;) {
                _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
                int r;

                request->packet->request_id = request->changes ? random_id() : 0;
                r = send_packet(c, request->packet);
                if (r == EXIT_DONE)
                        r = receive_answer(c, request->packet->serial, request, &answer);
                if (r != EXIT_DONE)
                        return r;

                assert(answer);
                if (answer->body_case == request->expected) {
                        *ret = TAKE_PTR(answer);
                        return EXIT_DONE;
                }
                if (answer->body_case != PMBROKER__V1__SERVER_PACKET__BODY_ERROR)
                        return ctl_nonsense(c, "an answer to another question");
                if ((Result)answer->error->code != RESULT_RETRY || now_usec() - start >= RETRY_USEC)
                        return refused(answer->error, request->subject);
                if (!noted) {
                        message_note("the provisioner is away for a moment, trying again");
                        noted = true;
                }
                (void)usleep(RETRY_PAUSE);
        }
}
