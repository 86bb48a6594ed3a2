/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What one uid has open and may ask for: sessions are counted and requests are paced per user, not per
 * process. */

#include <stddef.h>
#include <stdint.h>

#include "core/ratelimit.h"

typedef struct User User;
typedef struct Users Users;

struct User {
        uint32_t uid;
        uint32_t n_sessions;
        RateLimit requests;
        RateLimit refusals; /* that are told to the journal */
        uint64_t refusals_untold;
};

int users_new(Users **ret);
Users *users_free(Users *users);

/* Find or make; NULL when there is no memory. Users without sessions whose bucket is full are forgotten. */
User *users_get(Users *users, uint32_t uid, uint32_t per_sec, uint32_t burst, uint64_t now_usec);
