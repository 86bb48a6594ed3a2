/* SPDX-License-Identifier: BSD-3-Clause */

#include "ipc/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <poll.h>
#include <systemd/sd-login.h>

#include "base/parse.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

static int pidfd_open_pid(pid_t pid)
{
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);

        return fd < 0 ? -errno : fd;
}

static bool process_lives(int pidfd)
{
        struct pollfd p = {.fd = pidfd, .events = POLLIN};

        return poll(&p, 1, 0) == 0;
}

/* The second and 22nd fields of /proc/PID/stat. The command is in parentheses and may hold any character, so
 * the last parenthesis counts. */
static int read_stat(uint32_t pid, char command[static 16], uint64_t *ret_start)
{
        char path[32], text[1024];
        _cleanup_close_ int fd = -EBADF;
        unsigned long long start;
        const char *open_p, *close_p;
        size_t length;
        ssize_t n;

        (void)snprintf(path, sizeof(path), "/proc/%u/stat", pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        text[n] = '\0';
        open_p = strchr(text, '(');
        close_p = strrchr(text, ')');
        if (!open_p || !close_p || close_p < open_p)
                return -EBADMSG;
        if (sscanf(close_p + 1,
                    " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                    &start) != 1)
                return -EBADMSG;
        length = (size_t)(close_p - open_p - 1);
        if (length > 15)
                length = 15;
        memcpy(command, open_p + 1, length);
        command[length] = '\0';
        make_printable(command);
        *ret_start = start;
        return 0;
}

static int read_groups(int fd, Peer *p)
{
        socklen_t size = 0;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) < 0 && errno != ERANGE)
                return -errno;
        if (size == 0)
                return 0;
        p->groups = malloc(size);
        if (!p->groups)
                return -ENOMEM;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, p->groups, &size) < 0)
                return -errno;
        p->identity.n_groups = size / sizeof(gid_t);
        p->identity.groups = p->groups;
        return 0;
}

static int open_pidfd(int fd, pid_t pid)
{
        int pidfd = -EBADF;
        socklen_t size = sizeof(pidfd);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
                return pidfd;
        if (errno != ENOPROTOOPT)
                return errno == EINVAL ? -ESRCH : -errno; /* EINVAL: it has been reaped */
        return pidfd_open_pid(pid);
}

int peer_identify(int socket_fd, bool want_unit, Peer *ret)
{
        Peer p = {.pidfd = -EBADF};
        struct ucred cred;
        socklen_t size = sizeof(cred);
        int r;

        if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
                return -errno;
        p.identity = (PeerIdentity){.uid = cred.uid, .gid = cred.gid, .pid = (uint32_t)cred.pid};
        r = read_groups(socket_fd, &p);
        if (r < 0)
                goto fail;

        if (cred.pid > 0) {
                r = p.pidfd = open_pidfd(socket_fd, cred.pid);
                if (r < 0)
                        goto fail;
                r = read_stat((uint32_t)cred.pid, p.command, &p.identity.start_time);
                if (r < 0)
                        goto fail;
                if (want_unit) {
                        /* Absence is not an error: not every process is in a unit. */
                        (void)sd_pid_get_unit(cred.pid, &p.unit);
                        (void)sd_pid_get_cgroup(cred.pid, &p.cgroup);
                }
                /* What was read by pid is the process's own only if it still lives. */
                if (!process_lives(p.pidfd)) {
                        r = -ESRCH;
                        goto fail;
                }
        }
        p.identity.unit = p.unit ?: "";
        p.identity.cgroup = p.cgroup ?: "";
        *ret = p;
        return 0;

fail:
        peer_deinit(&p);
        return r;
}

void peer_deinit(Peer *peer)
{
        peer->pidfd = safe_close(peer->pidfd);
        free(peer->groups);
        free(peer->unit);
        free(peer->cgroup);
        peer->groups = NULL;
        peer->unit = peer->cgroup = NULL;
}

int peer_open_process(uint32_t pid, uint64_t start_time)
{
        _cleanup_close_ int fd = -EBADF;
        char command[16];
        uint64_t start = 0;
        int r;

        r = fd = pidfd_open_pid((pid_t)pid);
        if (r < 0)
                return r;
        r = read_stat(pid, command, &start);
        if (r < 0)
                return r;
        if (start != start_time || !process_lives(fd))
                return -ESRCH;
        return TAKE_FD(fd);
}
