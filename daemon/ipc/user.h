/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What one uid has open and may ask for: sessions are counted and requests are paced per user, not per
 * process. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/ratelimit.h"
#include "core/turn.h"
#include "ipc/jobs.h"

typedef struct User User;
typedef struct Users Users;

struct User {
        uint32_t uid;
        uint32_t n_sessions;
        RateLimit requests;
        Turn turn;     /* waits while one of the sessions has something to say */
        List talking;  /* Session.talking_link, in the order in which they have their say */
        List arrivals; /* connections that are not sessions yet (listener.c), in order */
        uint32_t n_arrivals;
        bool arrival_is_next; /* they take turns with the sessions */
        JobLine jobs;         /* on the user's pools */
        JobLine releases;     /* which may hang */
        RateLimit refusals;   /* that are told to the journal */
        uint64_t refusals_untold;
};

int users_new(Users **ret);
Users *users_free(Users *users);

/* Of all users: how many have sessions, and the one who has the most (NULL: nobody has any). */
typedef struct UsersFigures {
        uint32_t n;
        User *largest;
} UsersFigures;

UsersFigures users_figures(const Users *users);
/* One that has arrivals, or NULL. */
User *users_arriving(const Users *users);

/* Find or make; NULL when there is no memory. Users without sessions and jobs whose bucket is full are forgotten. */
User *users_get(Users *users, uint32_t uid, uint32_t per_sec, uint32_t burst, uint64_t now_usec);
