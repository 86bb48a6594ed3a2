/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets. Receiving never installs a descriptor that nobody wants: without a control buffer the kernel
 * drops them and says so (MSG_CTRUNC), and with one a second descriptor is closed before the packet is
 * judged. Decoding runs on an allocator with a budget, because a packet of unknown fields costs many times
 * its size.
 */

#include "proto/wire.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "proto/result.h"

#define SAME(code) \
        _Static_assert((int)PMBROKER__V1__CODE__##code == (int)RESULT_##code, "result.h and the .proto")
SAME(OK);
SAME(MALFORMED);
SAME(VERSION);
SAME(HELLO_REQUIRED);
SAME(UNSUPPORTED);
SAME(DENIED);
SAME(INVALID);
SAME(NOT_FOUND);
SAME(NO_TENANT);
SAME(STORE_UNKNOWN);
SAME(STORE_UNAVAILABLE);
SAME(STORE_FULL);
SAME(QUOTA_BYTES);
SAME(QUOTA_POOLS);
SAME(QUOTA_POOL_SIZE);
SAME(POOL_MAX);
SAME(BUSY);
SAME(RETRY);
SAME(RATE);
SAME(REQUEST_CONFLICT);
SAME(SESSION_LIMIT);
SAME(UNITS_INVALID);
SAME(FAILED);
SAME(STORE_BUSY);
SAME(STORE_DRAINED);
SAME(TENANT_UNKNOWN);

/* ----------------------------------------------------------------------------------------- send, receive */

int wire_send(int fd, const void *data, size_t size, int pass_fd)
{
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {0};
        struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n;

        if (pass_fd >= 0) {
                struct cmsghdr *c;

                msg.msg_control = &control;
                msg.msg_controllen = sizeof(control.space);
                c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
        }
        do
                n = sendmsg(fd, &msg, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

/* Own every descriptor that came, keep the first, close the rest; returns how many there were. */
static size_t take_fds(struct msghdr *msg, int *ret_fd)
{
        size_t total = 0;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
                size_t n;

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < n; i++, total++) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
                        if (*ret_fd < 0)
                                *ret_fd = fd;
                        else
                                safe_close(fd);
                }
        }
        return total;
}

ssize_t wire_recv(int fd, void *data, size_t size, int *ret_fd)
{
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(
                        2 * sizeof(int))]; /* one too many is seen, more are dropped by the kernel */
        } control = {0};
        struct iovec iov = {.iov_base = data, .iov_len = size};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        _cleanup_close_ int got = -EBADF;
        ssize_t n;

        if (ret_fd) {
                msg.msg_control = &control;
                msg.msg_controllen = sizeof(control.space);
        }
        do
                n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        if (ret_fd && take_fds(&msg, &got) > 1)
                return -EBADMSG;
        if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
                return -EBADMSG;
        if (ret_fd)
                *ret_fd = TAKE_FD(got);
        return n;
}

bool wire_error_is_disconnect(int r)
{
        return r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN || r == -ECONNABORTED || r == -ESHUTDOWN;
}

/* ---------------------------------------------------------------------------------------------- decoding */

typedef struct Budget {
        size_t bytes;
        unsigned allocs;
        bool out_of_memory;
} Budget;

/* What is allocated knows its size: protobuf-c gives a string no length, and a NUL in it would hide the rest. */
typedef struct Block {
        size_t size;
        _Alignas(max_align_t) uint8_t bytes[];
} Block;

static void *budget_alloc(void *data, size_t size)
{
        Budget *b = data;
        Block *block;

        if (b->allocs == 0 || size > b->bytes)
                return NULL;
        block = malloc(sizeof(*block) + size);
        if (!block) {
                b->out_of_memory = true;
                return NULL;
        }
        block->size = size;
        b->allocs--;
        b->bytes -= size;
        return block->bytes;
}

static void budget_free(void *data, void *p)
{
        (void)data;
        if (p)
                free(CONTAINER_OF(p, Block, bytes));
}

static void free_message(ProtobufCMessage *m)
{
        ProtobufCAllocator allocator = {.alloc = budget_alloc, .free = budget_free};

        protobuf_c_message_free_unpacked(m, &allocator);
}

/* UTF-8 of the shortest form, no surrogates, nothing above U+10FFFF, no control characters: C0, DEL, C1. */
static bool text_is_clean(const char *s)
{
        const unsigned char *p = (const unsigned char *)s;

        while (*p) {
                uint32_t c;
                unsigned more;

                if (*p < 0x80) {
                        c = *p;
                        more = 0;
                } else if (*p >= 0xc2 && *p <= 0xdf) {
                        c = *p & 0x1fu;
                        more = 1;
                } else if (*p >= 0xe0 && *p <= 0xef) {
                        c = *p & 0x0fu;
                        more = 2;
                } else if (*p >= 0xf0 && *p <= 0xf4) {
                        c = *p & 0x07u;
                        more = 3;
                } else
                        return false;
                p++;
                for (unsigned i = 0; i < more; i++, p++) {
                        if ((*p & 0xc0) != 0x80)
                                return false;
                        c = c << 6 | (*p & 0x3fu);
                }
                if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
                        return false;
                if ((more == 2 && c < 0x800) || (more == 3 && c < 0x10000))
                        return false;
        }
        return true;
}

