/* SPDX-License-Identifier: BSD-3-Clause */
/* GiveBack, and GetPool when it was not answered. */

#include "client/gift.h"

#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "client/client.h"

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
        pool_units_changed(pool);
        pool->size = reply->size->size;
        pool->length = reply->size->length;
        pool->gifts = reply->size->gifts;
        return 0;
}

int gift_send(Gift *gift)
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

/* ------------------------------------------------------------------------------------------------ settle */

typedef struct Question {
        struct pmb_pool *pool;
        bool last; /* believe a size that may be about to change */
} Question;

/* Is something under way? A shrink that the daemon waits for looks the same as one that it carries out. */
static bool is_in_flux(const Pmbroker__V1__PoolRow *row, bool last)
{
        return row->state == PMBROKER__V1__POOL_STATE__STATE_RESIZING && !(last && row->target > 0);
}

/* There is never more than one gift that was not answered. A count that has nothing to do with ours is that of a daemon
 * that could not know it. */
static UnitsFate fate_of_gift(const struct pmb_pool *pool, const Pmbroker__V1__PoolRow *row)
{
        if (pool->gifts == 0 || row->gifts == 0)
                return UNITS_UNKNOWN;
        return row->gifts == pool->gifts       ? UNITS_KEPT
               : row->gifts == pool->gifts + 1 ? UNITS_TAKEN
                                               : UNITS_UNKNOWN;
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
        n_units = units_settle(&pool->arena.units, fate_of_gift(pool, row), row->size, pool->mapping.mapped);
        arena_unlock(&pool->arena);
        pool_units_changed(pool);
        atomic_fetch_add(&pool->given_back, n_units * UNIT_SIZE);
        pool->size = row->size;
        pool->length = row->length;
        pool->gifts = row->gifts;
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

int gift_settle(struct pmb_pool *pool)
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
