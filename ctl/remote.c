/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl/relay.h"

#define COMMAND "pmbrokerctl bridge"

/* For the shell over there: in single quotes, each of its own written as '\''. A new string, or NULL. */
static char *make_command(const char *socket)
{
        size_t size = sizeof(COMMAND " --socket ''");
        char *command, *p;

        for (const char *s = socket; s && *s; s++)
                size += *s == '\'' ? 4 : 1;
        command = malloc(size);
        if (!command)
                return NULL;
        p = stpcpy(command, COMMAND);
        if (!socket)
                return command;
        p = stpcpy(p, " --socket '");
        for (const char *s = socket; *s; s++)
                if (*s == '\'')
                        p = stpcpy(p, "'\\''");
                else
                        *p++ = *s;
        (void)strcpy(p, "'");
        return command;
}

static _Noreturn void exec_ssh(const char *host, const char *command, int in_fd, int out_fd)
{
        const char *ssh = getenv("PMBROKER_SSH");

        if (!ssh || !*ssh)
                ssh = "ssh";
        if (dup2(in_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0)
                _exit(127);
        (void)execlp(ssh, ssh, "-xT", "--", host, command, (char *)NULL);
        (void)fprintf(stderr, "pmbrokerctl: cannot run %s: %s\n", ssh, strerror(errno));
        _exit(127);
}

/* In the child: ssh, and everything between it and the socket. */
static _Noreturn void run_relay(const char *host, const char *command, int socket_fd)
{
        int to[2], from[2], status;
        pid_t ssh;

        if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
                _exit(EXIT_FAILURE);
        ssh = fork();
        if (ssh < 0)
                _exit(EXIT_FAILURE);
        if (ssh == 0)
                exec_ssh(host, command, to[0], from[1]);
        safe_close(to[0]);
        safe_close(from[1]);
        (void)relay(socket_fd, from[0], to[1]);
        safe_close(to[1]);
        safe_close(from[0]);
        safe_close(socket_fd);
        (void)waitpid(ssh, &status, 0);
        _exit(EXIT_SUCCESS);
}

int remote_open(const char *host, const char *socket, int *ret_fd, pid_t *ret_child)
{
        _cleanup_free_ char *command = make_command(socket);
        int fds[2];
        pid_t child;

        if (!command)
                return -ENOMEM;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;
        (void)fflush(NULL);
        child = fork();
        if (child < 0) {
                int r = -errno;

                safe_close(fds[0]);
                safe_close(fds[1]);
                return r;
        }
        if (child == 0) {
                safe_close(fds[0]);
                run_relay(host, command, fds[1]);
        }
        safe_close(fds[1]);
        *ret_fd = fds[0];
        *ret_child = child;
        return 0;
}
