/* SPDX-License-Identifier: BSD-3-Clause */
/* Public: a pool is asked for, granted, and made into a heap. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "client/client.h"
#include "client/pool.h"

#define GRANT_ATTEMPTS 3

/* What a pool begins with that grows by itself, unless told otherwise. */
#define AUTO_GROW_SIZE (4 * UNIT_SIZE)

typedef struct Creation {
        struct pmb_pool *pool;
        int meanwhile;   /* result of what was made while the daemon was at work */
        uint64_t orphan; /* granted, but without descriptor: this was a repeated request */
} Creation;

static bool grant_is_valid(const Pmbroker__V1__PoolGrant *grant)
{
        return grant->size > 0 && grant->size % UNIT_SIZE == 0 && grant->length % UNIT_SIZE == 0 &&
               grant->length >= grant->size && grant->max % UNIT_SIZE == 0 &&
               (grant->max == 0 || grant->max >= grant->size);
}

static int on_grant(Call *call, const ServerPacket *reply, int *fd)
{
        const Pmbroker__V1__PoolGrant *grant = reply->grant;
        Creation *creation = call->userdata;
        struct pmb_pool *pool = creation->pool;
        int r;

        if (*fd < 0) {
                creation->orphan = grant->pool;
                return -EUNATCH;
        }
        if (!grant_is_valid(grant)) {
                client_add_orphan(pool->client, grant->pool);
                return -EPROTO;
        }
        pool->id = grant->pool;
        if (!pool->mapping.base) {
                /* How large it may become was for the daemon to say. */
                r = pool_reserve(pool, grant->size, grant->max);
                if (r < 0) {
                        client_add_orphan(pool->client, grant->pool);
                        return r;
                }
        }
        if (grant->max > 0 && grant->max < pool->max_size)
                pool->max_size = grant->max;
        pool->page_size = grant->page_size;
        pool->gifts = grant->gifts;
        (void)strncpy(pool->store, grant->store, sizeof(pool->store) - 1);
        (void)strncpy(pool->tenant, grant->tenant, sizeof(pool->tenant) - 1);
        r = pool_attach(pool, TAKE_FD(*fd), grant->size, grant->length);
        if (r < 0) {
                client_add_orphan(pool->client, grant->pool);
                return r;
        }
        list_append(&pool->client->pools, &pool->pool_link);
        return 0;
}

/* The heap and, for the first pool, the thread: together they take about as long as the daemon does. */
static void on_sent(Call *call)
{
        Creation *creation = call->userdata;
        struct pmb_pool *pool = creation->pool;

        creation->meanwhile = pool->raw || !pool->mapping.base ? 0 : heap_open(&pool->heap);
        if (creation->meanwhile == 0)
                creation->meanwhile = client_start_thread(pool->client);
}

static int ask_for_pool(struct pmb_pool *pool, uint64_t size, const struct pmb_pool_options *options)
{
        Pmbroker__V1__CreatePool body = PMBROKER__V1__CREATE_POOL__INIT;
        Creation creation = {.pool = pool};
        Call call = {
                .packet = PMBROKER__V1__CLIENT_PACKET__INIT,
                .flags = CALL_MUTATES,
                .expect = PMBROKER__V1__SERVER_PACKET__BODY_GRANT,
                .userdata = &creation,
                .on_reply = on_grant,
                .meanwhile = on_sent,
        };
        struct pmb_client *client = pool->client;
        int r;

        body.size = size;
        body.max = pool->mapping.base ? pool->max_size : WIRE_MAX_OF_QUOTA;
        body.store = (char *)(uintptr_t)(options->store ?: "");
        body.name = pool->name;
        call.packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_CREATE_POOL;
        call.packet.create_pool = &body;

        r = connection_call(&client->connection, &call);
        for (int i = 0; r == -EUNATCH && i < GRANT_ATTEMPTS; i++) {
                /*
                 * The first answer, with the descriptor, was lost: a pool that nobody can map. Start again.
                 */
                r = pool_destroy_id(client, creation.orphan, 0);
                if (r == 0) {
                        creation.orphan = 0;
                        r = connection_call(&client->connection, &call);
                }
        }
        connection_lock(&client->connection);
        if (creation.orphan > 0)
                client_add_orphan(client, creation.orphan);
        if (r == -EUNATCH)
                r = -EPROTO;
        if (call.refusal.code != RESULT_OK)
                client->refusal = call.refusal;
        connection_unlock(&client->connection);
        if (r < 0 || creation.meanwhile < 0)
                return r < 0 ? r : creation.meanwhile;
        return pool->raw || pool->arena.open ? 0 : heap_open(&pool->heap);
}

