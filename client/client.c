/* SPDX-License-Identifier: BSD-3-Clause */
/* Public: clients. */

#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "fork.h"

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
        (void)pthread_cond_destroy(&client->unpinned);
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
        (void)pthread_cond_init(&client->unpinned, NULL);
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
        (void)pthread_cond_init(&client->unpinned, NULL);
}
