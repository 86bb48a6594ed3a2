/* SPDX-License-Identifier: BSD-3-Clause */
/* Public: pools come and go. */

#include "pool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "client.h"
#include "registry.h"

int pool_new(struct pmb_client *client, uint64_t size, uint64_t max_size, bool raw, struct pmb_pool **ret)
{
        struct pmb_pool *pool;
        int r;

        pool = calloc(1, sizeof(*pool));
        if (!pool)
                return -ENOMEM;
        r = mapping_reserve(&pool->mapping, max_size, size);
        if (r < 0) {
                free(pool);
                return r;
        }
        r = arena_init(&pool->arena, pool->mapping.base, pool->mapping.reserved, raw);
        if (r < 0) {
                mapping_deinit(&pool->mapping);
                free(pool);
                return r;
        }
        pool->client = pmb_client_ref(client);
        pool->raw = raw;
        pool->max_size = pool->mapping.reserved;
        atomic_init(&pool->refuse, raw ? EINVAL : 0);
        list_init(&pool->pool_link);
        (void)pthread_mutex_init(&pool->change_lock, NULL);
        (void)pthread_mutex_init(&pool->refusal_lock, NULL);
        *ret = pool;
        return 0;
}

struct pmb_pool *pool_free(struct pmb_pool *pool)
{
        if (!pool)
                return NULL;
        registry_remove(pool);
        arena_deinit(&pool->arena);
        mapping_deinit(&pool->mapping);
        (void)pthread_mutex_destroy(&pool->refusal_lock);
        (void)pthread_mutex_destroy(&pool->change_lock);
        (void)pmb_client_unref(pool->client);
        free(pool);
        return NULL;
}

DEFINE_CLEANUP(struct pmb_pool, pool_free);

int pool_attach(struct pmb_pool *pool, int fd, uint64_t size, uint64_t length)
{
        struct stat st;
        int r;

        r = fstat(fd, &st) < 0 ? -errno : 0;
        /* Were the file shorter than it is said to be, touching it would raise SIGBUS. */
        if (r == 0 && (size == 0 || size % UNIT_SIZE || length % UNIT_SIZE || size > length ||
                              (uint64_t)st.st_size < length))
                r = -EPROTO;
        if (r < 0) {
                safe_close(fd);
                return r;
        }
        r = mapping_attach(&pool->mapping, fd, length);
        if (r < 0)
                return r;
        pool_told_size(pool, size, length);
        return registry_add(pool, pool->mapping.base, pool->mapping.reserved);
}

void pool_told_size(struct pmb_pool *pool, uint64_t size, uint64_t length)
{
        pool->size = size;
        pool->length = length;
        /* What cannot be mapped now stays unbacked here, and is tried again with the next word from the daemon. */
        (void)mapping_extend(
                &pool->mapping, length < pool->mapping.reserved ? length : pool->mapping.reserved);
        arena_lock(&pool->arena);
        units_sync(&pool->arena.units, size, pool->mapping.mapped);
        arena_unlock(&pool->arena);
}

void pool_note_refusal(struct pmb_pool *pool, const Refusal *refusal)
{
        if (refusal->code == RESULT_OK)
                return;
        (void)pthread_mutex_lock(&pool->refusal_lock);
        pool->refusal = *refusal;
        pool->full = (HeapFull){};
        (void)pthread_mutex_unlock(&pool->refusal_lock);
}

/* -------------------------------------------------------------------------------------------------------- create */

#define GRANT_ATTEMPTS 3

typedef struct Creation {
        struct pmb_pool *pool;
        int meanwhile;   /* result of what was made while the daemon was at work */
        uint64_t orphan; /* granted, but without descriptor: this was a repeated request */
} Creation;

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
        pool->id = grant->pool;
        if (grant->max > 0 && grant->max < pool->max_size)
                pool->max_size = grant->max;
        pool->page_size = grant->page_size;
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

        creation->meanwhile = pool->raw ? 0 : arena_open(&pool->arena);
        if (creation->meanwhile == 0)
                creation->meanwhile = client_start_thread(pool->client);
}

int pool_destroy_id(struct pmb_client *client, uint64_t id, unsigned call_flags)
{
        Pmbroker__V1__DestroyPool body = PMBROKER__V1__DESTROY_POOL__INIT;
        Call call = {
                .packet = PMBROKER__V1__CLIENT_PACKET__INIT,
                .flags = CALL_MUTATES | call_flags,
                .expect = PMBROKER__V1__SERVER_PACKET__BODY_DONE,
        };

        int r;

        body.pool = id;
        call.packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_DESTROY_POOL;
        call.packet.destroy_pool = &body;
        r = connection_call(&client->connection, &call);
        return r == -ENOENT ? 0 : r;
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
        body.max = pool->max_size;
        body.store = (char *)(uintptr_t)(options->store ?: "");
        body.name = pool->name;
        call.packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_CREATE_POOL;
        call.packet.create_pool = &body;

        r = connection_call(&client->connection, &call);
        for (int i = 0; r == -EUNATCH && i < GRANT_ATTEMPTS; i++) {
                /* The first answer, with the descriptor, was lost: a pool that nobody can map. Start again. */
                r = pool_destroy_id(client, creation.orphan, 0);
                if (r == 0)
                        r = connection_call(&client->connection, &call);
        }
        connection_lock(&client->connection);
        if (r == -EUNATCH) {
                client_add_orphan(client, creation.orphan);
                r = -EPROTO;
        }
        if (call.refusal.code != RESULT_OK)
                client->refusal = call.refusal;
        connection_unlock(&client->connection);
        return r < 0 ? r : creation.meanwhile;
}

