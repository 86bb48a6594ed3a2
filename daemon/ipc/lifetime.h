/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * How long things live: a pool as long as its owner process, an owner as long as it has pools or sessions.
 * Here are the watches and deadlines that end them, and the release that follows.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/broker.h"
#include "ipc/server.h"
#include "ipc/session.h"
#include "proto/pmbroker.pb-c.h"

/* What the edge keeps with a pool (Pool.userdata). */
typedef struct PoolEdge {
        Call *resize_call;  /* an administrator who waits for a shrink */
        List release_calls; /* Call.wait_link: who waits for the release's first attempt */
        bool release_running;
        uint64_t retry_at; /* usec: the next attempt at the release */
        uint64_t backoff_usec;
        uint64_t revoke_at; /* usec: when the grace that an administrator gave is over; 0: none was given */
        uint64_t
                lost_grow; /* bytes: an administrator's grow that was cut off, and may have been done; 0: none */
} PoolEdge;

/* Every pool has an edge from its reservation or adoption on. -ENOMEM. */
int pool_edge_new(Pool *pool);
PoolEdge *pool_edge(const Pool *pool);
/* Drop the edge without any further ado, at the end of the process; its calls end unanswered. */
void pool_forget(Pool *pool);

/* Watch the owner's process from its first pool on; the pidfd is borrowed (-EBADF for pid 0: nothing to
 * watch). */
int owner_watch(Server *server, Owner *owner, int pidfd);
void owner_unwatch(Owner *owner);
/* Look whether the process has ended and nobody has told us yet; then that is done now, and it is true. */
bool owner_ends(const Owner *owner);
/* A session of the owner ended. `pools_stay`: through no fault of his, so that he has all the time to come back. */
void owner_detach(Server *server, Owner *owner, bool pools_stay);
/* The process is dead (or never came back): release all its pools. */
void owner_release_pools(Server *server, Owner *owner);

/* Take back a create that failed. */
void pool_abort_create(Server *server, Pool *pool);

/* The owner is to be told that the pool is gone, and why; then release it. */
void pool_revoke(Server *server, Pool *pool, Pmbroker__V1__RevokeReason reason, Call *waiting);
/* The same for an administrator, but first the owner is told, and has so long. `waiting` is answered then, or when the
 * pool has gone by itself. */
void pool_revoke_later(Server *server, Pool *pool, uint64_t grace_usec, Call *waiting);

/* Begin to release (harmless when begun); `waiting` (or NULL) is answered after the first attempt. */
void pool_release(Server *server, Pool *pool, Call *waiting);
/* After every operation: a release that had to wait for it begins now. The pool may be gone afterwards. */
void pool_release_if_due(Server *server, Pool *pool);
/* The memory is known to be back. */
void pool_finish_release(Server *server, Pool *pool);
/* The size that the pool has, and what was wanted. */
void pool_describe_size(const Pool *pool, uint64_t target, Pmbroker__V1__PoolSize *ret);
/* Tell the owner that somebody else has changed it. */
void pool_tell_resized(Server *server, const Pool *pool);
/* A shrink has reached its target, or is given up: answer the administrator. */
void pool_end_target(Server *server, Pool *pool);

/* Once a second, and after the provisioner came back: whatever is overdue. While it is away, too: an answer that was
 * promised by a time is due then. */
void lifetime_tick(Server *server);
