/* SPDX-License-Identifier: BSD-3-Clause */
/* The session with the daemon. */

#include "ctl/connection-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
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

/* ------------------------------------------------------------------------------------------------ hello */

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
        return connection_send(c, &packet);
}

static int take_hello(CtlConnection *c, const Pmbroker__V1__ServerPacket *packet)
{
        if (packet->body_case == PMBROKER__V1__SERVER_PACKET__BODY_ERROR)
                return connection_refused(packet->error, NULL);
        if (packet->body_case != PMBROKER__V1__SERVER_PACKET__BODY_HELLO ||
                packet->hello->major != WIRE_MAJOR)
                return ctl_nonsense(c, "no answer to Hello");
        c->greeted = true;
        c->admin = packet->hello->admin;
        return EXIT_DONE;
}

/* ----------------------------------------------------------------------------------------------- answer */

/* The answer to `serial`, once Hello was answered, too. The daemon may answer in any order. */
static int receive_answer(
        CtlConnection *c, uint64_t serial, const CtlRequest *request, Pmbroker__V1__ServerPacket **ret)
{
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        uint64_t start = connection_now();
        bool noted = !request->waiting || c->quiet || request->tick;

        while (!answer || !c->greeted) {
                _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *packet = NULL;
                /* Of logging in over there ssh takes care, and the user. */
                bool patient = c->greeted ? request->changes : c->relay > 0;
                uint64_t deadline = patient ? 0 : start + ANSWER_USEC;
                _cleanup_close_ int fd = -EBADF;
                int r;

                if (request->tick)
                        r = connection_wait(c, connection_now() + TICK_USEC);
                else
                        r = connection_wait(c, noted ? deadline : start + PATIENCE_USEC);
                if (r == -EAGAIN && request->tick && (deadline == 0 || connection_now() < deadline)) {
                        request->tick(request->userdata);
                        continue;
                }
                if (r == -EAGAIN && !noted) {
                        message_note("%s", request->waiting);
                        noted = true;
                        continue;
                }
                if (r < 0)
                        return connection_failed(c, r);
                r = connection_receive(c, &packet, request->ret_fd ? &fd : NULL);
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
                        return connection_refused(
                                packet->error, NULL); /* of the session as a whole: its last words */
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
        int r = connection_wait(c, timeout_ms < 0 ? 0 : connection_now() + (uint64_t)timeout_ms * 1000);

        *ret = NULL;
        if (r == -EAGAIN)
                return EXIT_DONE;
        if (r < 0)
                return connection_failed(c, r);
        r = connection_receive(c, &packet, NULL);
        if (r != EXIT_DONE)
                return r;
        assert(packet);
        if (packet->body_case == PMBROKER__V1__SERVER_PACKET__BODY_ERROR)
                return connection_refused(packet->error, NULL);
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
                        id = connection_now(); /* unique among the requests of this session is all that is needed */
        return id;
}

int ctl_request(CtlConnection *c, const CtlRequest *request, Pmbroker__V1__ServerPacket **ret)
{
        uint64_t start = connection_now();
        bool noted = c->quiet;

        for (;;) {
                _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
                int r;

                request->packet->request_id = request->changes ? random_id() : 0;
                r = connection_send(c, request->packet);
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
                if ((Result)answer->error->code != RESULT_RETRY || connection_now() - start >= RETRY_USEC)
                        return connection_refused(answer->error, request->subject);
                if (!noted) {
                        message_note("the provisioner is away for a moment, trying again");
                        noted = true;
                }
                (void)usleep(RETRY_PAUSE);
        }
}
