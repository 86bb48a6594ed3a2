/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What somebody would try who has taken over a daemon of ours, tried inside of it: preloaded, it waits until the daemon
 * says that it serves (and has given up all that it will), and writes a line for each call to standard error:
 *
 *   probe NAME ERRNO
 *
 * No call could do anything if it were allowed: their arguments are nonsense.
 */

#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 0x7fffffff /* a pid that nobody has */

static void probe(const char *name, long result)
{
        (void)dprintf(STDERR_FILENO, "probe %s %d\n", name, result < 0 ? errno : 0);
}

static void probe_all(void)
{
        probe("execve", syscall(SYS_execve, NULL, NULL, NULL));
        probe("execveat", syscall(SYS_execveat, -1, NULL, NULL, NULL, 0));
        probe("ptrace", syscall(SYS_ptrace, PTRACE_PEEKDATA, NOBODY, NULL, NULL));
        probe("process_vm_readv", syscall(SYS_process_vm_readv, NOBODY, NULL, 0, NULL, 0, 0));
        probe("mount", syscall(SYS_mount, NULL, NULL, NULL, 0, NULL));
        probe("bpf", syscall(SYS_bpf, 9999, NULL, 0));
        probe("inet", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        probe("netlink", socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
        probe("open_by_handle_at", syscall(SYS_open_by_handle_at, -1, NULL, 0));
        probe("init_module", syscall(SYS_init_module, NULL, 0, NULL));
        probe("keyctl", syscall(SYS_keyctl, 9999, 0, 0, 0, 0));
        probe("add_key", syscall(SYS_add_key, NULL, NULL, NULL, 0, 0));
        probe("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
        probe("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
        probe("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
        probe("userfaultfd", syscall(SYS_userfaultfd, -1));
        probe("getpid", syscall(SYS_getpid));
}

__attribute__((visibility("default"))) int sd_notify(int unset_environment, const char *state);

int sd_notify(int unset_environment, const char *state)
{
        int (*next)(int, const char *) = NULL;
        void *symbol = dlsym(RTLD_NEXT, "sd_notify");

        if (strncmp(state, "READY=1", strlen("READY=1")) == 0)
                probe_all();
        memcpy(&next, &symbol, sizeof(next));
        return next ? next(unset_environment, state) : -ENOSYS;
}
