/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "ctl/exit.h"
#include "ctl/message.h"

#define SOCKET_TIMEOUT_SEC 30

static int unreachable(const Arguments *arguments, int error)
{
        const char *path = arguments_socket(arguments);

        if (error == EACCES || error == EPERM)
                message_error("no permission to reach pmbrokerd at %s", path);
        else if (arguments_socket_is_default(arguments))
                message_error(
                        "cannot reach pmbrokerd at %s: %s; is pmbrokerd.socket active? See systemctl status "
                        "pmbrokerd.socket, or name another socket with --socket PATH",
                        path, strerror(error));
        else
                message_error("cannot reach pmbrokerd at %s: %s", path, strerror(error));
        return EXIT_UNREACHABLE;
}

int socket_no_answer(const char *path)
{
        message_error("pmbrokerd at %s does not answer", path);
        return EXIT_UNREACHABLE;
}

int socket_open(const Arguments *arguments, int *ret_fd)
{
        const struct timeval timeout = {.tv_sec = SOCKET_TIMEOUT_SEC}; /* of connect(), and of sending */
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        const char *path = arguments_socket(arguments);
        _cleanup_close_ int fd = -EBADF;

        if (*path == '\0' || strlen(path) >= sizeof(address.sun_path)) {
                message_error(
                        "a socket's path has 1 to %zu characters: '%s'", sizeof(address.sun_path) - 1, path);
                return EXIT_USAGE;
        }
        strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return unreachable(arguments, errno);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
                return errno == EAGAIN ? socket_no_answer(path) : unreachable(arguments, errno);
        *ret_fd = TAKE_FD(fd);
        return EXIT_DONE;
}
