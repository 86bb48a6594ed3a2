/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/holder.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/pools.h"

#define RECONNECT_TRIES 100 /* of RECONNECT_PAUSE: the daemon waits for its clients for 10 s */
#define RECONNECT_PAUSE 100000

#define EXIT_BY_SIGNAL 128 /* as a shell says it */

const int holder_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, 0};

void holder_done(Holder *h)
{
        h->connection = ctl_disconnect(h->connection);
        wire_free_server(h->grant);
        h->fd = safe_close(h->fd);
        h->signal_fd = safe_close(h->signal_fd);
}

/* Whether the pool is still ours. */
static bool resume(Holder *h)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__ResumePools body = PMBROKER__V1__RESUME_POOLS__INIT;
        CtlRequest request = {.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_POOLS};
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_RESUME_POOLS;
        packet.resume_pools = &body;
        if (ctl_request(h->connection, &request, &answer) != EXIT_DONE)
                return false;
        for (size_t i = 0; i < answer->pools->n_rows; i++)
                if (answer->pools->rows[i]->pool == h->grant->grant->pool)
                        return true;
        return false;
}

static bool reconnect(Holder *h)
{
        bool done = false;

        h->connection = ctl_disconnect(h->connection);
        message_set_muted(true);
        for (unsigned i = 0; i < RECONNECT_TRIES && !done; i++) {
                if (ctl_connect(h->arguments, &h->connection) == EXIT_DONE && resume(h))
                        done = true;
                else {
                        h->connection = ctl_disconnect(h->connection);
                        (void)usleep(RECONNECT_PAUSE);
                }
        }
        message_set_muted(false);
        return done;
}

static void take_event(Holder *h)
{
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *event = NULL;
        char subject[POOLS_SUBJECT_MAX];
        int r;

        message_set_muted(true);
        r = ctl_next_event(h->connection, 0, &event);
        message_set_muted(false);
        (void)pools_subject(h->grant->grant->pool, subject);
        if (r != EXIT_DONE) {
                if (!reconnect(h)) {
                        message_error("%s: the daemon has gone, and the pool with it", subject);
                        h->revoked = true;
                }
        } else if (event && event->body_case == PMBROKER__V1__SERVER_PACKET__BODY_REVOKED) {
                message_error("%s: revoked", subject);
                h->revoked = true;
        } else if (event && event->body_case == PMBROKER__V1__SERVER_PACKET__BODY_REVOKING &&
                   !h->arguments->quiet)
                message_note("%s: will be revoked in %" PRIu64 " s", subject,
                        event->revoking->grace_usec / USEC_PER_SEC);
}

/* True when it is over, with what to exit with. */
static bool take_signal(Holder *h, int *ret)
{
        struct signalfd_siginfo si;
        int status;

        if (read(h->signal_fd, &si, sizeof(si)) != sizeof(si))
                return false;
        if (si.ssi_signo != SIGCHLD) {
                *ret = EXIT_DONE;
                /* What the terminal sends it has got itself. */
                if (h->child > 0 && si.ssi_code <= 0)
                        (void)kill(h->child, (int)si.ssi_signo);
                return h->child == 0;
        }
        if (h->child == 0 || waitpid(h->child, &status, WNOHANG) != h->child)
                return false;
        *ret = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_BY_SIGNAL + WTERMSIG(status);
        return true;
}

int holder_run(Holder *h)
{
        int status = EXIT_REFUSED;

        for (;;) {
                struct pollfd fds[] = {
                        {.fd = h->signal_fd, .events = POLLIN},
                        {.fd = h->connection ? ctl_fd(h->connection) : -1, .events = POLLIN},
                };

                if (poll(fds, 2, -1) < 0 && errno != EINTR)
                        return EXIT_REFUSED;
                if (fds[0].revents != 0 && take_signal(h, &status))
                        return status;
                if (fds[1].revents != 0)
                        take_event(h);
                if (h->revoked && h->child == 0)
                        return EXIT_REFUSED;
        }
}
