/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Packets over a stream, for --host: each is preceded by its length, 32 bits, big endian. Both ends of the stream run
 * the same loop; what is in the packets is not their business. A packet with a descriptor ends it: none can come through.
 */

/*
 * Pass packets between the socket and the two ends of the stream until one of them ends. Blocks SIGPIPE's effect.
 * Returns 0 at the end, -EBADMSG for a frame or packet that is not of the protocol, or another negative errno.
 */
int relay(int socket_fd, int in_fd, int out_fd);