static bool string_is_clean(const char *s, size_t max)
{
        size_t n;

        if (s == protobuf_c_empty_string) /* was not in the packet */
                return true;
        n = CONTAINER_OF((const uint8_t *)s, const Block, bytes)->size - 1;
        return n <= max && strlen(s) == n && text_is_clean(s);
}

/* No field has the number 0, but protobuf-c overlooks one whose number is not in its shortest form. */
static bool fields_have_numbers(const ProtobufCMessage *m)
{
        for (unsigned i = 0; i < m->n_unknown_fields; i++)
                if (m->unknown_fields[i].tag == 0)
                        return false;
        return true;
}

/* The fields of a message and of the messages in it, and every string, found by the descriptors: a field added later
 * is covered. */
static bool message_is_clean(const ProtobufCMessage *m, size_t max)
{
        const ProtobufCMessageDescriptor *d = m->descriptor;

        if (!fields_have_numbers(m))
                return false;

        for (unsigned i = 0; i < d->n_fields; i++) {
                const ProtobufCFieldDescriptor *f = &d->fields[i];
                const void *member = (const char *)m + f->offset;
                const void *const *items = member;
                size_t n = 1;

                if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE)
                        continue;
                if (f->label == PROTOBUF_C_LABEL_REPEATED) {
                        n = *(const size_t *)(const void *)((const char *)m + f->quantifier_offset);
                        items = *(const void *const *const *)member;
                } else if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
                        if (*(const uint32_t *)(const void *)((const char *)m + f->quantifier_offset) !=
                                f->id)
                                continue;
                }
                for (size_t k = 0; k < n; k++) {
                        if (!items[k])
                                continue;
                        if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
                                if (!message_is_clean(items[k], max))
                                        return false;
                        } else if (!string_is_clean(items[k], max))
                                return false;
                }
        }
        return true;
}

static int decode(const ProtobufCMessageDescriptor *descriptor, const void *data, size_t size,
        unsigned factor, size_t string_max, ProtobufCMessage **ret)
{
        Budget budget = {.bytes = (size_t)WIRE_DECODE_BYTES * factor, .allocs = WIRE_DECODE_ALLOCS * factor};
        ProtobufCAllocator allocator = {
                .alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};
        ProtobufCMessage *m;

        m = protobuf_c_message_unpack(descriptor, &allocator, size, data);
        if (!m)
                return budget.out_of_memory ? -ENOMEM : -EBADMSG;
        if (!message_is_clean(m, string_max)) {
                free_message(m);
                return -EBADMSG;
        }
        *ret = m;
        return 0;
}

int wire_decode_client(const void *data, size_t size, Pmbroker__V1__ClientPacket **ret)
{
        ProtobufCMessage *m;
        Pmbroker__V1__ClientPacket *p;
        int r;

        if (size > WIRE_CLIENT_MAX)
                return -EBADMSG;
        r = decode(&pmbroker__v1__client_packet__descriptor, data, size, 1, WIRE_STRING_MAX, &m);
        if (r < 0)
                return r;
        p = (Pmbroker__V1__ClientPacket *)m;
        if (p->serial == 0) {
                wire_free_client(p);
                return -EBADMSG;
        }
        *ret = p;
        return 0;
}

int wire_decode_server(const void *data, size_t size, Pmbroker__V1__ServerPacket **ret)
{
        ProtobufCMessage *m;
        Pmbroker__V1__ServerPacket *p;
        int r;

        if (size > WIRE_SERVER_MAX)
                return -EBADMSG;
        r = decode(&pmbroker__v1__server_packet__descriptor, data, size, 16, WIRE_SERVER_STRING_MAX, &m);
        if (r < 0)
                return r;
        p = (Pmbroker__V1__ServerPacket *)m;
        if (p->serial == 0) {
                wire_free_server(p);
                return -EBADMSG;
        }
        *ret = p;
        return 0;
}

Pmbroker__V1__ClientPacket *wire_free_client(Pmbroker__V1__ClientPacket *p)
{
        if (p)
                free_message(&p->base);
        return NULL;
}

Pmbroker__V1__ServerPacket *wire_free_server(Pmbroker__V1__ServerPacket *p)
{
        if (p)
                free_message(&p->base);
        return NULL;
}

/* ---------------------------------------------------------------------------------------------- encoding */

ssize_t wire_encode_client(const Pmbroker__V1__ClientPacket *p, uint8_t buf[static WIRE_CLIENT_MAX])
{
        if (pmbroker__v1__client_packet__get_packed_size(p) > WIRE_CLIENT_MAX)
                return -EMSGSIZE;
        return (ssize_t)pmbroker__v1__client_packet__pack(p, buf);
}

ssize_t wire_encode_server(const Pmbroker__V1__ServerPacket *p, uint8_t buf[static WIRE_SERVER_MAX])
{
        if (pmbroker__v1__server_packet__get_packed_size(p) > WIRE_SERVER_MAX)
                return -EMSGSIZE;
        return (ssize_t)pmbroker__v1__server_packet__pack(p, buf);
}
