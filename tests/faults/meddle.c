/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stands beside processes, counts their system calls, and at the one with the given number does something to whoever
 * makes it: kills it before the call is carried out, or has the call fail with an errno. Children are watched too.
 *
 *     meddle [--kill N | --fail N:ERRNO] [--all] PID...
 *     meddle [--kill N | --fail N:ERRNO] [--all] --out FILE --exec PROGRAM ARGUMENT...
 *
 * The first form says "ready" when it watches, and ends when its input does. The second becomes the program, whose pid
 * is that of the caller, and is watched by a child from its first call as pmbrokerd on. Both say in the end: how many calls there
 * were, and what was hit ("COUNT NUMBER-OF-THE-CALL PID", -1 0 if nothing was). With --all all that are watched are
 * killed at once. What would only fail because of us (waiting, ending) is not made to fail.
 */

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

#define TRACEES_MAX 64
#define OPTIONS                                                                                   \
        (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | \
                PTRACE_O_TRACEEXEC)

static unsigned long arg_kill, arg_fail, count;
static int arg_errno;
static bool arg_all, counting = true;
static FILE *out;
static pid_t tracees[TRACEES_MAX], hit_pid;
static unsigned n_tracees;
static long hit_number = -1;
static pid_t failing; /* its call is to return -arg_errno */

static void give_up(const char *what)
{
        perror(what);
        exit(1);
}

static void add(pid_t pid)
{
        for (unsigned i = 0; i < n_tracees; i++)
                if (tracees[i] == pid)
                        return;
        if (n_tracees < TRACEES_MAX)
                tracees[n_tracees++] = pid;
}

static void forget(pid_t pid)
{
        for (unsigned i = 0; i < n_tracees; i++)
                if (tracees[i] == pid)
                        tracees[i--] = tracees[--n_tracees];
}

static void hit(pid_t pid, long number)
{
        hit_pid = pid;
        hit_number = number;
}

/* -1 as the number of a call makes the kernel carry out none. */
static void skip_call(pid_t pid)
{
#if defined(__x86_64__)
        struct user_regs_struct regs;

        if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) == 0) {
                regs.orig_rax = (unsigned long long)-1;
                (void)ptrace(PTRACE_SETREGS, pid, NULL, &regs);
        }
#elif defined(__aarch64__)
        int none = -1;
        struct iovec io = {.iov_base = &none, .iov_len = sizeof(none)};

        (void)ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &io);
#else
#error "how a system call is skipped here is not known"
#endif
}

static void set_result(pid_t pid, int error)
{
#if defined(__x86_64__)
        struct user_regs_struct regs;

        if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) == 0) {
                regs.rax = (unsigned long long)-error;
                (void)ptrace(PTRACE_SETREGS, pid, NULL, &regs);
        }
#elif defined(__aarch64__)
        struct user_pt_regs regs;
        struct iovec io = {.iov_base = &regs, .iov_len = sizeof(regs)};

        if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io) == 0) {
                regs.regs[0] = (unsigned long long)-error;
                (void)ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io);
        }
#endif
}

static bool cannot_fail(unsigned long long number, unsigned long long second)
{
        switch (number) {
        case SYS_epoll_ctl: /* what is there already is changed, or taken out, without anything being needed */
                return second != EPOLL_CTL_ADD;
        case SYS_exit:
        case SYS_exit_group:
        case SYS_rt_sigreturn:
        case SYS_rt_sigprocmask:
        case SYS_restart_syscall:
        case SYS_close:
        case SYS_munmap:
        case SYS_brk:
        case SYS_futex:
        case SYS_timerfd_settime: /* of good arguments knows no error */
                return true;
#ifdef SYS_epoll_wait
        case SYS_epoll_wait:
#endif
        case SYS_epoll_pwait:
                return arg_errno != EINTR; /* of those that are tried it knows no other */
        }
        return false;
}

/* Whether the process may go on. */
static bool on_call(pid_t pid)
{
        struct __ptrace_syscall_info info;

        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0)
                return true;
        if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
                if (failing == pid) {
                        set_result(pid, arg_errno);
                        failing = 0;
                }
                return true;
        }
        if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !counting)
                return true;
        count++;
        if (count == arg_kill) {
                hit(pid, (long)info.entry.nr);
                for (unsigned i = 0; i < n_tracees; i++)
                        if (arg_all || tracees[i] == pid)
                                (void)kill(tracees[i], SIGKILL);
                return false;
        }
        if (count == arg_fail && !cannot_fail(info.entry.nr, info.entry.args[1])) {
                hit(pid, (long)info.entry.nr);
                failing = pid;
                skip_call(pid);
        }
        return true;
}

