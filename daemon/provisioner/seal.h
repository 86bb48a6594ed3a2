/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The seal: ext4's immutable flag. Whoever has a sealed file open can map it and store into it, and nothing else: no
 * truncate, punch, allocate or write. It binds us too: unseal, act, seal. XFS lets truncate and write pass, so nothing
 * is sealed there. How the flag acts on a mapping is not written down anywhere: fsdax-probe.c finds it out.
 */

#include <stdbool.h>

/* Takes no lock: never waits for a client. */
int seal_get(int fd, bool *ret_sealed);
/* Waits for whoever holds the lock of the inode. An O_RDONLY fd will do. -EPERM without CAP_LINUX_IMMUTABLE. */
int seal_set(int fd, bool sealed);
