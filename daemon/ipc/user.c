/* SPDX-License-Identifier: BSD-3-Clause */

#include "ipc/user.h"

#include <errno.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* What one user may have the provisioner do at a time: enough that it is never idle for him, and little for everybody
 * else to wait for. */
#define JOBS_AT_ONCE     4
#define RELEASES_AT_ONCE 2
#define REFUSALS_PER_SEC 1
#define REFUSALS_BURST   10

typedef struct Entry {
        User user;
        UT_hash_handle hh;
} Entry;

struct Users {
        Entry *by_uid;
};

int users_new(Users **ret)
{
        Users *users = calloc(1, sizeof(*users));

        if (!users)
                return -ENOMEM;
        *ret = users;
        return 0;
}

Users *users_free(Users *users)
{
        Entry *e, *tmp;

        if (!users)
                return NULL;
        HASH_ITER(hh, users->by_uid, e, tmp)
        {
                HASH_DEL(users->by_uid, e);
                free(e);
        }
        free(users);
        return NULL;
}

static void forget_idle(Users *users, uint64_t now_usec)
{
        Entry *e, *tmp;

        HASH_ITER(hh, users->by_uid, e, tmp)
        {
                if (e->user.n_sessions > 0 || !ratelimit_is_full(&e->user.requests, now_usec))
                        continue;
                if (e->user.n_arrivals > 0 || !jobline_is_idle(&e->user.jobs) ||
                        !jobline_is_idle(&e->user.releases))
                        continue;
                HASH_DEL(users->by_uid, e);
                free(e);
        }
}

User *users_get(Users *users, uint32_t uid, uint32_t per_sec, uint32_t burst, uint64_t now_usec)
{
        Entry *e;

        HASH_FIND(hh, users->by_uid, &uid, sizeof(uid), e);
        if (e) {
                /* The configuration may have changed since. */
                ratelimit_set(&e->user.requests, per_sec, burst);
                return &e->user;
        }
        forget_idle(users, now_usec);
        e = calloc(1, sizeof(*e));
        if (!e)
                return NULL;
        e->user.uid = uid;
        ratelimit_init(&e->user.requests, per_sec, burst, now_usec);
        turn_init(&e->user.turn);
        list_init(&e->user.talking);
        list_init(&e->user.arrivals);
        jobline_init(&e->user.jobs, JOBS_AT_ONCE);
        jobline_init(&e->user.releases, RELEASES_AT_ONCE);
        ratelimit_init(&e->user.refusals, REFUSALS_PER_SEC, REFUSALS_BURST, now_usec);
        HASH_ADD(hh, users->by_uid, user.uid, sizeof(uid), e);
        if (!e->hh.tbl) { /* how uthash says that it had no memory */
                free(e);
                return NULL;
        }
        return &e->user;
}

UsersFigures users_figures(const Users *users)
{
        UsersFigures figures = {0};

        for (Entry *e = users->by_uid; e; e = e->hh.next) {
                if (e->user.n_sessions == 0)
                        continue;
                figures.n++;
                if (!figures.largest || e->user.n_sessions > figures.largest->n_sessions)
                        figures.largest = &e->user;
        }
        return figures;
}

User *users_arriving(const Users *users)
{
        for (Entry *e = users->by_uid; e; e = e->hh.next)
                if (e->user.n_arrivals > 0)
                        return &e->user;
        return NULL;
}
