/* SPDX-License-Identifier: BSD-3-Clause */

#include "statedir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "log.h"

static int open_own_directory(const char *path)
{
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        bool made;

        made = mkdir(path, 0711) == 0;
        if (!made && errno != EEXIST)
                return log_errno(LOG_ERR, errno, "cannot make %s", path);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return log_errno(LOG_ERR, errno, "cannot open %s", path);
        if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
                return log_errno(LOG_ERR, EPERM,
                        "%s belongs to somebody else or may be written to by others: remove it, or name "
                        "another directory by --state-dir",
                        path);
        /* The broker, another user, looks for a socket in it, whatever our umask is. */
        if (made && fchmod(fd, 0711) < 0)
                return log_errno(LOG_ERR, errno, "cannot set the rights of %s", path);
        return TAKE_FD(fd);
}

int statedir_lock(const char *path, int *ret_lock_fd)
{
        _cleanup_close_ int dir = -EBADF, fd = -EBADF;

        dir = open_own_directory(path);
        if (dir < 0)
                return dir;
        fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return log_errno(LOG_ERR, errno, "cannot open %s/lock", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        return -EBUSY;
                return log_errno(LOG_ERR, errno, "cannot lock %s/lock", path);
        }
        *ret_lock_fd = TAKE_FD(fd);
        return 0;
}

/* Of one that was killed. A path that was mistyped may be that of anything. */
static int remove_old(const char *path)
{
        struct stat st;

        if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
                return log_errno(LOG_ERR, EEXIST,
                        "%s is there and is no socket: remove it, or name another path by --socket or "
                        "--state-dir",
                        path);
        if (unlink(path) < 0 && errno != ENOENT)
                return log_errno(LOG_ERR, errno, "cannot remove what is left at %s", path);
        return 0;
}

int statedir_listen(const char *path, mode_t mode, uid_t uid, gid_t gid, int *ret_fd)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_close_ int fd = -EBADF;
        mode_t mask;
        int r;

        if (strlen(path) >= sizeof(address.sun_path))
                return log_errno(LOG_ERR, ENAMETOOLONG, "%s: a socket's path has at most %zu characters",
                        path, sizeof(address.sun_path) - 1);
        memcpy(address.sun_path, path, strlen(path) + 1);
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return log_errno(LOG_ERR, errno, "cannot make a socket");
        r = remove_old(path);
        if (r < 0)
                return r;
        /* By the umask, since a chmod() afterwards could hit what somebody has put there meanwhile. */
        mask = umask(0777 & ~mode);
        r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
        (void)umask(mask);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot bind %s", path);
        if (geteuid() == 0 && uid != (uid_t)-1 &&
                fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
                return log_errno(LOG_ERR, errno, "cannot set the owner of %s", path);
        if (listen(fd, SOMAXCONN) < 0)
                return log_errno(LOG_ERR, errno, "cannot listen at %s", path);
        *ret_fd = TAKE_FD(fd);
        return 0;
}
