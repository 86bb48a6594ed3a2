/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One packet = one message and at most one descriptor, over SOCK_SEQPACKET. The framing and the limits that
 * pmbroker.proto states are kept here for both sides; what a message means is not this file's business.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/pmbroker.pb-c.h"

#define WIRE_MAJOR 1
#define WIRE_MINOR 0

#define WIRE_CLIENT_MAX        4096 /* bytes of a packet towards the daemon */
#define WIRE_SERVER_MAX        16384
#define WIRE_STRING_MAX        64 /* bytes of any string towards the daemon */
#define WIRE_SERVER_STRING_MAX 1024
#define WIRE_DECODE_BYTES      65536 /* what the daemon may allocate to decode one packet ... */
#define WIRE_DECODE_ALLOCS     256   /* ... and how often; a client spends up to 16 times that on a list */
#define WIRE_UNIT_RANGES_MAX   128   /* ranges in a GiveBack */

#define WIRE_MAX_OF_QUOTA UINT64_MAX /* CreatePool.max */

/*
 * Send one packet; `pass_fd` < 0 for none. Never blocks beyond what the socket's flags say, never raises
 * SIGPIPE. Returns 0 or a negative errno (-EAGAIN: full, -EPIPE/-ECONNRESET: the peer is gone).
 */
int wire_send(int fd, const void *data, size_t size, int pass_fd);

/*
 * Receive one packet of at most `size` bytes. With `ret_fd` NULL no descriptor is accepted (none is ever
 * installed in this process); otherwise *ret_fd is the one descriptor that came (CLOEXEC, owned by the
 * caller) or -EBADF. Returns the length (> 0), 0 at the end of the connection or for an empty packet (they
 * look the same), or a negative errno: -EAGAIN, -EBADMSG for a packet that was too long or carried
 * descriptors that were not to be.
 */
ssize_t wire_recv(int fd, void *data, size_t size, int *ret_fd);

/* True if the errno (negative) says that the peer is gone rather than that something is wrong. */
bool wire_error_is_disconnect(int r);

/*
 * Decode under the budget above. On success *ret is the message, to be freed by
 * wire_free_client()/_server(). Returns 0, -EBADMSG (not a packet of the protocol, over budget, serial 0, a
 * string too long or not UTF-8 without control characters), -ENOMEM.
 */
int wire_decode_client(const void *data, size_t size, Pmbroker__V1__ClientPacket **ret);
int wire_decode_server(const void *data, size_t size, Pmbroker__V1__ServerPacket **ret);
Pmbroker__V1__ClientPacket *wire_free_client(Pmbroker__V1__ClientPacket *p);
Pmbroker__V1__ServerPacket *wire_free_server(Pmbroker__V1__ServerPacket *p);

/* Encode into `buf`; returns the length or -EMSGSIZE. */
ssize_t wire_encode_client(const Pmbroker__V1__ClientPacket *p, uint8_t buf[static WIRE_CLIENT_MAX]);
ssize_t wire_encode_server(const Pmbroker__V1__ServerPacket *p, uint8_t buf[static WIRE_SERVER_MAX]);