/* Not what only leads to it: setpriv(1), for example. */
static bool is_program(pid_t pid)
{
        char path[32], name[32] = "";
        FILE *f;

        (void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
        f = fopen(path, "re");
        if (!f)
                return false;
        (void)!fgets(name, sizeof(name), f);
        (void)fclose(f);
        return strcmp(name, "pmbrokerd\n") == 0;
}

static void on_stop(pid_t pid, int status)
{
        int sig = WSTOPSIG(status), event = status >> 16;

        add(pid);
        if (sig == (SIGTRAP | 0x80)) {
                if (on_call(pid))
                        (void)ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
                return;
        }
        if (event == PTRACE_EVENT_EXEC && !counting)
                counting = is_program(pid);
        if (event == PTRACE_EVENT_STOP &&
                (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU))
                (void)ptrace(PTRACE_LISTEN, pid, NULL, NULL);
        else
                (void)ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)(event == 0 ? sig : 0));
}

/* Until nobody is left, or the input ends. */
static void watch(int input)
{
        while (n_tracees > 0) {
                struct pollfd p = {.fd = input, .events = POLLIN};
                pid_t pid;
                int status;

                while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
                        if (WIFSTOPPED(status))
                                on_stop(pid, status);
                        else
                                forget(pid);
                }
                /* SIGCHLD interrupts the wait; one that comes just before it costs a millisecond. */
                if (n_tracees > 0 && poll(&p, input >= 0, 1) > 0)
                        break;
        }
        fprintf(out, "%lu %ld %d\n", count, hit_number, (int)hit_pid);
        (void)fflush(out);
}

static void seize(pid_t pid)
{
        if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)(long)OPTIONS) < 0)
                give_up("PTRACE_SEIZE");
        add(pid);
        if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
                give_up("PTRACE_INTERRUPT");
}

static void on_child(int sig)
{
        (void)sig;
}

static void become(char **argv)
{
        pid_t parent = getpid(), tracer;
        int gate[2];
        char byte;

        if (pipe2(gate, O_CLOEXEC) < 0)
                give_up("pipe");
        tracer = fork();
        if (tracer < 0)
                give_up("fork");
        if (tracer == 0) {
                /* What the program was given must end with the program. */
                int null = open("/dev/null", O_RDWR);

                for (int fd = 0; fd < 1024; fd++)
                        if (fd != gate[1] && fd != fileno(out) && fd != null)
                                (void)close(fd);
                counting = false;
                seize(parent);
                (void)close(gate[1]);
                watch(-1);
                exit(0);
        }
        (void)close(gate[1]);
        (void)!read(gate[0], &byte, 1);
        (void)fclose(out);
        (void)execv(argv[0], argv);
        give_up(argv[0]);
}

int main(int argc, char **argv)
{
        int i = 1;

        out = stdout;
        (void)sigaction(SIGCHLD, &(struct sigaction){.sa_handler = on_child}, NULL);
        for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
                if (strcmp(argv[i], "--all") == 0)
                        arg_all = true;
                else if (strcmp(argv[i], "--exec") == 0 && i + 1 < argc)
                        become(&argv[i + 1]);
                else if (i + 1 == argc)
                        break;
                else if (strcmp(argv[i], "--kill") == 0)
                        arg_kill = strtoul(argv[++i], NULL, 10);
                else if (strcmp(argv[i], "--fail") == 0) {
                        char *end;

                        arg_fail = strtoul(argv[++i], &end, 10);
                        arg_errno = *end == ':' ? atoi(end + 1) : EIO;
                } else if (strcmp(argv[i], "--out") == 0) {
                        out = fopen(argv[++i], "we");
                        if (!out)
                                give_up(argv[i]);
                }
        }
        if (i == argc) {
                fputs("usage: see the top of meddle.c\n", stderr);
                return 64;
        }
        for (; i < argc; i++)
                seize((pid_t)atoi(argv[i]));
        puts("ready");
        (void)fflush(stdout);
        watch(STDIN_FILENO);
        return 0;
}
