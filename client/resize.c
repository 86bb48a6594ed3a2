/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Public: pools grow and shrink. Shrinking is giving back whole units that hold nothing: they are cut out of the free
 * memory first, so that nothing can be placed in them while the daemon takes them away.
 */

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "client.h"
#include "clock.h"
#include "pool.h"

static void cleanup_unlock(pthread_mutex_t **m)
{
        if (*m)
                (void)pthread_mutex_unlock(*m);
}

/* One change of size at a time, to the end of the block. */
#define HOLD_CHANGE_LOCK(pool)                                                               \
        _cleanup_(cleanup_unlock) pthread_mutex_t *change_lock_held_ = &(pool)->change_lock; \
        (void)pthread_mutex_lock(change_lock_held_)

/* Why a pool cannot be resized at all, or 0. */
static int check_alive(struct pmb_pool *pool)
{
        if (atomic_load(&pool->refuse) == ESTALE)
                return -ESTALE;
        return pool->client ? 0 : -ENOTCONN;
}

/* ----------------------------------------------------------------------------------------------------- give back */

typedef struct Gift {
        struct pmb_pool *pool;
        UnitSpan spans[WIRE_UNIT_RANGES_MAX];
        unsigned n;
} Gift;

static int on_given(Call *call, const ServerPacket *reply, int *fd)
{
        Gift *gift = call->userdata;
        struct pmb_pool *pool = gift->pool;

        (void)fd;
        if (reply->size->pool != pool->id) {
                call->uncertain = true;
                return -EPROTO;
        }
        (void)mapping_extend(&pool->mapping,
                reply->size->length < pool->mapping.reserved ? reply->size->length : pool->mapping.reserved);
        arena_lock(&pool->arena);
        units_commit_give(&pool->arena.units, gift->spans, gift->n, reply->size->size, pool->mapping.mapped);
        arena_unlock(&pool->arena);
        pool->size = reply->size->size;
        pool->length = reply->size->length;
        return 0;
}

/* Returns 0 or a negative errno; -EREMCHG: no answer, and settle() has to find out. */
static int send_gift(Gift *gift)
{
        Pmbroker__V1__UnitRange ranges[WIRE_UNIT_RANGES_MAX], *pointers[WIRE_UNIT_RANGES_MAX];
        Pmbroker__V1__GiveBack body = PMBROKER__V1__GIVE_BACK__INIT;
        struct pmb_pool *pool = gift->pool;
        Call call = {
                .packet = PMBROKER__V1__CLIENT_PACKET__INIT,
                /* What was taken once must not be taken from the size again. */
                .flags = CALL_MUTATES | CALL_ONCE,
                .expect = PMBROKER__V1__SERVER_PACKET__BODY_SIZE,
                .userdata = gift,
                .on_reply = on_given,
        };
        uint32_t n_units = 0;
        int r;

        for (unsigned i = 0; i < gift->n; i++) {
                ranges[i] = (Pmbroker__V1__UnitRange)PMBROKER__V1__UNIT_RANGE__INIT;
                ranges[i].first = gift->spans[i].first;
                ranges[i].count = gift->spans[i].count;
                pointers[i] = &ranges[i];
                n_units += gift->spans[i].count;
        }
        body.pool = pool->id;
        body.n_units = gift->n;
        body.units = pointers;
        call.packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_GIVE_BACK;
        call.packet.give_back = &body;

        r = connection_call(&pool->client->connection, &call);
        if (r == 0) {
                atomic_fetch_add(&pool->given_back, n_units * UNIT_SIZE);
                return 0;
        }
        pool_note_refusal(pool, &call.refusal);
        /* What failed half-way may or may not have been taken, too. */
        if (call.uncertain || call.refusal.code == RESULT_FAILED)
                return -EREMCHG;

        connection_lock(&pool->client->connection);
        arena_lock(&pool->arena);
        units_abort_give(&pool->arena.units, gift->spans, gift->n);
        arena_unlock(&pool->arena);
        /* What was said meanwhile about the size was put off. */
        pool_told_size(pool, pool->size, pool->length);
        connection_unlock(&pool->client->connection);
        return r;
}

/* -------------------------------------------------------------------------------------------------------- settle */

typedef struct Question {
        struct pmb_pool *pool;
        bool last; /* believe a size that may be about to change */
} Question;

