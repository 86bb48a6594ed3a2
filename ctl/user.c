/* SPDX-License-Identifier: BSD-3-Clause */
/* The names of users. */

#include "ctl/user.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *look_up(uint32_t uid, bool no_names)
{
        const struct passwd *pw = no_names ? NULL : getpwuid(uid);
        char number[12];

        if (pw)
                return strdup(pw->pw_name);
        (void)snprintf(number, sizeof(number), "%" PRIu32, uid);
        return strdup(number);
}

const char *users_get_name(Users *u, uint32_t uid)
{
        for (size_t i = 0; i < u->n; i++)
                if (u->entries[i].uid == uid)
                        return u->entries[i].name;
        if (u->n == u->room) {
                size_t room = u->room > 0 ? u->room * 2 : 16;
                User *entries = reallocarray(u->entries, room, sizeof(*entries));

                if (!entries)
                        return NULL;
                u->entries = entries;
                u->room = room;
        }
        u->entries[u->n] = (User){.uid = uid, .name = look_up(uid, u->no_names)};
        if (!u->entries[u->n].name)
                return NULL;
        return u->entries[u->n++].name;
}

void users_done(Users *u)
{
        for (size_t i = 0; i < u->n; i++)
                free(u->entries[i].name);
        free(u->entries);
        *u = (Users){0};
}
