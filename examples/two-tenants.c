/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two tenants side by side. The quiet one fills a pool and checks every byte of it again and again. Meanwhile the
 * greedy one takes whatever it can get: first all of one pool, then pools until none is granted any more. It is
 * refused, in words that name the limit, and the quiet one does not notice: its bytes stay as they are, and what was
 * promised to it is still there for it to take.
 *
 *     two-tenants [QUIET-USER [GREEDY-USER]]
 *
 * A tenant is known by the user that its process runs as. Started by root, the processes become the users "bin"
 * and "daemon", or those that are named, and it is pmbrokerd.conf that makes them two tenants. Without privileges
 * both are the same tenant; then the quiet one can expect that its memory is left alone, but not that anything is
 * left to take.
 *
 * Ends with 0 when everything was as told here, with 1 when not.
 */

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pmbroker.h>

#define MIB (UINT64_C(1) << 20)

#define QUIET_SIZE  (16 * MIB)
#define GREEDY_SIZE (32 * MIB)
#define POOLS_MAX   4096 /* more than any sensible quota grants */
#define BLOCK       65536

/* ----------------------------------------------------------------------------------------------- what both need */

/* Who speaks: each process is one of the three. */
static const char *role = "parent";

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
        va_list ap;

        printf("%-7s ", role);
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        putchar('\n');
        fflush(stdout);
}

static _Noreturn void fail(const char *what, const char *why)
{
        fprintf(stderr, "%s: %s%s%s\n", role, what, why ? ": " : "", why ? why : "");
        exit(EXIT_FAILURE);
}

/* The parent directs: it has a line to each child, and a message on it is one word. */
static void tell(int line, const char *word)
{
        if (send(line, word, strlen(word) + 1, MSG_NOSIGNAL) < 0)
                fail("cannot tell the other process", strerror(errno));
}

static void hear(int line, char *ret_word, size_t size)
{
        if (recv(line, ret_word, size, 0) <= 0)
                fail("the other process has gone", NULL);
}

/* Whether something has been said: for somebody who has other things to do than to listen. */
static bool has_news(int line)
{
        char word[64];

        return recv(line, word, sizeof(word), MSG_DONTWAIT) >= 0;
}

