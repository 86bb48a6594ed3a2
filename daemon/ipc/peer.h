/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Who is at the other end of a socket, as the kernel tells it at accept. From then on the process is held by
 * a pidfd and named by its start time, so that a pid that is used again is never taken for it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "core/policy.h"

typedef struct Peer {
        PeerIdentity identity; /* borrows from this structure */
        int pidfd;             /* -EBADF for pid 0 */
        char command[16];      /* the process can set it: for display only */
        uint32_t *groups;
        char *unit;
        char *cgroup;
} Peer;

/*
 * `want_unit`: look up the systemd unit and cgroup path too, which costs a read of /proc. Returns 0 or a
 * negative errno; -ESRCH when the process has ended already.
 */
int peer_identify(int socket_fd, bool want_unit, Peer *ret);
void peer_deinit(Peer *peer);

/* A pidfd for a process known by pid and start time from before: -ESRCH when it is not that process any
 * more. */
int peer_open_process(uint32_t pid, uint64_t start_time);
