/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Whose turn it is: of all who wait, the one who has had the least time. Time is virtual: who comes back after a rest
 * is as far as those who went on, so that nobody saves any up, and who comes rarely is next whenever he comes. Over
 * any time in which n wait all along, each of them gets a n-th of it, however much he asks for.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/* Embedded in whoever takes turns. */
typedef struct Turn {
        uint64_t used_usec;
        List turn_link; /* Turns.waiting */
} Turn;

typedef struct Turns {
        List waiting; /* by used_usec, then by who came first */
        uint64_t now_usec;
} Turns;

void turns_init(Turns *turns);
void turn_init(Turn *turn);

bool turn_is_waiting(const Turn *turn);
/* Has something to do; nothing if it waits already. */
void turns_wait(Turns *turns, Turn *turn);
/* Has nothing to do any more; nothing if it does not wait. */
void turn_leave(Turn *turn);
/* The next, which waits no longer; NULL when nobody waits. */
Turn *turns_next(Turns *turns);
/* What it did has taken so long. */
void turns_charge(Turns *turns, Turn *turn, uint64_t usec);
