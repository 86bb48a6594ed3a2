/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The names of users, each looked up once: a name service may be slow, and a thousand pools have few owners. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct User {
        uint32_t uid;
        char *name;
} User;

typedef struct Users {
        User *entries;
        size_t n;
        size_t room;
        bool no_names; /* they are of another host, whose users are not ours: numbers */
} Users;

/* The name, or the number as text for a uid without one. It lives until users_done(). NULL: out of memory. */
const char *users_get_name(Users *users, uint32_t uid);
void users_done(Users *users);
