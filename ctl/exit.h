/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * How pmbrokerctl ends. The functions of this directory that talk to the daemon or to the user return one of these:
 * EXIT_DONE, or another one after they said why on stderr, so that a caller only passes it up. Documented in
 * pmbrokerctl(1): scripts rely on the numbers.
 */

enum {
        EXIT_DONE = 0,
        EXIT_REFUSED =
                1, /* the daemon refused, failed, or does not speak the protocol; or we ran out of memory */
        EXIT_USAGE = 2,       /* the command line makes no sense */
        EXIT_UNREACHABLE = 3, /* no daemon there, or none that answers */
        EXIT_NO_POOL = 4,     /* no such pool, or several */
};
