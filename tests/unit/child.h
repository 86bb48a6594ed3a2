/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What is tried in a child: because it may end the process, or because it is about children. */

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* For functions that return the exit status of a child. */
#define EXPECT(condition)                                                               \
        do {                                                                            \
                if (!(condition)) {                                                     \
                        (void)dprintf(2, "child: line %d: %s\n", __LINE__, #condition); \
                        return 1;                                                       \
                }                                                                       \
        } while (0)

/* True in the child, which ends by itself, and is ended when it hangs. */
static inline bool child_begin(pid_t *ret)
{
        *ret = fork();
        assert_true(*ret >= 0);
        if (*ret > 0)
                return false;
        (void)alarm(30);
        (void)signal(SIGSEGV, SIG_DFL); /* cmocka's handler would go on in the child with the next test */
        return true;
}

/* The same, where an assertion may fail: no word and no core. */
static inline bool child_begin_badly(pid_t *ret)
{
        if (!child_begin(ret))
                return false;
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        (void)close(STDERR_FILENO);
        return true;
}

/* The exit status of the child, or minus the signal that ended it. */
static inline int child_end(pid_t pid)
{
        int status;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
