/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmbrokerctl create: a pool that lives as long as this process, for scripts. With a command it is a parent that keeps
 * the pool and hands on what the command ends with. It reads what the daemon tells, and when the daemon is started again
 * it introduces itself anew, as every owner of pools has to.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/change.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/pools.h"
#include "ctl/verb.h"

#define RECONNECT_TRIES 100 /* of RECONNECT_PAUSE: the daemon waits for its clients for 10 s */
#define RECONNECT_PAUSE 100000

/* As a shell says it. */
#define EXIT_NO_COMMAND  127
#define EXIT_NOT_RUNABLE 126
#define EXIT_BY_SIGNAL   128

typedef struct Holder {
        const Arguments *arguments;
        CtlConnection *connection;
        Pmbroker__V1__ServerPacket *grant;
        int fd;
        int signal_fd;
        pid_t child; /* 0: none */
        bool revoked;
} Holder;

static void holder_done(Holder *h)
{
        h->connection = ctl_disconnect(h->connection);
        wire_free_server(h->grant);
        h->fd = safe_close(h->fd);
        h->signal_fd = safe_close(h->signal_fd);
}

/* ------------------------------------------------------------------------------------------------ create */

static int parse_units(const char *option, const char *text, uint64_t *ret)
{
        Change change;
        bool rounded;

        if (change_parse(text, &change) == 0 && change.sign == 0 &&
                change_apply(&change, 0, ret, &rounded) == 0)
                return EXIT_DONE;
        message_error("'%s' is no size for %s: 64M, 1.5G are sizes", text, option);
        return EXIT_USAGE;
}

static int fill_request(const Arguments *arguments, Pmbroker__V1__CreatePool *body)
{
        int r;

        if (!arguments->size) {
                message_error("create needs a --size");
                return EXIT_USAGE;
        }
        if (arguments->name && !name_is_valid(arguments->name)) {
                message_error(
                        "'%s' is no name: 1 to 32 of a-z, 0-9, dot, underscore, hyphen", arguments->name);
                return EXIT_USAGE;
        }
        r = parse_units("--size", arguments->size, &body->size);
        if (r == EXIT_DONE && arguments->max)
                r = parse_units("--max", arguments->max, &body->max);
        body->store = (char *)(uintptr_t)(arguments->store ? arguments->store : "");
        body->name = (char *)(uintptr_t)(arguments->name ? arguments->name : "");
        return r;
}

static int create(Holder *h)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__CreatePool body = PMBROKER__V1__CREATE_POOL__INIT;
        CtlRequest request = {
                .packet = &packet,
                .expected = PMBROKER__V1__SERVER_PACKET__BODY_GRANT,
                .changes = true,
                .waiting = "the pool is being made",
                .ret_fd = &h->fd,
        };
        int r;

        r = fill_request(h->arguments, &body);
        if (r == EXIT_DONE)
                r = ctl_connect(h->arguments, &h->connection);
        if (r != EXIT_DONE)
                return r;
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_CREATE_POOL;
        packet.create_pool = &body;
        r = ctl_request(h->connection, &request, &h->grant);
        if (r == EXIT_DONE && h->fd < 0)
                return ctl_nonsense(h->connection, "a pool without its descriptor");
        return r;
}

/* ---------------------------------------------------------------------------------------------- command */

static void set_number(const char *name, uint64_t number)
{
        char text[24];

        (void)snprintf(text, sizeof(text), "%" PRIu64, number);
        (void)setenv(name, text, /* overwrite= */ 1);
}

static _Noreturn void exec_command(const Holder *h)
{
        const Pmbroker__V1__PoolGrant *grant = h->grant->grant;
        char *const *argv = (char *const *)(uintptr_t)h->arguments->operands;
        char id[17];
        sigset_t none;

        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)snprintf(id, sizeof(id), "%016" PRIx64, grant->pool);
        (void)setenv("PMBROKER_POOL", id, /* overwrite= */ 1);
        (void)setenv("PMBROKER_SOCKET", arguments_socket(h->arguments), /* overwrite= */ 1);
        set_number("PMBROKER_FD", (uint64_t)h->fd);
        set_number("PMBROKER_SIZE", grant->size);
        set_number("PMBROKER_LENGTH", grant->length);
        if (fcntl(h->fd, F_SETFD, 0) == 0)
                (void)execvp(argv[0], argv);
        message_error("cannot run %s: %s", argv[0], strerror(errno));
        _exit(errno == ENOENT ? EXIT_NO_COMMAND : EXIT_NOT_RUNABLE);
}

static int run_command(Holder *h)
{
        (void)fflush(NULL);
        h->child = fork();
        if (h->child < 0) {
                message_error("cannot start a process: %s", strerror(errno));
                return EXIT_REFUSED;
        }
        if (h->child == 0)
                exec_command(h);
        h->fd = safe_close(h->fd);
        return EXIT_DONE;
}

static void announce(const Holder *h)
{
        const Pmbroker__V1__PoolGrant *grant = h->grant->grant;

        if (h->arguments->table.json) {
                Json json = {.out = stdout, .one_line = true};
                char id[17];

                (void)snprintf(id, sizeof(id), "%016" PRIx64, grant->pool);
                json_open(&json, NULL, '{');
                json_text(&json, "id", id);
                json_text(&json, "store", grant->store);
                json_text(&json, "tenant", grant->tenant);
                json_number(&json, "limit", grant->size);
                json_number(&json, "max", grant->max);
                json_close(&json, '}');
        } else
                (void)printf("%016" PRIx64 "\n", grant->pool);
        (void)fflush(stdout);
}

/* ------------------------------------------------------------------------------------------------- hold */

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

static int hold(Holder *h)
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

static int block_signals(Holder *h)
{
        sigset_t mask;

        (void)sigemptyset(&mask);
        (void)sigaddset(&mask, SIGINT);
        (void)sigaddset(&mask, SIGTERM);
        (void)sigaddset(&mask, SIGHUP);
        (void)sigaddset(&mask, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) == 0)
                h->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC);
        if (h->signal_fd >= 0)
                return EXIT_DONE;
        message_error("cannot wait for signals: %s", strerror(errno));
        return EXIT_REFUSED;
}

int verb_create(const Arguments *arguments)
{
        _cleanup_(holder_done) Holder h = {.arguments = arguments, .fd = -EBADF, .signal_fd = -EBADF};
        int r;

        r = create(&h);
        if (r == EXIT_DONE)
                r = block_signals(&h);
        if (r == EXIT_DONE && arguments->n_operands > 0)
                r = run_command(&h);
        else if (r == EXIT_DONE)
                announce(&h);
        return r == EXIT_DONE ? hold(&h) : r;
}
