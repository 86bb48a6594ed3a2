/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmbrokerctl create: a pool that lives as long as this process, for scripts. With a command it is a parent that keeps
 * the pool and hands on what the command ends with (holder.c).
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/change.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/holder.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/signals.h"
#include "ctl/verb.h"

/* As a shell says it. */
#define EXIT_NO_COMMAND  127
#define EXIT_NOT_RUNABLE 126

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

int verb_create(const Arguments *arguments)
{
        _cleanup_(holder_done) Holder h = {.arguments = arguments, .fd = -EBADF, .signal_fd = -EBADF};
        int r;

        r = create(&h);
        if (r == EXIT_DONE)
                r = signals_take(holder_signals, &h.signal_fd);
        if (r == EXIT_DONE && arguments->n_operands > 0)
                r = run_command(&h);
        else if (r == EXIT_DONE)
                announce(&h);
        return r == EXIT_DONE ? holder_run(&h) : r;
}
