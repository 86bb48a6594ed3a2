/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/bar.h"

#include <string.h>

unsigned bar_percent(uint64_t part, uint64_t whole)
{
        if (part >= whole)
                return whole == 0 && part == 0 ? 0 : 100;
        return (unsigned)((unsigned __int128)part * 100 / whole);
}

char *bar_draw(char buf[static BAR_MAX + 3], uint64_t part, uint64_t whole, unsigned width)
{
        unsigned room = width < 3 ? 1 : width - 2 > BAR_MAX ? BAR_MAX : width - 2;
        unsigned full =
                part >= whole ? (part == 0 ? 0 : room) : (unsigned)((unsigned __int128)part * room / whole);

        if (part > 0 && full == 0)
                full = 1;
        if (part < whole && full == room && room > 1)
                full = room - 1;
        buf[0] = '[';
        memset(buf + 1, '#', full);
        memset(buf + 1 + full, '-', room - full);
        buf[room + 1] = ']';
        buf[room + 2] = '\0';
        return buf;
}
