/* SPDX-License-Identifier: BSD-3-Clause */
/* ResizePool, upwards. */

#include "client/grow.h"

#include <errno.h>

#include "base/cleanup.h"
#include "client/client.h"
#include "client/gift.h"

#define STEP_MIN       (UINT64_C(8) << 20)
#define STEP_MAX       (UINT64_C(256) << 20)
#define STEP_SHARE     4 /* of the size */
#define PAUSE_MIN_USEC (USEC_PER_SEC / 10)
#define PAUSE_MAX_USEC (10 * USEC_PER_SEC)

static int on_grown(Call *call, const ServerPacket *reply, int *fd)
{
        struct pmb_pool *pool = call->userdata;

        (void)fd;
        if (reply->size->pool != pool->id)
                return -EPROTO;
        pool_told_size(pool, reply->size->size, reply->size->length);
        return 0;
}

static void set_growing(struct pmb_pool *pool, uint64_t size)
{
        connection_lock(&pool->client->connection);
        pool->growing_to = size;
        connection_unlock(&pool->client->connection);
}

int pool_grow(struct pmb_pool *pool, uint64_t size, uint64_t timeout_usec)
{
        Pmbroker__V1__ResizePool body = PMBROKER__V1__RESIZE_POOL__INIT;
        Call call = {
                .packet = PMBROKER__V1__CLIENT_PACKET__INIT,
                .flags = CALL_MUTATES,
                .expect = PMBROKER__V1__SERVER_PACKET__BODY_SIZE,
                .timeout_usec = timeout_usec,
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
        set_growing(pool, size);
        r = connection_call(&pool->client->connection, &call);
        set_growing(pool, 0);
        pool_note_refusal(pool, &call.refusal);
        return r < 0 ? r : pool->size >= size ? 0 : -EBUSY;
}

/* ---------------------------------------------------------------------------------------------- by itself */

static uint32_t units_needed(struct pmb_pool *pool, uint64_t bytes)
{
        uint32_t n;

        arena_lock(&pool->arena);
        n = units_needed_for(&pool->arena.units, bytes);
        arena_unlock(&pool->arena);
        return n;
}

uint64_t pool_grow_step(uint64_t size)
{
        uint64_t step = size / STEP_SHARE / UNIT_SIZE * UNIT_SIZE;

        return step < STEP_MIN ? STEP_MIN : step > STEP_MAX ? STEP_MAX : step;
}

static uint64_t time_left(uint64_t deadline)
{
        uint64_t now = now_usec();

        return now < deadline ? deadline - now : 1;
}

/* A refusal tells what would have been granted: between what is needed and what was wanted. */
static uint64_t permitted(struct pmb_pool *pool, uint64_t size, uint64_t least, uint64_t want)
{
        uint64_t room;

        (void)pthread_mutex_lock(&pool->refusal_lock);
        room = pool->refusal.limit > pool->refusal.used ? pool->refusal.limit - pool->refusal.used : 0;
        (void)pthread_mutex_unlock(&pool->refusal_lock);
        room = room / UNIT_SIZE * UNIT_SIZE;
        return room < want - size && room > least - size ? size + room : least;
}

/* The change lock is held. */
static int grow_for(struct pmb_pool *pool, uint64_t bytes, uint64_t deadline)
{
        uint64_t size = pool->size, least, want;
        uint32_t n = units_needed(pool, bytes);
        int r;

        if (n == 0)
                return 0; /* somebody else was here */
        if (pool_has_unsettled(pool))
                return -EAGAIN; /* which units are backed is not known: the dispatcher is asking */
        if (n > (pool->max_size - size) / UNIT_SIZE) {
                pool_note_refusal(pool, &(Refusal){.code = RESULT_POOL_MAX,
                                                .asked = size + (n == UINT32_MAX ? bytes : n * UNIT_SIZE),
                                                .limit = pool->max_size});
                return -EDQUOT;
        }
        least = size + n * UNIT_SIZE;
        want = size + pool_grow_step(size);
        if (want > pool->max_size)
                want = pool->max_size;
        if (want < least)
                want = least;

        r = pool_grow(pool, want, time_left(deadline));
        if ((r == -EDQUOT || r == -ENOSPC) && want > least)
                r = pool_grow(pool, permitted(pool, size, least, want), time_left(deadline));
        /* By more or by less than asked for, and perhaps somebody else has it by now. */
        return r < 0 ? r : units_needed(pool, bytes) == 0 ? 0 : -EAGAIN;
}

int pool_grow_for_slowly(struct pmb_pool *pool, uint64_t bytes)
{
        uint64_t deadline = now_usec() + GROW_TIMEOUT_USEC;
        struct timespec until = usec_to_timespec(deadline);
        int saved = errno, r;

        if (pthread_mutex_clocklock(&pool->change_lock, CLOCK_MONOTONIC, &until) != 0)
                return errno = saved, -ETIMEDOUT;
        /* Those who have waited for one that was refused are refused with it. */
        if (pool_is_dead(pool))
                r = -ESTALE;
        else if (now_usec() < atomic_load(&pool->grow_not_before) || now_usec() >= deadline)
                r = units_needed(pool, bytes) == 0 ? 0 : -EAGAIN;
        else {
                r = grow_for(pool, bytes, deadline);
                if (r == 0) {
                        pool->grow_pause_usec = 0;
                } else {
                        pool->grow_pause_usec =
                                pool->grow_pause_usec == 0 ? PAUSE_MIN_USEC : 2 * pool->grow_pause_usec;
                        if (pool->grow_pause_usec > PAUSE_MAX_USEC)
                                pool->grow_pause_usec = PAUSE_MAX_USEC;
                        atomic_store(&pool->grow_not_before, now_usec() + pool->grow_pause_usec);
                }
        }
        (void)pthread_mutex_unlock(&pool->change_lock);
        errno = saved;
        return r;
}