/* From here on this process is somebody else, or who it was if it has no privilege to change that. */
static void become(const char *user)
{
        const struct passwd *pw;

        if (geteuid() != 0)
                return;
        pw = getpwnam(user);
        if (!pw)
                fail("there is no such user", user);
        if (setgroups(0, NULL) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
                fail("cannot become another user", strerror(errno));
}

static struct pmb_client *connect_to_daemon(void)
{
        struct pmb_client *client;
        int r = pmb_client_connect(NULL, 0, &client);

        if (r < 0)
                fail("cannot connect to pmbrokerd", strerror(-r));
        return client;
}

static const char *tenant_of(struct pmb_pool *pool)
{
        struct pmb_pool_info info;

        if (pmb_pool_info(pool, &info) < 0)
                fail("its pool is dead", NULL);
        return info.tenant;
}

/* --------------------------------------------------------------------------------------------------- the quiet one */

/* Every word of every block is different, so that nothing can be taken for anything else. */
static uint64_t word_at(uint64_t block, uint64_t i)
{
        return (block << 32 | i) * UINT64_C(0x9e3779b97f4a7c15);
}

static void check(uint64_t *const *blocks, uint64_t n)
{
        for (uint64_t b = 0; b < n; b++)
                for (uint64_t i = 0; i < BLOCK / sizeof(uint64_t); i++)
                        if (blocks[b][i] != word_at(b, i))
                                fail("its memory has changed", NULL);
}

static _Noreturn void be_quiet(int line, const char *user)
{
        static uint64_t *blocks[QUIET_SIZE / BLOCK];
        struct pmb_client *client;
        struct pmb_pool *pool;
        uint64_t n = 0, rounds = 0;
        char why[256];
        int r;

        role = "quiet";
        become(user);
        client = connect_to_daemon();
        r = pmb_pool_create(client, &(struct pmb_pool_options){.size = QUIET_SIZE, .name = "quiet"}, &pool);
        if (r < 0) {
                (void)pmb_client_explain(client, why, sizeof(why));
                fail("cannot create its pool", why);
        }
        for (; n < QUIET_SIZE / BLOCK && (blocks[n] = pmb_malloc(pool, BLOCK)); n++)
                for (uint64_t i = 0; i < BLOCK / sizeof(uint64_t); i++)
                        blocks[n][i] = word_at(n, i);
        say("is tenant \"%s\", has a pool of %llu MiB and has filled %llu KiB of it", tenant_of(pool),
                (unsigned long long)(QUIET_SIZE / MIB), (unsigned long long)(n * BLOCK / 1024));
        if (n < QUIET_SIZE / BLOCK * 9 / 10)
                fail("cannot use nine tenths of its own pool", NULL);
        tell(line, tenant_of(pool));

        do {
                check(blocks, n);
                rounds++;
        } while (!has_news(line));
        check(blocks, n); /* once more, now that the greedy one has all that it could get */
        say("has checked every byte %llu times: all is as it was written", (unsigned long long)rounds + 1);

        r = pmb_pool_resize(pool, 2 * QUIET_SIZE);
        if (r < 0) {
                (void)pmb_pool_explain(pool, why, sizeof(why));
                say("cannot grow its pool: %s", why);
        } else
                say("has grown its pool to %llu MiB", (unsigned long long)(2 * QUIET_SIZE / MIB));
        tell(line, r < 0 ? "stuck" : "grown");

        pmb_pool_close(pool);
        pmb_client_unref(client);
        exit(EXIT_SUCCESS);
}

/* -------------------------------------------------------------------------------------------------- the greedy one */

/* Until malloc() says no. Not an error: this is how a pool that is full is told, here and everywhere. */
static uint64_t fill_up(struct pmb_pool *pool)
{
        uint64_t taken = 0;
        char *block;

        while ((block = pmb_malloc(pool, BLOCK))) {
                memset(block, 0xff, BLOCK);
                taken += BLOCK;
        }
        if (errno != ENOMEM)
                fail("a full pool says something else than ENOMEM", strerror(errno));
        return taken;
}

static _Noreturn void be_greedy(int line, const char *user)
{
        static struct pmb_pool *pools[POOLS_MAX];
        struct pmb_client *client;
        char why[256], word[64];
        uint64_t taken;
        int n = 0, r;

        role = "greedy";
        become(user);
        client = connect_to_daemon();
        for (;;) {
                r = pmb_pool_create(client,
                        &(struct pmb_pool_options){.size = GREEDY_SIZE, .name = "greedy"}, &pools[n]);
                if (r < 0)
                        break;
                if (n == 0) {
                        taken = fill_up(pools[0]);
                        (void)pmb_pool_explain(pools[0], why, sizeof(why));
                        say("is tenant \"%s\" and has filled %llu KiB of a pool of %llu MiB; then: %s",
                                tenant_of(pools[0]), (unsigned long long)taken / 1024,
                                (unsigned long long)(GREEDY_SIZE / MIB), why);
                }
                if (++n == POOLS_MAX)
                        fail("nothing limits it", NULL);
        }
        if (r != -EDQUOT && r != -ENOSPC)
                fail("is refused for no good reason", strerror(-r));
        if (n == 0)
                fail("did not even get one pool", strerror(-r));
        (void)pmb_client_explain(client, why, sizeof(why));
        say("has taken %d pools; then: %s", n, why);
        tell(line, tenant_of(pools[0]));

        hear(line, word, sizeof(word)); /* keeps all that it has until it is told to go */
        while (n > 0)
                pmb_pool_close(pools[--n]);
        pmb_client_unref(client);
        exit(EXIT_SUCCESS);
}

/* -------------------------------------------------------------------------------------------------------- the parent */

/* A child that is one of the two, and the line to it. */
static pid_t start(void (*act)(int line, const char *user), const char *user, int *ret_line)
{
        int line[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) < 0)
                fail("socketpair", strerror(errno));
        pid = fork();
        if (pid < 0)
                fail("fork", strerror(errno));
        if (pid == 0) {
                (void)close(line[0]);
                act(line[1], user);
        }
        (void)close(line[1]);
        *ret_line = line[0];
        return pid;
}

static bool ended_well(pid_t pid)
{
        int status;

        return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
        char quiet_tenant[64], greedy_tenant[64], outcome[64];
        int quiet_line, greedy_line;
        pid_t quiet, greedy;
        bool one_tenant, both_well;

        quiet = start(be_quiet, argc > 1 ? argv[1] : "bin", &quiet_line);
        hear(quiet_line, quiet_tenant, sizeof(quiet_tenant));
        greedy = start(be_greedy, argc > 2 ? argv[2] : "daemon", &greedy_line);
        hear(greedy_line, greedy_tenant, sizeof(greedy_tenant));
        one_tenant = strcmp(quiet_tenant, greedy_tenant) == 0;

        tell(quiet_line, "look");
        hear(quiet_line, outcome, sizeof(outcome));
        tell(greedy_line, "go");
        both_well = ended_well(quiet);
        both_well = ended_well(greedy) && both_well;
        if (!both_well)
                return EXIT_FAILURE;
        if (one_tenant)
                printf("both are the same tenant: they share one quota, but not a byte of memory\n");
        else if (strcmp(outcome, "grown") != 0)
                fail("one tenant's greed has cost another tenant its quota", NULL);
        return EXIT_SUCCESS;
}
