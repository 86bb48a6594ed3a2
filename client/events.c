/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the daemon says of its own accord. It arrives in two steps. Whoever reads applies it at once, under
 * the lock: sizes, revocations, and otherwise bits in the pool that say what is to be done. The dispatcher
 * (the library's thread, or the application) does that later, without locks, and tells the application. So
 * there is no queue that could overflow, and a second event of a kind joins the first.
 */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "client/client.h"
#include "client/pool.h"

/* ----------------------------------------------------------------------------------------------- arrival */

static struct pmb_pool *find_pool(struct pmb_client *client, uint64_t id)
{
        list_for_each (it, &client->pools) {
                struct pmb_pool *pool = list_entry(it, struct pmb_pool, pool_link);

                if (pool->id == id)
                        return pool;
        }
        return NULL;
}

void client_add_todo(struct pmb_client *client, struct pmb_pool *pool, unsigned todo)
{
        pool->todo |= todo;
        connection_kick(&client->connection);
}

static void revoke_pool(struct pmb_client *client, struct pmb_pool *pool)
{
        heap_refuse(&pool->heap, ESTALE);
        client_add_todo(client, pool, POOL_REVOKED);
}

static void on_event(void *userdata, const ServerPacket *p)
{
        struct pmb_client *client = userdata;
        struct pmb_pool *pool;

        switch (p->body_case) {
        case PMBROKER__V1__SERVER_PACKET__BODY_SIZE:
                pool = find_pool(client, p->size->pool);
                if (pool)
                        pool_told_size(pool, p->size->size, p->size->length);
                break;
        case PMBROKER__V1__SERVER_PACKET__BODY_RESIZED:
                pool = find_pool(client, p->resized->pool);
                if (pool) {
                        pool_told_size(pool, p->resized->size, p->resized->length);
                        atomic_store(&pool->grow_not_before, 0);
                        client_add_todo(client, pool, POOL_RESIZED);
                }
                break;
        case PMBROKER__V1__SERVER_PACKET__BODY_RECLAIM:
                pool = find_pool(client, p->reclaim->pool);
                if (pool) {
                        pool->reclaim_target = p->reclaim->target;
                        client_add_todo(client, pool, POOL_RECLAIM);
                }
                break;
        case PMBROKER__V1__SERVER_PACKET__BODY_REVOKING:
                pool = find_pool(client, p->revoking->pool);
                if (pool) {
                        pool->grace_usec = p->revoking->grace_usec;
                        client_add_todo(client, pool, POOL_REVOKING);
                }
                break;
        case PMBROKER__V1__SERVER_PACKET__BODY_DAMAGED:
                pool = find_pool(client, p->damaged->pool);
                if (pool && p->damaged->bytes > 0) {
                        pool->damaged_at = p->damaged->offset;
                        client_add_todo(client, pool, POOL_DAMAGED);
                }
                break;
        case PMBROKER__V1__SERVER_PACKET__BODY_REVOKED:
                pool = find_pool(client, p->revoked->pool);
                if (pool)
                        revoke_pool(client, pool);
                break;
        case PMBROKER__V1__SERVER_PACKET__BODY_CLOSING:
                client->closing = true;
                connection_kick(&client->connection);
                break;
        default:
                break;
        }
}

static const ResumedPool *find_resumed(const ResumedPool *pools, size_t n, uint64_t id)
{
        for (size_t i = 0; i < n; i++)
                if (pools[i].id == id)
                        return &pools[i];
        return NULL;
}

static void on_resumed(void *userdata, const ResumedPool *pools, size_t n)
{
        struct pmb_client *client = userdata;
        unsigned n_orphans = 0;

        list_for_each (it, &client->pools) {
                struct pmb_pool *pool = list_entry(it, struct pmb_pool, pool_link);
                const ResumedPool *resumed = find_resumed(pools, n, pool->id);

                if (!resumed || resumed->releasing) {
                        if (!pool_is_dead(pool))
                                revoke_pool(client, pool);
                } else if (pool_has_unsettled(pool)) {
                        client_add_todo(client, pool, POOL_SETTLE);
                } else if (resumed->size != pool->size) {
                        pool_told_size(pool, resumed->size, resumed->length);
                        if (resumed->size != pool->growing_to)
                                client_add_todo(client, pool, POOL_RESIZED);
                }
        }
        for (unsigned i = 0; i < client->n_orphans; i++)
                if (find_resumed(pools, n, client->orphans[i]))
                        client->orphans[n_orphans++] = client->orphans[i];
        client->n_orphans = n_orphans;
        client->reconnected = true;
}

static void on_orphan(void *userdata, uint64_t pool)
{
        client_add_orphan(userdata, pool);
}

const ConnectionHandler client_connection_handler = {
        .on_event = on_event,
        .on_resumed = on_resumed,
        .on_orphan = on_orphan,
};

void client_add_orphan(struct pmb_client *client, uint64_t pool)
{
        if (client->n_orphans < ORPHANS_MAX)
                client->orphans[client->n_orphans++] = pool;
        connection_kick(&client->connection);
}

/* ---------------------------------------------------------------------------------------------- dispatch */

/* Without the lock. */
static void tell(struct pmb_client *client, enum pmb_event_type type, struct pmb_pool *pool, uint64_t target)
{
        struct pmb_event event = {
                .type = type, .pool = pool, .size = pool ? pool->size : 0, .target = target};
        void (*handler)(const struct pmb_event *event, void *userdata);
        void *userdata;

        connection_lock(&client->connection);
        handler = client->handler;
        userdata = client->handler_userdata;
        client->telling = true;
        client->teller = pthread_self();
        connection_unlock(&client->connection);
        if (handler)
                handler(&event, userdata);
        connection_lock(&client->connection);
        client->telling = false;
        (void)pthread_cond_broadcast(&client->done);
        connection_unlock(&client->connection);
}

/* What is to be done about a pool, with what the daemon said of it. */
typedef struct Todo {
        unsigned what; /* POOL_* */
        uint64_t target;
        uint64_t grace_usec;
        uint64_t damaged_at;
} Todo;

static int handle_pool(struct pmb_client *client, struct pmb_pool *pool, const Todo *todo)
{
        int n = 0;

        if (todo->what & POOL_SETTLE)
                pool_settle(pool);
        if (todo->what & POOL_RESIZED) {
                tell(client, PMB_EVENT_RESIZED, pool, 0);
                n++;
        }
        if (todo->what & POOL_RECLAIM) {
                if (!pool->raw)
                        (void)pool_give_back_to(pool, todo->target);
                tell(client, PMB_EVENT_RECLAIM, pool, todo->target);
                n++;
        }
        if (todo->what & POOL_REVOKING) {
                tell(client, PMB_EVENT_REVOKING, pool, todo->grace_usec);
                n++;
        }
        if (todo->what & POOL_DAMAGED) {
                tell(client, PMB_EVENT_DAMAGED, pool, todo->damaged_at);
                n++;
        }
        if (todo->what & POOL_IDLE)
                pool_give_back_idle(pool);
        if (todo->what & POOL_REVOKED) {
                tell(client, PMB_EVENT_REVOKED, pool, 0);
                n++;
        }
        return n;
}

/* A pool that something is to be done about, pinned. */
static struct pmb_pool *take_pool(struct pmb_client *client, Todo *ret)
{
        list_for_each (it, &client->pools) {
                struct pmb_pool *pool = list_entry(it, struct pmb_pool, pool_link);

                if (pool->todo == 0 || !pool->ready)
                        continue;
                *ret = (Todo){
                        .what = pool->todo,
                        .target = pool->reclaim_target,
                        .grace_usec = pool->grace_usec,
                        .damaged_at = pool->damaged_at,
                };
                pool->todo = 0;
                pool->pins++;
                return pool;
        }
        return NULL;
}

static void unpin(struct pmb_client *client, struct pmb_pool *pool)
{
        if (--pool->pins == 0)
                (void)pthread_cond_broadcast(&client->done);
}

/* Lock held, as after it. Returns what it told the application, or -ENOENT when there was nothing to do. */
static int do_one(struct pmb_client *client)
{
        Connection *c = &client->connection;
        struct pmb_pool *pool;
        Todo todo;
        int n;

        if (client->closing || client->reconnected) {
                enum pmb_event_type type = client->closing ? PMB_EVENT_CLOSING : PMB_EVENT_RECONNECTED;

                *(type == PMB_EVENT_CLOSING ? &client->closing : &client->reconnected) = false;
                connection_unlock(c);
                tell(client, type, NULL, 0);
                connection_lock(c);
                return 1;
        }
        pool = take_pool(client, &todo);
        if (!pool)
                return -ENOENT;
        connection_unlock(c);
        n = handle_pool(client, pool, &todo);
        connection_lock(c);
        unpin(client, pool);
        return n;
}

/* Lock held, as after it. Those that cannot be destroyed just now get another chance in a while. */
static void destroy_orphans(struct pmb_client *client)
{
        Connection *c = &client->connection;

        while (c->fd >= 0 && client->n_orphans > 0) {
                uint64_t id = client->orphans[client->n_orphans - 1];
                int r;

                client->n_orphans--;
                connection_unlock(c);
                r = pool_destroy_id(client, id, CALL_IF_CONNECTED);
                connection_lock(c);
                if (r == -EAGAIN || r == -ETIMEDOUT || r == -ENOTCONN) {
                        client_add_orphan(client, id);
                        break;
                }
        }
}

int client_dispatch(struct pmb_client *client)
{
        Connection *c = &client->connection;
        int n = 0, k;

        connection_dispatch(c);

        connection_lock(c);
        if (c->dead) {
                connection_unlock(c);
                return -ESTALE;
        }
        destroy_orphans(client);
        while ((k = do_one(client)) >= 0)
                n += k;
        connection_rest(c, client->n_orphans > 0 ? ORPHANS_RETRY_USEC : 0);
        connection_unlock(c);
        return n;
}
