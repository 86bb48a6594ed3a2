/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The journal, without waiting for it. A journald that does not read (it is stopped, or writes to a disk that does not
 * answer) must not keep clients waiting: what finds its queue full is dropped, and how much that was is what it is told
 * first when it reads again. The queue is the kernel's: net.unix.max_dgram_qlen records, or what the socket may hold.
 */

#include <stddef.h>
#include <sys/uio.h>

/* Fields of one record. */
#define JOURNAL_FIELDS_MAX 32

/*
 * Send one record of at most JOURNAL_FIELDS_MAX fields, each "NAME=value". Returns 0 (sent, or dropped and counted),
 * -EINVAL for a field with a newline in it, which would begin another one, or the negative errno of a journal that is not
 * there. Never waits. Not thread-safe.
 */
int journal_send(const struct iovec *fields, size_t n);