/* Is something under way? A shrink that the daemon waits for looks the same as one that it carries out. */
static bool is_in_flux(const Pmbroker__V1__PoolRow *row, bool last)
{
        return row->state == PMBROKER__V1__POOL_STATE__STATE_RESIZING && !(last && row->target > 0);
}

static int on_row(Call *call, const ServerPacket *reply, int *fd)
{
        Question *question = call->userdata;
        struct pmb_pool *pool = question->pool;
        const Pmbroker__V1__PoolRow *row;
        uint32_t n_units;

        (void)fd;
        if (reply->pools->n_rows != 1 || reply->pools->rows[0]->pool != pool->id)
                return -EPROTO;
        row = reply->pools->rows[0];
        if (is_in_flux(row, question->last))
                return -EAGAIN;

        (void)mapping_extend(
                &pool->mapping, row->length < pool->mapping.reserved ? row->length : pool->mapping.reserved);
        arena_lock(&pool->arena);
        n_units = units_settle(&pool->arena.units, row->size, pool->mapping.mapped);
        arena_unlock(&pool->arena);
        atomic_fetch_add(&pool->given_back, n_units * UNIT_SIZE);
        pool->size = row->size;
        pool->length = row->length;
        return 0;
}

static int ask_size(Question *question)
{
        Pmbroker__V1__GetPool body = PMBROKER__V1__GET_POOL__INIT;
        Call call = {
                .packet = PMBROKER__V1__CLIENT_PACKET__INIT,
                .expect = PMBROKER__V1__SERVER_PACKET__BODY_POOLS,
                .userdata = question,
                .on_reply = on_row,
        };

        body.pool = question->pool->id;
        call.packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_GET_POOL;
        call.packet.get_pool = &body;
        return connection_call(&question->pool->client->connection, &call);
}

/* Find out about units whose giving back was not answered. The change lock is held. */
static int settle(struct pmb_pool *pool)
{
        Question question = {.pool = pool};
        uint64_t pause = BACKOFF_MIN_USEC;
        int r = 0;

        while (pool_has_unsettled(pool)) {
                r = ask_size(&question);
                if (r != -EAGAIN || question.last)
                        break;
                (void)usleep((useconds_t)pause);
                question.last = pause == BACKOFF_MAX_USEC;
                pause = pause * 2 < BACKOFF_MAX_USEC ? pause * 2 : BACKOFF_MAX_USEC;
        }
        return r;
}

bool pool_has_unsettled(struct pmb_pool *pool)
{
        bool unsettled;

        arena_lock(&pool->arena);
        unsettled = pool->arena.units.n_giving > 0;
        arena_unlock(&pool->arena);
        return unsettled;
}

void pool_settle(struct pmb_pool *pool)
{
        HOLD_CHANGE_LOCK(pool);

        if (check_alive(pool) == 0)
                (void)settle(pool);
}

/* -------------------------------------------------------------------------------------------------------- shrink */

/* A daemon that never answers is not asked for ever. */
static uint64_t deadline_of(struct pmb_pool *pool)
{
        return now_usec() + (pool->client ? pool->client->connection.timeout_usec : 0);
}

/* One unit always stays. The change lock is held. */
static int64_t give_back_to(struct pmb_pool *pool, uint64_t target)
{
        uint64_t before = pool->given_back, given;
        uint64_t deadline = deadline_of(pool);
        int r;

        if (target < UNIT_SIZE)
                target = UNIT_SIZE;
        r = settle(pool);
        if (r == 0)
                arena_purge(&pool->arena);
        while (r == 0 && pool->size > target && !atomic_load(&pool->closing)) {
                uint64_t units = (pool->size - target + UNIT_SIZE - 1) / UNIT_SIZE;
                Gift gift = {.pool = pool};

                arena_lock(&pool->arena);
                gift.n = units_begin_give(&pool->arena.units,
                        units < UINT32_MAX ? (uint32_t)units : UINT32_MAX, gift.spans,
                        ELEMENTSOF(gift.spans));
                arena_unlock(&pool->arena);
                if (gift.n == 0)
                        break;
                r = send_gift(&gift);
                if (r == -EREMCHG)
                        r = now_usec() < deadline ? settle(pool) : -ETIMEDOUT;
        }
        given = pool->given_back - before;
        return given > 0 || r == 0 ? (int64_t)given : r;
}

