/* SPDX-License-Identifier: BSD-3-Clause */
/* The native protocol of journald, as far as lines go: fields that end with a newline each, in one datagram. */

#include "journal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"

/* What may be under way; the kernel gives less where net.core.wmem_max says so. */
#define QUEUE_BYTES (8 << 20)

static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};

/* There is one journal, and whatever is logged in the process goes there: this is the process's. */
static struct {
        int fd; /* 0: not opened yet */
        uint64_t dropped;
} journal;

static int open_socket(void)
{
        int bytes = QUEUE_BYTES;

        if (journal.fd > 0)
                return 0;
        /* Not 0 to 2, which others replace. */
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (fd <= STDERR_FILENO) {
                safe_close(fd);
                return -EBADF;
        }
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
        journal.fd = fd;
        return 0;
}

static int send_lines(const struct iovec *fields, size_t n)
{
        struct iovec parts[2 * JOURNAL_FIELDS_MAX];
        struct msghdr msg = {
                .msg_name = (void *)(uintptr_t)&address,
                .msg_namelen = sizeof(address),
                .msg_iov = parts,
                .msg_iovlen = 2 * n,
        };

        assert(n <= JOURNAL_FIELDS_MAX);
        for (size_t i = 0; i < n; i++) {
                if (memchr(fields[i].iov_base, '\n', fields[i].iov_len))
                        return -EINVAL;
                parts[2 * i] = fields[i];
                parts[2 * i + 1] = (struct iovec){(void *)(uintptr_t) "\n", 1};
        }
        while (sendmsg(journal.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

static int tell_dropped(void)
{
        char message[96];
        int n = snprintf(message, sizeof(message),
                "MESSAGE=%" PRIu64 " records were lost, as the journal did not take them", journal.dropped);
        const struct iovec fields[] = {
                {message, (size_t)n},
                {(void *)(uintptr_t) "PRIORITY=4", strlen("PRIORITY=4")},
                {(void *)(uintptr_t) "SYSLOG_IDENTIFIER=pmbrokerd", strlen("SYSLOG_IDENTIFIER=pmbrokerd")},
        };
        int r = send_lines(fields, ELEMENTSOF(fields));

        if (r == 0)
                journal.dropped = 0;
        return r;
}

static int send_record(const struct iovec *fields, size_t n)
{
        int r = open_socket();

        if (r == 0 && journal.dropped > 0)
                r = tell_dropped();
        return r < 0 ? r : send_lines(fields, n);
}

int journal_send(const struct iovec *fields, size_t n)
{
        int r = send_record(fields, n);

        if (r == -EBADF || r == -ENOTSOCK) {
                /* A child that has closed what is not its own. */
                journal.fd = 0;
                r = send_record(fields, n);
        }
        if (r != -EAGAIN && r != -ENOBUFS)
                return r;
        journal.dropped++;
        return 0;
}
