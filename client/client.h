/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A client: the connection, the pools on it, and what is to be done about them. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "client/connection.h"
#include "pmbroker.h"

/*
 * Pools that the daemon keeps for us and that nobody here wants any more. Too many to remember: they end
 * with us.
 */
#define ORPHANS_MAX 64

#define ORPHANS_RETRY_USEC UINT64_C(1000000)

struct pmb_client {
        Connection connection;
        List client_link; /* in fork.c */
        atomic_uint n_refs;
        unsigned flags;
        pthread_t thread;
        bool has_thread;    /* set once, by the first pool */
        atomic_bool ending; /* the thread shall leave */

        /* all below: under the lock of the connection */
        List pools;
        pthread_cond_t done; /* a pool is unpinned, or the handler has returned */
        void (*handler)(const struct pmb_event *event, void *userdata);
        void *handler_userdata;
        bool telling; /* the handler runs, in the thread `teller` */
        pthread_t teller;
        bool reconnected; /* to be told */
        bool closing;     /* to be told, before that */
        Refusal refusal;  /* of the last request that no pool stands for */
        uint64_t orphans[ORPHANS_MAX];
        unsigned n_orphans;
};

extern const ConnectionHandler client_connection_handler; /* events.c */

/* Give up a reference; true if it was the last and the client is gone. */
bool client_release(struct pmb_client *client);

/* See to events, of the daemon's and of our own; returns how many the application was told of. */
int client_dispatch(struct pmb_client *client);

/* Make sure that somebody dispatches, now that there will be a pool. Returns 0 or a negative errno. */
int client_start_thread(struct pmb_client *client);

/* Have the dispatcher see to a pool: POOL_*. Lock held. */
void client_add_todo(struct pmb_client *client, struct pmb_pool *pool, unsigned todo);

/* Destroy that pool when there is time for it. Lock held. */
void client_add_orphan(struct pmb_client *client, uint64_t pool);

/* In a child, with the lock held. */
void client_forked(struct pmb_client *client);
