/* SPDX-License-Identifier: BSD-3-Clause */

#include "core/turn.h"

static Turn *turn_from_link(const List *link)
{
        return list_entry(link, Turn, turn_link);
}

void turns_init(Turns *turns)
{
        *turns = (Turns){0};
        list_init(&turns->waiting);
}

void turn_init(Turn *turn)
{
        *turn = (Turn){0};
        list_init(&turn->turn_link);
}

bool turn_is_waiting(const Turn *turn)
{
        return list_is_linked(&turn->turn_link);
}

/* From the end: who has just had his turn belongs there, or near it. */
static void enqueue(Turns *turns, Turn *turn)
{
        List *before = &turns->waiting;

        while (before->prev != &turns->waiting && turn_from_link(before->prev)->used_usec > turn->used_usec)
                before = before->prev;
        list_append(before, &turn->turn_link);
}

void turns_wait(Turns *turns, Turn *turn)
{
        if (turn_is_waiting(turn))
                return;
        if (turn->used_usec < turns->now_usec)
                turn->used_usec = turns->now_usec;
        enqueue(turns, turn);
}

void turn_leave(Turn *turn)
{
        list_unlink(&turn->turn_link);
}

Turn *turns_next(Turns *turns)
{
        Turn *turn;

        if (list_is_empty(&turns->waiting))
                return NULL;
        turn = list_first(&turns->waiting, Turn, turn_link);
        if (turn->used_usec > turns->now_usec)
                turns->now_usec = turn->used_usec;
        turn_leave(turn);
        return turn;
}

/* A turn costs something even if the clock did not move; a clock that jumps costs no more than a second. */
void turns_charge(Turns *turns, Turn *turn, uint64_t usec)
{
        const uint64_t most = 1000000;
        bool waits = turn_is_waiting(turn);

        turn_leave(turn);
        turn->used_usec += usec == 0 ? 1 : usec < most ? usec : most;
        if (waits)
                enqueue(turns, turn);
}