int64_t pool_give_back_to(struct pmb_pool *pool, uint64_t target)
{
        HOLD_CHANGE_LOCK(pool);
        int r = check_alive(pool);

        return r < 0 ? r : give_back_to(pool, target);
}

int64_t pmb_pool_trim(struct pmb_pool *pool, uint64_t keep)
{
        HOLD_CHANGE_LOCK(pool);
        uint64_t n, stay = keep / UNIT_SIZE + (keep % UNIT_SIZE > 0);
        int r = check_alive(pool);

        if (r < 0)
                return r;
        if (pool->raw)
                return -EINVAL;
        r = settle(pool);
        if (r < 0)
                return r;
        arena_purge(&pool->arena);
        arena_lock(&pool->arena);
        n = units_count_free(&pool->arena.units);
        arena_unlock(&pool->arena);
        if (n <= stay)
                return 0;
        n = (n - stay) * UNIT_SIZE;
        return give_back_to(pool, n < pool->size ? pool->size - n : 0);
}

int pmb_pool_give_back(struct pmb_pool *pool, uint32_t first, uint32_t count)
{
        HOLD_CHANGE_LOCK(pool);
        Gift gift = {.pool = pool, .spans = {{first, count}}, .n = 1};
        uint64_t deadline = deadline_of(pool), before;
        int r = check_alive(pool);

        if (r < 0)
                return r;
        if (!pool->raw)
                return -EINVAL;
        r = settle(pool);
        before = pool->given_back;
        /* It may be taken although the answer was not heard. */
        while (r == 0 && pool->given_back == before) {
                arena_lock(&pool->arena);
                r = units_begin_give_at(&pool->arena.units, gift.spans[0]);
                arena_unlock(&pool->arena);
                if (r == 0)
                        r = send_gift(&gift);
                if (r == -EREMCHG)
                        r = now_usec() < deadline ? settle(pool) : -ETIMEDOUT;
        }
        return r;
}

/* ---------------------------------------------------------------------------------------------------------- grow */

static int on_grown(Call *call, const ServerPacket *reply, int *fd)
{
        struct pmb_pool *pool = call->userdata;

        (void)fd;
        if (reply->size->pool != pool->id)
                return -EPROTO;
        pool_told_size(pool, reply->size->size, reply->size->length);
        return 0;
}

static int grow(struct pmb_pool *pool, uint64_t size)
{
        Pmbroker__V1__ResizePool body = PMBROKER__V1__RESIZE_POOL__INIT;
        Call call = {
                .packet = PMBROKER__V1__CLIENT_PACKET__INIT,
                .flags = CALL_MUTATES,
                .expect = PMBROKER__V1__SERVER_PACKET__BODY_SIZE,
                .userdata = pool,
                .on_reply = on_grown,
        };
        int r;

        if (size > pool->max_size) {
                pool_note_refusal(
                        pool, &(Refusal){.code = RESULT_POOL_MAX, .asked = size, .limit = pool->max_size});
                return -EDQUOT;
        }
        body.pool = pool->id;
        body.size = size;
        call.packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_RESIZE_POOL;
        call.packet.resize_pool = &body;
        r = connection_call(&pool->client->connection, &call);
        pool_note_refusal(pool, &call.refusal);
        return r < 0 ? r : pool->size >= size ? 0 : -EBUSY;
}

int pmb_pool_resize(struct pmb_pool *pool, uint64_t size)
{
        HOLD_CHANGE_LOCK(pool);
        int64_t given;
        int r = check_alive(pool);

        if (r < 0)
                return r;
        if (size == 0 || size > UINT64_MAX - UNIT_SIZE)
                return -EINVAL;
        size = (size + UNIT_SIZE - 1) / UNIT_SIZE * UNIT_SIZE;
        r = settle(pool);
        if (r < 0)
                return r;
        if (size > pool->size)
                return grow(pool, size);
        if (size == pool->size)
                return 0;
        if (pool->raw)
                return -EINVAL;
        given = give_back_to(pool, size);
        if (pool->size <= size)
                return 0;
        return given < 0 ? (int)given : -EBUSY;
}
