/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets of a session, one at a time, and what is said when there is none. */

#include "ctl/connection-internal.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/socket.h"
#include "proto/result.h"

uint64_t connection_now(void)
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

int connection_failed(const CtlConnection *c, int r)
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

int connection_refused(const Pmbroker__V1__Error *error, const char *subject)
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

int connection_send(CtlConnection *c, Pmbroker__V1__ClientPacket *packet)
{
        uint8_t buf[WIRE_CLIENT_MAX];
        ssize_t n;
        int r;

        packet->serial = ++c->serial;
        n = wire_encode_client(packet, buf);
        assert(n > 0); /* none of our requests can be too long */
        r = wire_send(c->fd, buf, (size_t)n, -1);
        /* A daemon that hangs up may have said why before. */
        return r < 0 && !wire_error_is_disconnect(r) ? connection_failed(c, r) : EXIT_DONE;
}

int connection_wait(const CtlConnection *c, uint64_t deadline)
{
        for (;;) {
                struct pollfd pollfd = {.fd = c->fd, .events = POLLIN};
                uint64_t now = connection_now();
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

int connection_receive(const CtlConnection *c, Pmbroker__V1__ServerPacket **ret, int *ret_fd)
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
                return connection_failed(c, (int)n);
        r = wire_decode_server(buf, (size_t)n, ret);
        if (r == -EBADMSG)
                return ctl_nonsense(c, "a packet that cannot be decoded");
        return r < 0 ? connection_failed(c, r) : EXIT_DONE;
}
