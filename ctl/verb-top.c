/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmbrokerctl top. On a terminal the alternate screen is written over from its upper left corner, each row erased to its
 * end, so that nothing flickers; the terminal is as it was when we go, by a key or by a signal.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/overview.h"
#include "ctl/signals.h"
#include "ctl/top-screen.h"
#include "ctl/verb.h"

#define INTERVAL_MIN_USEC (USEC_PER_SEC / 10)
#define INTERVAL_MAX_USEC (3600 * USEC_PER_SEC)

#define ENTER_SCREEN "\033[?1049h\033[?25l\033[2J"
#define LEAVE_SCREEN "\033[?25h\033[?1049l"
#define HOME         "\033[H"
#define ERASE_RIGHT  "\033[K"
#define ERASE_BELOW  "\033[J"

typedef struct Top {
        const Arguments *arguments;
        CtlConnection *connection;
        Users users;
        TopView view;
        uint64_t interval_usec;
        uint64_t count; /* screens to show */
        bool terminal;
        bool raw; /* the terminal was changed */
        struct termios before;
        int signal_fd;
        uint64_t refusals, refusals_usec; /* of the screen before */
} Top;

static uint64_t now_usec(void)
{
        struct timespec ts = {0};

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* --------------------------------------------------------------------------------------------- terminal */

static void open_terminal(Top *t)
{
        struct termios raw;

        if (tcgetattr(STDIN_FILENO, &t->before) == 0) {
                raw = t->before;
                raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
                raw.c_cc[VMIN] = 0;
                raw.c_cc[VTIME] = 0;
                t->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
        }
        (void)fputs(ENTER_SCREEN, stdout);
        (void)fflush(stdout);
}

static void top_done(Top *t)
{
        if (t->terminal) {
                (void)fputs(LEAVE_SCREEN, stdout);
                (void)fflush(stdout);
        }
        if (t->raw)
                (void)tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
        t->connection = ctl_disconnect(t->connection);
        users_done(&t->users);
        t->signal_fd = safe_close(t->signal_fd);
}

/* ----------------------------------------------------------------------------------------------- screen */

static void put_screen(const char *text)
{
        (void)fputs(HOME, stdout);
        while (*text) {
                size_t n = strcspn(text, "\n");
                bool last = text[n] == '\0' || text[n + 1] == '\0';

                (void)fprintf(stdout, "%.*s" ERASE_RIGHT "%s", (int)n, text, last ? "" : "\n");
                text += n + (text[n] == '\n');
        }
        (void)fputs(ERASE_BELOW, stdout);
}

static void measure_refusals(Top *t, const Overview *o)
{
        uint64_t now = now_usec();

        t->view.refusals_per_sec = 0;
        if (t->refusals_usec > 0 && now > t->refusals_usec && o->status->refusals >= t->refusals)
                t->view.refusals_per_sec = (double)(o->status->refusals - t->refusals) * USEC_PER_SEC /
                                           (double)(now - t->refusals_usec);
        t->refusals = o->status->refusals;
        t->refusals_usec = now;
}

/* On a terminal a daemon that is away is waited for: it is started again, and so are we. */
static int fetch(Top *t, Overview *ret)
{
        int r = EXIT_DONE;

        message_set_muted(t->terminal);
        if (!t->connection)
                r = ctl_connect(t->arguments, &t->connection);
        if (r == EXIT_DONE)
                r = overview_fetch(t->connection, OVERVIEW_POOLS, ret);
        message_set_muted(false);
        if (r != EXIT_DONE)
                t->connection = ctl_disconnect(t->connection);
        return r;
}

static int show(Top *t)
{
        _cleanup_(overview_done) Overview overview = {0};
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *f;
        int r;

        r = fetch(t, &overview);
        if (r != EXIT_DONE && t->terminal) {
                put_screen("pmbrokerd does not answer, trying again\n");
                return fflush(stdout) == 0 ? EXIT_DONE : EXIT_REFUSED;
        }
        if (r != EXIT_DONE)
                return r;
        measure_refusals(t, &overview);
        f = open_memstream(&text, &size);
        if (!f)
                return message_oom();
        t->view.size = terminal_size();
        r = top_write(&overview, &t->view, &t->users, f);
        if (fclose(f) != 0 && r == EXIT_DONE)
                return message_oom();
        if (r != EXIT_DONE)
                return r;
        if (t->terminal)
                put_screen(text);
        else
                (void)fputs(text, stdout);
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_REFUSED;
}

/* ------------------------------------------------------------------------------------------------- keys */

typedef enum Wish {
        WISH_NOTHING,
        WISH_SHOW,
        WISH_END,
} Wish;

static Wish take_key(Top *t)
{
        char key = 0;

        if (read(STDIN_FILENO, &key, 1) != 1)
                return WISH_END; /* nobody is there any more */
        switch (key) {
        case 'q':
        case 4: /* Ctrl-D */
                return WISH_END;
        case 's':
                t->view.order = (TopOrder)((t->view.order + 1) % _TOP_ORDER_MAX);
                return WISH_SHOW;
        case 'r':
                t->view.reversed = !t->view.reversed;
                return WISH_SHOW;
        case ' ':
                return WISH_SHOW;
        }
        return WISH_NOTHING;
}

static Wish take_signal(const Top *t)
{
        struct signalfd_siginfo si;

        if (read(t->signal_fd, &si, sizeof(si)) != sizeof(si))
                return WISH_NOTHING;
        return si.ssi_signo == SIGWINCH ? WISH_SHOW : WISH_END;
}

/* Until the next screen is due or wanted; false: no more. */
static bool pause_between(Top *t)
{
        uint64_t until = now_usec() + t->interval_usec;

        for (;;) {
                struct pollfd fds[] = {
                        {.fd = t->signal_fd, .events = POLLIN},
                        {.fd = t->raw ? STDIN_FILENO : -1, .events = POLLIN},
                };
                uint64_t now = now_usec();
                Wish wish = WISH_NOTHING;

                if (now >= until)
                        return true;
                if (poll(fds, 2, (int)((until - now + 999) / 1000)) < 0 && errno != EINTR)
                        return false;
                if (fds[0].revents != 0)
                        wish = take_signal(t);
                else if (fds[1].revents != 0)
                        wish = take_key(t);
                if (wish != WISH_NOTHING)
                        return wish == WISH_SHOW;
        }
}

/* ------------------------------------------------------------------------------------------------- verb */

static int parse_options(const Arguments *arguments, Top *t)
{
        if (arguments->interval &&
                (parse_usec(arguments->interval, &t->interval_usec) < 0 ||
                        t->interval_usec < INTERVAL_MIN_USEC || t->interval_usec > INTERVAL_MAX_USEC)) {
                message_error("--interval takes 100ms to 1h");
                return EXIT_USAGE;
        }
        if (arguments->count && (parse_u64(arguments->count, &t->count) < 0 || t->count == 0)) {
                message_error("--count takes a number from 1 on");
                return EXIT_USAGE;
        }
        if (arguments->sort && top_order_from_string(arguments->sort, &t->view.order) < 0) {
                message_error("--sort takes limit, used, age, tenant, store, pid or id, not '%s'",
                        arguments->sort);
                return EXIT_USAGE;
        }
        if (arguments->table.json || arguments->table.raw) {
                message_error("top is for people: see list, stores and tenants for --json and --raw");
                return EXIT_USAGE;
        }
        return EXIT_DONE;
}

int verb_top(const Arguments *arguments)
{
        _cleanup_(top_done) Top t = {
                .arguments = arguments,
                .signal_fd = -EBADF,
                .interval_usec = 2 * USEC_PER_SEC,
                .users = {.no_names = arguments->host},
        };
        static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, 0};
        _cleanup_(overview_done) Overview first = {0};
        int r;

        t.count = terminal_is_stdout() ? UINT64_MAX : 1;
        r = parse_options(arguments, &t);
        if (r == EXIT_DONE) /* whatever is wrong at the start is said */
                r = ctl_connect(arguments, &t.connection);
        if (r == EXIT_DONE)
                r = overview_fetch(t.connection, 0, &first);
        if (r == EXIT_DONE)
                r = signals_take(signals, &t.signal_fd);
        if (r != EXIT_DONE)
                return r;
        t.view.colour = terminal_has_colour();
        t.view.all = !terminal_is_stdout();
        if (terminal_is_stdout() && t.count != 1) {
                t.terminal = true;
                open_terminal(&t);
        }
        do
                r = show(&t);
        while (r == EXIT_DONE && --t.count > 0 && pause_between(&t));
        return r;
}
