/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/relay.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "proto/wire.h"

#define FRAME_MAX (sizeof(uint32_t) + WIRE_SERVER_MAX)

static int write_all(int fd, const uint8_t *data, size_t size)
{
        while (size > 0) {
                ssize_t n = write(fd, data, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                data += n;
                size -= (size_t)n;
        }
        return 0;
}

/* One packet becomes a frame. 1: done, 0: the end. */
static int take_packet(int socket_fd, int out_fd)
{
        uint8_t frame[FRAME_MAX];
        ssize_t n = wire_recv(socket_fd, frame + sizeof(uint32_t), WIRE_SERVER_MAX, NULL);
        uint32_t length;
        int r;

        if (n <= 0)
                return n == 0 || wire_error_is_disconnect((int)n) ? 0 : (int)n;
        length = htobe32((uint32_t)n);
        memcpy(frame, &length, sizeof(length));
        r = write_all(out_fd, frame, sizeof(length) + (size_t)n);
        return r < 0 ? r : 1;
}

typedef struct Buffer {
        uint8_t data[FRAME_MAX];
        size_t n;
} Buffer;

/* Whole frames become packets. */
static int pass_frames(Buffer *b, int socket_fd)
{
        for (;;) {
                uint32_t length;
                int r;

                if (b->n < sizeof(length))
                        return 1;
                memcpy(&length, b->data, sizeof(length));
                length = be32toh(length);
                if (length == 0 || length > WIRE_SERVER_MAX)
                        return -EBADMSG;
                if (b->n - sizeof(length) < length)
                        return 1;
                r = wire_send(socket_fd, b->data + sizeof(length), length, -EBADF);
                if (r < 0)
                        return wire_error_is_disconnect(r) ? 0 : r;
                b->n -= sizeof(length) + length;
                memmove(b->data, b->data + sizeof(length) + length, b->n);
        }
}

static int take_bytes(Buffer *b, int in_fd, int socket_fd)
{
        ssize_t n = read(in_fd, b->data + b->n, sizeof(b->data) - b->n);

        if (n < 0)
                return errno == EINTR ? 1 : -errno;
        if (n == 0)
                return b->n == 0 ? 0 : -EBADMSG;
        b->n += (size_t)n;
        return pass_frames(b, socket_fd);
}

int relay(int socket_fd, int in_fd, int out_fd)
{
        Buffer buffer = {.n = 0};
        int r = 1;

        (void)signal(SIGPIPE, SIG_IGN);
        while (r > 0) {
                struct pollfd fds[] = {
                        {.fd = socket_fd, .events = POLLIN},
                        {.fd = in_fd, .events = POLLIN},
                };

                if (poll(fds, 2, -1) < 0) {
                        r = errno == EINTR ? 1 : -errno;
                        continue;
                }
                if (fds[0].revents != 0)
                        r = take_packet(socket_fd, out_fd);
                if (r > 0 && fds[1].revents != 0)
                        r = take_bytes(&buffer, in_fd, socket_fd);
        }
        return r == -EPIPE ? 0 : r;
}
