/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/pager.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl/terminal.h"

static pid_t arg_pager_pid; /* 0: none */

static const char *find_pager(void)
{
        const char *pager = getenv("PMBROKER_PAGER");

        if (!pager)
                pager = getenv("PAGER");
        if (!pager)
                return "less";
        return *pager && strcmp(pager, "cat") != 0 ? pager : NULL;
}

static _Noreturn void exec_pager(const char *pager, int fd)
{
        (void)dup2(fd, STDIN_FILENO);
        /* Quit at once what fits, keep the screen, cut long lines, and show nothing raw but text. */
        (void)setenv("LESS", "FSXMK", 0);
        (void)setenv("LESSSECURE", "1", 1);
        if (strchr(pager, ' '))
                (void)execl("/bin/sh", "sh", "-c", pager, (char *)NULL);
        else
                (void)execlp(pager, pager, (char *)NULL);
        /* No such program: the text as it is. */
        (void)execlp("cat", "cat", (char *)NULL);
        _exit(127);
}

void pager_open(const TableOptions *options, size_t lines)
{
        const char *pager = find_pager();
        int fds[2];
        pid_t pid;

        if (options->no_pager || options->json || options->raw || !pager || arg_pager_pid > 0 ||
                !terminal_is_stdout() || lines < terminal_size().rows)
                return;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return;
        (void)fflush(stdout);
        pid = fork();
        if (pid == 0)
                exec_pager(pager, fds[0]);
        safe_close(fds[0]);
        if (pid > 0 && dup2(fds[1], STDOUT_FILENO) >= 0) {
                arg_pager_pid = pid;
                (void)signal(SIGPIPE, SIG_IGN); /* it may be left before the end */
        }
        safe_close(fds[1]);
}

bool pager_close(void)
{
        int status;

        if (arg_pager_pid == 0)
                return false;
        (void)fflush(stdout);
        (void)close(STDOUT_FILENO);
        (void)waitpid(arg_pager_pid, &status, 0);
        arg_pager_pid = 0;
        return true;
}
