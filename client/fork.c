/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Order of locks: the list of clients, the connections, the registry. While all of them are held no
 * descriptor of ours is opened or closed and no mapping is made, so a child inherits no mapping that was not
 * yet marked DONTFORK. Then the caches' owners and the heaps: no call into jemalloc is under way then, so that
 * the child can end the arenas. The locks of the units are not taken: resizing holds them without any of
 * these. A child makes them anew instead and never looks at what they protect.
 *
 * A pool that lives on in the child (PMB_POOL_COPY_ON_FORK) does so in memory of the child's own, which the
 * child copies from the pool's file before fork() returns. Until it is done, or has ended, the parent keeps
 * all locks, and so the file as it is but for what other threads write into their blocks: it reads from a
 * pipe that nobody writes to, and whose other end the child closes. Such a heap is emptied of what threads
 * have cached, since those threads do not live on, and the lock of its units is taken, too.
 */

#include "client/fork.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/cleanup.h"
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

static int child_done[2] = {-EBADF, -EBADF}; /* a pipe, from before fork() on until after it */
static bool want_copies;

static bool lives_on(const struct pmb_pool *pool)
{
        return pool->on_fork == ON_FORK_COPY || pool->on_fork == ON_FORK_INHERIT;
}

static void look_for_copies(struct pmb_pool *pool)
{
        want_copies = want_copies || pool->on_fork == ON_FORK_COPY;
}

static void empty_pool(struct pmb_pool *pool)
{
        if (lives_on(pool))
                heap_stop_for_fork(&pool->heap);
}

static void stop_pool(struct pmb_pool *pool)
{
        heap_before_fork(&pool->heap);
        if (lives_on(pool))
                arena_lock(&pool->arena);
}

static void resume_pool(struct pmb_pool *pool)
{
        if (lives_on(pool))
                arena_unlock(&pool->arena);
        heap_after_fork(&pool->heap);
        if (lives_on(pool))
                heap_resume_after_fork(&pool->heap);
}

static void before_fork(void)
{
        (void)pthread_mutex_lock(&clients_lock);
        for_each_client(connection_lock);
        registry_lock();
        want_copies = false;
        registry_for_each(look_for_copies);
        if (want_copies && pipe2(child_done, O_CLOEXEC) < 0)
                child_done[0] = child_done[1] = -EBADF;
        caches_before_fork();
        registry_for_each(empty_pool);
        registry_for_each(stop_pool);
}

static void go_on(void)
{
        caches_after_fork();
        registry_unlock();
        for_each_client(connection_unlock);
        (void)pthread_mutex_unlock(&clients_lock);
}

/* If there is no child, it is the end at once. */
static void wait_for_child(void)
{
        char nothing;

        child_done[1] = safe_close(child_done[1]);
        while (child_done[0] >= 0 && read(child_done[0], &nothing, 1) < 0 && errno == EINTR)
                ;
        child_done[0] = safe_close(child_done[0]);
}

static void in_parent(void)
{
        int saved = errno;

        wait_for_child();
        registry_for_each(resume_pool);
        go_on();
        errno = saved;
}

/* Without the pipe the parent does not wait, and there is nothing that could be relied on. */
static void take_over(struct pmb_pool *pool)
{
        pool_forked(pool, /* may_copy= */ child_done[1] >= 0);
}

static void in_child(void)
{
        int saved = errno;

        child_done[0] = safe_close(child_done[0]);
        registry_for_each(take_over);
        child_done[1] = safe_close(child_done[1]);
        list_for_each (it, &clients)
                client_forked(list_entry(it, struct pmb_client, client_link));
        go_on();
        errno = saved;
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
