/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A gift: units on their way back to the daemon. They were cut out of the free memory before, so nothing can
 * be placed in them meanwhile. A gift is sent once: to a daemon that has restarted a second one would be
 * another, and be taken from the size again. If its answer is lost, the daemon's count of gifts, or if it has none the
 * pool's size, tells what has become of it.
 *
 * The change lock of the pool is held.
 */

#include "client/pool.h"

typedef struct Gift {
        struct pmb_pool *pool;
        UnitSpan spans[WIRE_UNIT_RANGES_MAX];
        unsigned n;
} Gift;

/*
 * Send units that units_begin_give() has set aside. Returns 0: they are gone; -EREMCHG: nobody knows,
 * gift_settle() has to find out; another negative errno: they were refused, and are ours again.
 */
int gift_send(Gift *gift);

/*
 * Find out about gifts that were not answered. Returns 0 when there are none any more, -EAGAIN when the
 * daemon is still at it, or another negative errno.
 */
int gift_settle(struct pmb_pool *pool);