/*
 * Sizes, flags and labels that no daemon needs to be asked about. *ret_max is 0 when the quota shall say it.
 */
static int check_options(
        const struct pmb_pool_options *options, uint64_t *ret_size, uint64_t *ret_max, bool *ret_grows)
{
        const uint64_t largest = (uint64_t)1 << 46; /* half of what a process can address */
        const uint64_t known =
                PMB_POOL_RAW | PMB_POOL_AUTO_GROW | PMB_POOL_COPY_ON_FORK | PMB_POOL_SHARE_ON_FORK;
        bool grows = options->size == 0 || (options->flags & PMB_POOL_AUTO_GROW);
        uint64_t size, max;

        if (options->flags & ~known)
                return -EINVAL;
        if ((options->flags & PMB_POOL_SHARE_ON_FORK) &&
                (!(options->flags & PMB_POOL_RAW) || (options->flags & PMB_POOL_COPY_ON_FORK)))
                return -EINVAL;
        if (grows && (options->flags & PMB_POOL_RAW))
                return -EINVAL;
        if (options->size > largest || options->max_size > largest)
                return -EINVAL;
        if (options->name && *options->name && !name_is_valid(options->name))
                return -EINVAL;
        if (options->store && strlen(options->store) >= RESULT_SUBJECT_MAX)
                return -EINVAL;

        size = (options->size + UNIT_SIZE - 1) / UNIT_SIZE * UNIT_SIZE;
        max = (options->max_size + UNIT_SIZE - 1) / UNIT_SIZE * UNIT_SIZE;
        if (size == 0)
                size = max > 0 && max < AUTO_GROW_SIZE ? max : AUTO_GROW_SIZE;
        if (max > 0 && max < size)
                return -EINVAL;
        if (max == 0 && !grows)
                max = size > largest / 8 ? largest : size > GIB / 8 ? size * 8 : GIB;
        *ret_size = size;
        *ret_max = max;
        *ret_grows = grows;
        return 0;
}

int pmb_pool_create(struct pmb_client *client, const struct pmb_pool_options *options, struct pmb_pool **ret)
{
        _cleanup_(cleanup_pool_free) struct pmb_pool *pool = NULL;
        _cleanup_close_ int spare = -EBADF;
        uint64_t size = 0, max = 0;
        bool grows = false;
        int r;

        r = check_options(options, &size, &max, &grows);
        if (r < 0)
                return r;

        /* A descriptor that finds no place is lost with its message: see first that there is one. */
        spare = fcntl(0, F_DUPFD_CLOEXEC, 0);
        if (spare < 0 && errno == EMFILE)
                return -EMFILE;
        spare = safe_close(spare);

        r = pool_new(client, max > 0 ? size : 0, max, options->flags & PMB_POOL_RAW, &pool);
        if (r < 0)
                return r;
        pool->grows = grows;
        pool->on_fork = options->flags & PMB_POOL_COPY_ON_FORK    ? ON_FORK_COPY
                        : options->flags & PMB_POOL_SHARE_ON_FORK ? ON_FORK_SHARE
                                                                  : ON_FORK_DIE;
        (void)strncpy(pool->name, options->name ?: "", sizeof(pool->name) - 1);

        r = ask_for_pool(pool, size, options);
        if (r < 0) {
                (void)pmb_pool_close(TAKE_PTR(pool));
                return r;
        }
        connection_lock(&client->connection);
        pool->ready = true;
        if (pool->todo)
                connection_kick(&client->connection);
        connection_unlock(&client->connection);
        *ret = TAKE_PTR(pool);
        return 0;
}
