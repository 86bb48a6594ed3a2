/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What changes the file of a pool that a client has. Runs in a worker, since each step may wait for the client; each
 * has a guard mapping of its own, and seals the file again whatever happens.
 *
 * While the file is unsealed the client can do to it what it likes, but get more than the limit of that moment. So
 * every change says what the file shall be when it is over; what is found different is set right, and a client that
 * has meddled three times in a row is told on (WORK_RACED).
 */

#include "provisioner/work.h"

/*
 * WORK_RESIZE to order->bytes: without ranges up, lowest holes first, the file to order->length; with ranges down, by
 * exactly these. -EBUSY: the numbers do not fit what is there, or the client has pinned pages in the ranges; -ENOSPC.
 * Nothing has changed then. result->bytes and ->length are what is so now.
 */
int fsdax_resize(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result);

/*
 * WORK_RELEASE. 0: the memory is back, and the file gone, or (WORK_HELD) empty and sealed until nobody has it open any
 * more. -ETIMEDOUT: somebody has pinned pages of it; it stays as it is.
 */
int fsdax_release(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result);

/* WORK_SEAL: of a file that somebody was found to have left open. WORK_UNSEALED: it really was. */
int fsdax_reseal(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result);