/* Sizes, flags and labels that no daemon needs to be asked about. */
static int check_options(const struct pmb_pool_options *options, uint64_t *ret_size, uint64_t *ret_max)
{
        const uint64_t largest = (uint64_t)1 << 46; /* half of what a process can address */
        uint64_t size, max;

        if (options->flags & ~(uint64_t)PMB_POOL_RAW)
                return -EINVAL;
        if (options->size == 0 || options->size > largest || options->max_size > largest)
                return -EINVAL;
        if (options->name && *options->name && !name_is_valid(options->name))
                return -EINVAL;
        if (options->store && strlen(options->store) >= RESULT_SUBJECT_MAX)
                return -EINVAL;

        size = (options->size + UNIT_SIZE - 1) / UNIT_SIZE * UNIT_SIZE;
        max = (options->max_size + UNIT_SIZE - 1) / UNIT_SIZE * UNIT_SIZE;
        if (options->max_size > 0 && max < size)
                return -EINVAL;
        if (max == 0)
                max = size > GIB / 8 ? size * 8 : GIB;
        *ret_size = size;
        *ret_max = max;
        return 0;
}

int pmb_pool_create(struct pmb_client *client, const struct pmb_pool_options *options, struct pmb_pool **ret)
{
        _cleanup_(cleanup_pool_free) struct pmb_pool *pool = NULL;
        _cleanup_close_ int spare = -EBADF;
        uint64_t size = 0, max = 0;
        int r;

        r = check_options(options, &size, &max);
        if (r < 0)
                return r;

        /* A descriptor that finds no place is lost with its message: see first that there is one. */
        spare = fcntl(0, F_DUPFD_CLOEXEC, 0);
        if (spare < 0 && errno == EMFILE)
                return -EMFILE;
        spare = safe_close(spare);

        r = pool_new(client, size, max, options->flags & PMB_POOL_RAW, &pool);
        if (r < 0)
                return r;
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

/* --------------------------------------------------------------------------------------------------------- close */

struct pmb_pool *pmb_pool_close(struct pmb_pool *pool)
{
        struct pmb_client *client;
        uint64_t id = 0;

        if (!pool)
                return NULL;
        client = pool->client;
        atomic_store(&pool->closing, true);
        if (client) {
                connection_lock(&client->connection);
                if (list_is_linked(&pool->pool_link) && !client->connection.dead &&
                        atomic_load(&pool->refuse) != ESTALE)
                        id = pool->id;
                list_unlink(&pool->pool_link);
                while (pool->pins > 0)
                        (void)pthread_cond_wait(&client->unpinned, &client->connection.lock);
                connection_unlock(&client->connection);
                (void)pmb_client_ref(client);
        }

        /* First here: the daemon has less to do with a file that nobody maps any more. */
        pool_free(pool);

        if (id > 0) {
                /* If it cannot be asked now: later, or it finds out that this process has ended. */
                if (pool_destroy_id(client, id, CALL_IF_CONNECTED) < 0) {
                        connection_lock(&client->connection);
                        client_add_orphan(client, id);
                        connection_unlock(&client->connection);
                }
        }
        return pmb_client_unref(client), NULL;
}

/* --------------------------------------------------------------------------------------------------------- look */

int pmb_pool_info(struct pmb_pool *pool, struct pmb_pool_info *ret)
{
        *ret = (struct pmb_pool_info){
                .id = pool->id,
                .size = pool->size,
                .max_size = pool->max_size,
                .page_size = pool->page_size,
                .store = pool->store,
                .tenant = pool->tenant,
                .name = pool->name,
        };
        return atomic_load(&pool->refuse) == ESTALE ? -ESTALE : 0;
}

void *pmb_pool_base(struct pmb_pool *pool)
{
        return pool->mapping.base;
}

struct pmb_pool *pmb_pool_of(const void *ptr)
{
        return registry_find(ptr);
}

void pool_forked(struct pmb_pool *pool)
{
        atomic_store(&pool->refuse, ESTALE);
        atomic_store(&pool->dead, true);
        arena_forked(&pool->arena);
        mapping_forked(&pool->mapping);
        pool->pins = 0;
        (void)pthread_mutex_init(&pool->change_lock, NULL);
        (void)pthread_mutex_init(&pool->refusal_lock, NULL);
}
