/* SPDX-License-Identifier: BSD-3-Clause */
/* Public: clients, and the thread that one may have. */

#include "client/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "client/fork.h"
#include "client/thread.h"

const char *pmb_version(void)
{
        return PMBROKER_VERSION;
}

static void client_free(struct pmb_client *client)
{
        if (client->has_thread && !client->connection.dead) {
                atomic_store(&client->ending, true);
                if (pthread_equal(client->thread, pthread_self())) {
                        /* Somebody else gave up the last but one while we were dispatching. */
                        (void)pthread_detach(client->thread);
                } else {
                        connection_lock(&client->connection);
                        connection_kick(&client->connection);
                        connection_unlock(&client->connection);
                        (void)pthread_join(client->thread, NULL);
                }
        }
        fork_forget(client);
        connection_deinit(&client->connection);
        (void)pthread_cond_destroy(&client->done);
        free(client);
}

bool client_release(struct pmb_client *client)
{
        if (atomic_fetch_sub(&client->n_refs, 1) > 1)
                return false;
        client_free(client);
        return true;
}

struct pmb_client *pmb_client_ref(struct pmb_client *client)
{
        if (client)
                (void)atomic_fetch_add(&client->n_refs, 1);
        return client;
}

struct pmb_client *pmb_client_unref(struct pmb_client *client)
{
        if (client)
                (void)client_release(client);
        return NULL;
}

DEFINE_CLEANUP(struct pmb_client, pmb_client_unref);

int pmb_client_connect(const char *socket_path, unsigned flags, struct pmb_client **ret)
{
        _cleanup_(cleanup_pmb_client_unref) struct pmb_client *client = NULL;
        Refusal refusal = {};
        int r;

        if (flags & ~(unsigned)PMB_CLIENT_NO_THREAD)
                return -EINVAL;
        if (!socket_path)
                socket_path = secure_getenv("PMBROKER_SOCKET");
        if (!socket_path || !*socket_path)
                socket_path = PMB_DEFAULT_SOCKET;

        client = calloc(1, sizeof(*client));
        if (!client)
                return -ENOMEM;
        client->flags = flags;
        atomic_init(&client->n_refs, 1);
        list_init(&client->pools);
        (void)pthread_cond_init(&client->done, NULL);
        r = connection_init(&client->connection, socket_path, &client_connection_handler, client);
        fork_remember(client);
        if (r < 0)
                return r;

        r = connection_open(&client->connection, &refusal);
        if (r < 0)
                return r;
        if (flags & PMB_CLIENT_NO_THREAD) {
                r = connection_watch(&client->connection);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(client);
        return 0;
}

int pmb_client_fd(struct pmb_client *client)
{
        return client->flags & PMB_CLIENT_NO_THREAD ? connection_fd(&client->connection) : -EINVAL;
}

int pmb_client_dispatch(struct pmb_client *client)
{
        if (!(client->flags & PMB_CLIENT_NO_THREAD))
                return -EINVAL;
        return client_dispatch(client);
}

void pmb_client_set_handler(struct pmb_client *client,
        void (*handler)(const struct pmb_event *event, void *userdata), void *userdata)
{
        connection_lock(&client->connection);
        client->handler = handler;
        client->handler_userdata = userdata;
        /* Nobody calls the old one any more, unless it is the old one that calls. */
        while (client->telling && !pthread_equal(client->teller, pthread_self()))
                (void)pthread_cond_wait(&client->done, &client->connection.lock);
        connection_unlock(&client->connection);
}

int pmb_client_explain(struct pmb_client *client, char *buf, size_t size)
{
        char sentence[REFUSAL_SENTENCE_MAX];
        Refusal refusal;

        connection_lock(&client->connection);
        refusal = client->refusal;
        connection_unlock(&client->connection);

        if (refusal.code == RESULT_OK)
                return snprintf(buf, size, "%s", "");
        return snprintf(buf, size, "%s", refusal_to_sentence(&refusal, sentence));
}

void client_forked(struct pmb_client *client)
{
        connection_forked(&client->connection);
        client->telling = client->telling && pthread_equal(client->teller, pthread_self());
        (void)pthread_cond_init(&client->done, NULL);
}

/* ------------------------------------------------------------------------------------------------ thread */

/* A reference, unless the last one was given up just now. */
static bool try_ref(struct pmb_client *client)
{
        unsigned n = atomic_load(&client->n_refs);

        while (n > 0)
                if (atomic_compare_exchange_weak(&client->n_refs, &n, n + 1))
                        return true;
        return false;
}

static void *run(void *userdata)
{
        struct pmb_client *client = userdata;

        (void)pthread_setname_np(pthread_self(), "pmbroker");
        while (!atomic_load(&client->ending)) {
                struct epoll_event e;

                (void)epoll_wait(connection_fd(&client->connection), &e, 1, -1);
                /* The application may give up its reference while we are at it. */
                if (!try_ref(client))
                        break;
                (void)client_dispatch(client);
                if (client->connection.dead) /* the handler has forked: this is the child */
                        break;
                if (client_release(client))
                        break;
        }
        return NULL;
}

int client_start_thread(struct pmb_client *client)
{
        bool start;
        int r;

        if (client->flags & PMB_CLIENT_NO_THREAD)
                return 0;
        connection_lock(&client->connection);
        start = !client->has_thread;
        client->has_thread = true;
        connection_unlock(&client->connection);
        if (!start)
                return 0;

        r = connection_watch(&client->connection);
        if (r == 0)
                r = thread_start(&client->thread, run, client);
        if (r < 0) {
                connection_lock(&client->connection);
                client->has_thread = false;
                connection_unlock(&client->connection);
        }
        return r;
}
