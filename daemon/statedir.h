/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What the stand-alone service puts into the file system: its directory, the lock in it, its sockets. */

#include <sys/types.h>

/*
 * Make the directory if it is not there, and lock it: whoever holds the lock serves it, so that a socket that is there can
 * only be left over. One that belongs to somebody else, or that others may write to, is refused: what is done in it is done
 * as root. Returns 0, -EBUSY (locked by another, not logged), or a negative errno (logged).
 */
int statedir_lock(const char *path, int *ret_lock_fd);

/* A listening SOCK_SEQPACKET socket with exactly this mode and, as root, owner (-1: as it comes). Logged. */
int statedir_listen(const char *path, mode_t mode, uid_t uid, gid_t gid, int *ret_fd);
