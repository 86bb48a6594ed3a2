/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Order of locks: the list of clients, the connections, the registry. While all of them are held no
 * descriptor of ours is opened or closed and no mapping is made, so a child inherits no mapping that was not
 * yet marked DONTFORK. Then the caches' owners and the heaps: no call into jemalloc is under way then, so that
 * the child can end the arenas. The locks of the units are not taken: resizing holds them without any of
 * these. A child makes them anew instead and never looks at what they protect.
 */

#include "client/fork.h"

#include <pthread.h>

#include "client/cache.h"
#include "client/client.h"
#include "client/pool.h"
#include "client/registry.h"

static pthread_mutex_t clients_lock = PTHREAD_MUTEX_INITIALIZER;
static List clients = LIST_INIT(clients);

static void for_each_client(void (*fn)(Connection *c))
{
        list_for_each (it, &clients)
                fn(&list_entry(it, struct pmb_client, client_link)->connection);
}

static void stop_pool(struct pmb_pool *pool)
{
        heap_before_fork(&pool->heap);
}

static void resume_pool(struct pmb_pool *pool)
{
        heap_after_fork(&pool->heap);
}

static void before_fork(void)
{
        (void)pthread_mutex_lock(&clients_lock);
        for_each_client(connection_lock);
        registry_lock();
        caches_before_fork();
        registry_for_each(stop_pool);
}

static void go_on(void)
{
        caches_after_fork();
        registry_unlock();
        for_each_client(connection_unlock);
        (void)pthread_mutex_unlock(&clients_lock);
}

static void in_parent(void)
{
        registry_for_each(resume_pool);
        go_on();
}

static void in_child(void)
{
        registry_for_each(pool_forked);
        list_for_each (it, &clients)
                client_forked(list_entry(it, struct pmb_client, client_link));
        go_on();
}

static void install_handlers(void)
{
        (void)pthread_atfork(before_fork, in_parent, in_child);
}

void fork_remember(struct pmb_client *client)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void)pthread_once(&once, install_handlers);
        (void)pthread_mutex_lock(&clients_lock);
        list_append(&clients, &client->client_link);
        (void)pthread_mutex_unlock(&clients_lock);
}

void fork_forget(struct pmb_client *client)
{
        (void)pthread_mutex_lock(&clients_lock);
        list_unlink(&client->client_link);
        (void)pthread_mutex_unlock(&clients_lock);
}
