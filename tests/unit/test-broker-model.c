/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Random steps, made by the broker and by a model beside it that knows nothing of receipts: it is arrays of
 * pools, and adds everything up anew whenever it wants to know. The model predicts each answer with its
 * numbers; after each step both must hold the same. MODEL_SEED=n runs once more with a seed of one's own.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/broker.h"
#include "core/tenant-internal.h"

enum {
        N_TENANTS = 5,
        N_STORES = 4,
        N_OWNERS = 6,
        N_POOLS = 40,
        N_UIDS = 4
};

typedef enum Operation {
        NONE,
        CREATING,
        GROWING,
        SHRINKING
} Operation;

typedef struct ModelTenant {
        bool configured;
        int rank; /* in the configuration */
        bool everybody;
        bool uids[N_UIDS];
        uint64_t bytes_max;
        unsigned percent;
        uint32_t pools_max;
        uint64_t pool_bytes_max;
        bool all_stores;
        bool stores[N_STORES];
} ModelTenant;

typedef struct ModelStore {
        bool configured;
        bool available;
        int rank;
        uint64_t capacity;
} ModelStore;

typedef struct ModelOwner {
        Owner *owner; /* NULL: it does not exist */
        PeerIdentity peer;
        uint64_t connection;
        unsigned n_sessions;
        uint64_t alone_since;
} ModelOwner;

typedef struct ModelPool {
        bool used;
        uint64_t id;
        int tenant;
        int store;
        int owner;
        PoolState state;
        Operation operation;
        uint64_t size;
        uint64_t pending;
        uint64_t length;
        uint64_t max;
        uint64_t target;
} ModelPool;

typedef struct Model {
        Broker *broker;
        uint64_t random;
        uint64_t now;
        uint64_t last_id;
        uint64_t refusals;
        bool lost;
        bool changes; /* of the configuration, adoption, correction: what may lead beyond a limit */
        ModelTenant tenants[N_TENANTS];
        ModelStore stores[N_STORES];
        ModelOwner owners[N_OWNERS];
        ModelPool pools[N_POOLS];
        unsigned n_answers[_RESULT_MAX];
} Model;

static const char *const tenant_names[N_TENANTS] = {"t0", "t1", "t2", "t3", "t4"};
static const char *const store_names[N_STORES] = {"s0", "s1", "s2", "s3"};

/* ----------------------------------------------------------------------------------------------- chances */

static uint64_t rnd(Model *m, uint64_t below)
{
        m->random ^= m->random << 13;
        m->random ^= m->random >> 7;
        m->random ^= m->random << 17;
        return (m->random >> 11) % below;
}

static bool one_in(Model *m, uint64_t n)
{
        return rnd(m, n) == 0;
}

static uint64_t random_size(Model *m, uint64_t units)
{
        static const uint64_t odd[] = {
                0, 1, POOL_UNIT - 1, POOL_UNIT + 1, POOL_BYTES_MAX, POOL_BYTES_MAX + POOL_UNIT, UINT64_MAX};

        if (one_in(m, 40))
                return odd[rnd(m, sizeof(odd) / sizeof(odd[0]))];
        return (1 + rnd(m, units)) * POOL_UNIT;
}

/* ------------------------------------------------------------------------------------------ adding it up */

static bool valid(uint64_t size)
{
        return size != 0 && size <= POOL_BYTES_MAX && size % POOL_UNIT == 0;
}

static uint64_t charged(const ModelPool *pool)
{
        return pool->operation == GROWING ? pool->pending : pool->size;
}

/* -1 stands for any. */
static uint64_t sum(const Model *m, int tenant, int store, uint32_t *ret_n)
{
        uint64_t bytes = 0;
        uint32_t n = 0;

        for (int i = 0; i < N_POOLS; i++) {
                const ModelPool *pool = &m->pools[i];

                if (!pool->used || (tenant >= 0 && pool->tenant != tenant) ||
                        (store >= 0 && pool->store != store))
                        continue;
                bytes += charged(pool);
                n++;
        }
        if (ret_n)
                *ret_n = n;
        return bytes;
}

static bool store_exists(const Model *m, int store)
{
        uint32_t n;

        sum(m, -1, store, &n);
        return m->stores[store].configured || n > 0;
}

static bool permitted(const Model *m, int tenant, int store)
{
        const ModelTenant *t = &m->tenants[tenant];

        return t->all_stores || t->stores[store];
}

static uint64_t percent_of(uint64_t capacity, unsigned percent)
{
        return (uint64_t)((unsigned __int128)capacity * percent / 100);
}

static Refusal no(Result code, uint64_t asked, uint64_t limit, uint64_t used, const char *subject)
{
        Refusal refusal = {.code = code, .asked = asked, .limit = limit, .used = used};

        (void)snprintf(refusal.subject, sizeof(refusal.subject), "%s", subject);
        return refusal;
}

/* What charging `more` bytes to a pool that is to have `size` would be answered. */
static Refusal check_charge(const Model *m, int tenant, int store, uint64_t size, uint64_t more, bool is_new)
{
        const ModelTenant *t = &m->tenants[tenant];
        const ModelStore *s = &m->stores[store];
        uint64_t of_tenant, of_share, of_store;
        uint32_t n;

        of_tenant = sum(m, tenant, -1, &n);
        of_share = sum(m, tenant, store, NULL);
        of_store = sum(m, -1, store, NULL);
        if (size > t->pool_bytes_max)
                return no(RESULT_QUOTA_POOL_SIZE, size, t->pool_bytes_max, 0, tenant_names[tenant]);
        if (is_new && n + 1 > t->pools_max)
                return no(RESULT_QUOTA_POOLS, 1, t->pools_max, n, tenant_names[tenant]);
        if (of_tenant + more > t->bytes_max)
                return no(RESULT_QUOTA_BYTES, more, t->bytes_max, of_tenant, tenant_names[tenant]);
        if (t->percent > 0 && of_share + more > percent_of(s->capacity, t->percent))
                return no(RESULT_QUOTA_BYTES, more, percent_of(s->capacity, t->percent), of_share,
                        tenant_names[tenant]);
        if (of_store + more > s->capacity)
                return no(RESULT_STORE_FULL, more, s->capacity, of_store, store_names[store]);
        return (Refusal){0};
}

/* ----------------------------------------------------------------------------------------- configuration */

static void shuffle(Model *m, int *order, int n)
{
        for (int i = 0; i < n; i++)
                order[i] = i;
        for (int i = n - 1; i > 0; i--) {
                int j = (int)rnd(m, (uint64_t)i + 1), swap = order[i];

                order[i] = order[j];
                order[j] = swap;
        }
}

static void set_tenants(Model *m)
{
        TenantConfig configs[N_TENANTS];
        Match matches[N_TENANTS][N_UIDS];
        const char *stores[N_TENANTS][N_STORES];
        int order[N_TENANTS];
        size_t n = 0;

        shuffle(m, order, N_TENANTS);
        for (int i = 0; i < N_TENANTS; i++) {
                ModelTenant *t = &m->tenants[order[i]];
                TenantConfig *config = &configs[n];
                size_t n_matches = 0, n_stores = 0;

                t->configured = !one_in(m, 8);
                if (!t->configured) {
                        t->bytes_max = t->percent = t->pools_max = 0;
                        t->pool_bytes_max = UINT64_MAX;
                        continue;
                }
                t->rank = (int)n;
                t->everybody = one_in(m, 4);
                for (uint32_t uid = 0; uid < N_UIDS; uid++) {
                        t->uids[uid] = one_in(m, 2);
                        if (t->uids[uid])
                                matches[n][n_matches++] = (Match){.kind = MATCH_USER, .id = uid};
                }
                if (n_matches == 0)
                        t->everybody = true;
                t->bytes_max = one_in(m, 3) ? UINT64_MAX : rnd(m, 30 * POOL_UNIT);
                t->percent = one_in(m, 2) ? 0 : 1 + (unsigned)rnd(m, 100);
                t->pools_max = one_in(m, 3) ? UINT32_MAX : (uint32_t)rnd(m, 12);
                t->pool_bytes_max = one_in(m, 3) ? UINT64_MAX : rnd(m, 12 * POOL_UNIT);
                t->all_stores = one_in(m, 3);
                for (int s = 0; s < N_STORES; s++) {
                        t->stores[s] = !one_in(m, 3);
                        if (t->stores[s])
                                stores[n][n_stores++] = store_names[s];
                }
                *config = (TenantConfig){
                        .matches = t->everybody ? NULL : matches[n],
                        .n_matches = t->everybody ? 0 : n_matches,
                        .bytes_max = t->bytes_max,
                        .percent = t->percent,
                        .pools_max = t->pools_max,
                        .pool_bytes_max = t->pool_bytes_max,
                        .stores = t->all_stores ? NULL : stores[n],
                        .n_stores = t->all_stores ? 0 : n_stores,
                };
                (void)snprintf(config->name, sizeof(config->name), "%s", tenant_names[order[i]]);
                n++;
        }
        assert_int_equal(broker_set_tenants(m->broker, configs, n), 0);
}

static void set_stores(Model *m)
{
        StoreInfo infos[N_STORES];
        int order[N_STORES];
        size_t n = 0;

        shuffle(m, order, N_STORES);
        for (int i = 0; i < N_STORES; i++) {
                ModelStore *s = &m->stores[order[i]];

                s->configured = !one_in(m, 8);
                s->available = s->configured && !one_in(m, 8);
                if (!s->configured)
                        continue;
                s->rank = (int)n;
                s->capacity = one_in(m, 20) ? UINT64_MAX : rnd(m, 40 * POOL_UNIT);
                /* So that some are equally free. */
                if (one_in(m, 2))
                        s->capacity = 20 * POOL_UNIT;
                infos[n] = (StoreInfo){
                        .available = s->available, .capacity = s->capacity, .index = (uint32_t)order[i]};
                (void)snprintf(infos[n].name, sizeof(infos[n].name), "%s", store_names[order[i]]);
                n++;
        }
        assert_int_equal(broker_set_stores(m->broker, infos, n), 0);
        m->lost = false;
}

static void stores_lost(Model *m)
{
        broker_stores_lost(m->broker);
        m->lost = true;
        for (int i = 0; i < N_STORES; i++)
                m->stores[i].available = false;
}

/* ------------------------------------------------------------------------------------------------ owners */

static unsigned pools_of(const Model *m, int owner)
{
        unsigned n = 0;

        for (int i = 0; i < N_POOLS; i++)
                if (m->pools[i].used && m->pools[i].owner == owner)
                        n++;
        return n;
}

static ModelOwner *attach(Model *m, int i)
{
        ModelOwner *o = &m->owners[i];
        Owner *owner = NULL;

        if (!o->owner) {
                /* Some are of a foreign pid namespace. */
                o->peer = (PeerIdentity){.uid = (uint32_t)i % N_UIDS, .gid = 9, .start_time = rnd(m, 5)};
                if (i % 3 != 0)
                        o->peer.pid = 100 + (uint32_t)i;
                o->connection = 1000 + (uint64_t)i;
        }
        assert_int_equal(broker_owner_attach(m->broker, &o->peer, o->connection, "model", &owner), 0);
        if (o->owner)
                assert_ptr_equal(o->owner, owner);
        o->owner = owner;
        o->n_sessions++;
        o->alone_since = 0;
        return o;
}

static void detach(Model *m, int i)
{
        ModelOwner *o = &m->owners[i];
        bool stays;

        if (o->n_sessions == 0)
                return;
        o->n_sessions--;
        if (o->n_sessions == 0)
                o->alone_since = m->now;
        stays = o->n_sessions > 0 || pools_of(m, i) > 0;
        assert_int_equal(broker_owner_detach(m->broker, o->owner, m->now), stays);
        if (!stays)
                o->owner = NULL;
}

static void forget(Model *m, ModelPool *pool)
{
        ModelOwner *o = &m->owners[pool->owner];
        bool goes;

        pool->used = false;
        goes = o->n_sessions == 0 && pools_of(m, pool->owner) == 0;
        assert_int_equal(broker_owner_collect(m->broker, o->owner), goes);
        if (goes)
                o->owner = NULL;
}

/* ------------------------------------------------------------------------------------------------- pools */

static void check_answer(Model *m, Result result, const Refusal *refusal, const Refusal *expected)
{
        m->n_answers[expected->code]++;
        assert_int_equal(result, expected->code);
        if (result == RESULT_OK)
                return;
        m->refusals++;
        assert_int_equal(refusal->code, expected->code);
        assert_int_equal(refusal->errno_value, 0);
        assert_int_equal(refusal->asked, expected->asked);
        assert_int_equal(refusal->limit, expected->limit);
        assert_int_equal(refusal->used, expected->used);
        assert_string_equal(refusal->subject, expected->subject);
}

static Pool *real(const Model *m, const ModelPool *pool)
{
        Pool *p = broker_find_pool(m->broker, pool->id);

        assert_non_null(p);
        return p;
}

static int free_slot(const Model *m)
{
        for (int i = 0; i < N_POOLS; i++)
                if (!m->pools[i].used)
                        return i;
        return -1;
}

static int match_tenant(const Model *m, uint32_t uid)
{
        int best = -1;

        for (int i = 0; i < N_TENANTS; i++) {
                const ModelTenant *t = &m->tenants[i];

                if (t->configured && (t->everybody || t->uids[uid]) &&
                        (best < 0 || t->rank < m->tenants[best].rank))
                        best = i;
        }
        return best;
}

static uint64_t free_bytes(const Model *m, int store)
{
        uint64_t used = sum(m, -1, store, NULL), capacity = m->stores[store].capacity;

        return used < capacity ? capacity - used : 0;
}

/* The candidates, best first, by insertion; returns how many. */
static int candidates(const Model *m, int tenant, int *order)
{
        int n = 0;

        for (int s = 0; s < N_STORES; s++) {
                int i;

                if (!m->stores[s].available || !permitted(m, tenant, s))
                        continue;
                for (i = n; i > 0; i--) {
                        uint64_t mine = free_bytes(m, s), other = free_bytes(m, order[i - 1]);

                        if (mine < other ||
                                (mine == other && m->stores[s].rank > m->stores[order[i - 1]].rank))
                                break;
                        order[i] = order[i - 1];
                }
                order[i] = s;
                n++;
        }
        return n;
}

static Refusal predict_create(
        const Model *m, int tenant, int named, uint64_t size, uint64_t max, int *ret_store)
{
        Refusal first = {0};
        int order[N_STORES], n;

        if (!valid(size))
                return no(RESULT_INVALID, size, 0, 0, "");
        if (max != 0 && max != BROKER_MAX_OF_QUOTA && (!valid(max) || max < size))
                return no(RESULT_INVALID, max, 0, 0, "");
        if (tenant < 0)
                return no(RESULT_NO_TENANT, 0, 0, 0, "");
        if (named >= 0) {
                if (named == N_STORES || !store_exists(m, named) || !permitted(m, tenant, named)) {
                        for (int s = 0; s < N_STORES; s++)
                                if (store_exists(m, s))
                                        return no(RESULT_STORE_UNKNOWN, 0, 0, 0, "");
                        return no(m->lost ? RESULT_RETRY : RESULT_STORE_UNKNOWN, 0, 0, 0, "");
                }
                if (!m->stores[named].available)
                        return no(m->lost ? RESULT_RETRY : RESULT_STORE_UNAVAILABLE, 0, 0, 0,
                                store_names[named]);
                *ret_store = named;
                return check_charge(m, tenant, named, size, size, /* is_new= */ true);
        }

        n = candidates(m, tenant, order);
        if (n == 0)
                return no(m->lost ? RESULT_RETRY : RESULT_STORE_UNAVAILABLE, 0, 0, 0, "");
        for (int i = 0; i < n; i++) {
                Refusal refusal = check_charge(m, tenant, order[i], size, size, /* is_new= */ true);

                *ret_store = order[i];
                if (refusal.code == RESULT_OK)
                        return refusal;
                if (i == 0)
                        first = refusal;
        }
        return first;
}

/* No limit is exceeded by what has just been granted. */
static void check_limits(const Model *m, const ModelPool *pool)
{
        const ModelTenant *t = &m->tenants[pool->tenant];
        uint32_t n;

        assert_true(sum(m, pool->tenant, -1, &n) <= t->bytes_max);
        if (pool->operation == CREATING)
                assert_true(n <= t->pools_max);
        assert_true(charged(pool) <= t->pool_bytes_max);
        assert_true(sum(m, -1, pool->store, NULL) <= m->stores[pool->store].capacity);
        if (t->percent > 0)
                assert_true(sum(m, pool->tenant, pool->store, NULL) <=
                            percent_of(m->stores[pool->store].capacity, t->percent));
}

static uint64_t random_max(Model *m)
{
        return one_in(m, 2) ? 0 : one_in(m, 4) ? BROKER_MAX_OF_QUOTA : random_size(m, 16);
}

/* What a pool of this tenant could grow to there if it were the only one, in whole units. */
static uint64_t greatest(const Model *m, int tenant, int store)
{
        const ModelTenant *t = &m->tenants[tenant];
        uint64_t capacity = m->stores[store].capacity;
        const uint64_t bounds[] = {t->bytes_max, t->pool_bytes_max, POOL_BYTES_MAX,
                t->percent > 0 ? percent_of(capacity, t->percent) : capacity};
        uint64_t max = capacity;

        for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
                if (bounds[i] < max)
                        max = bounds[i];
        return max - max % POOL_UNIT;
}

static void create(Model *m)
{
        int slot = free_slot(m), o = (int)rnd(m, N_OWNERS), named = -1, store = -1, tenant;
        uint64_t size = random_size(m, 8), max = random_max(m);
        Refusal refusal = {0}, expected;
        CreateRequest request;
        Pool *pool = NULL;
        Result result;

        if (slot < 0 || !m->owners[o].owner)
                return;
        if (one_in(m, 2))
                named = (int)rnd(m, N_STORES + 1);
        tenant = match_tenant(m, m->owners[o].peer.uid);
        expected = predict_create(m, tenant, named, size, max, &store);
        request = (CreateRequest){
                .peer = &m->owners[o].peer,
                .owner = m->owners[o].owner,
                .id = ++m->last_id,
                .size = size,
                .max = max,
                .store = named < 0           ? ""
                         : named == N_STORES ? "nowhere"
                                             : store_names[named],
                .name = "",
                .now_usec = m->now,
        };
        result = broker_reserve_create(m->broker, &request, &pool, &refusal);
        check_answer(m, result, &refusal, &expected);
        if (result != RESULT_OK) {
                assert_null(pool);
                return;
        }
        m->pools[slot] = (ModelPool){
                .used = true,
                .id = request.id,
                .tenant = tenant,
                .store = store,
                .owner = o,
                .state = POOL_RESERVED,
                .operation = CREATING,
                .size = size,
                .pending = size,
                .max = max == BROKER_MAX_OF_QUOTA ? greatest(m, tenant, store)
                       : max != 0                 ? max
                                                  : size,
        };
        check_limits(m, &m->pools[slot]);
}

static void adopt(Model *m)
{
        int slot = free_slot(m), o = (int)rnd(m, N_OWNERS), tenant = (int)rnd(m, N_TENANTS), store;
        bool releasing = one_in(m, 4);
        AdoptRequest request;
        Pool *pool = NULL;
        uint32_t n;
        int r;

        store = (int)rnd(m, N_STORES);
        if (slot < 0)
                return;
        request = (AdoptRequest){
                .id = ++m->last_id,
                .store = store_names[store],
                .tenant = tenant_names[tenant],
                .name = "found",
                .size = (1 + rnd(m, 8)) * POOL_UNIT,
                .created = m->now,
                .releasing = releasing,
        };
        request.length = request.size + rnd(m, 3) * POOL_UNIT;
        request.max = request.length + rnd(m, 8) * POOL_UNIT;
        if (releasing)
                request.size -= rnd(m, request.size);
        request.owner = attach(m, o)->owner;

        sum(m, tenant, -1, &n);
        r = broker_adopt(m->broker, &request, &pool);
        if (!store_exists(m, store)) {
                assert_int_equal(r, -ENOENT);
        } else {
                assert_int_equal(r, 0);
                if (!m->tenants[tenant].configured && n == 0) {
                        /* A new one that is known by its name only; an old one keeps its list. */
                        m->tenants[tenant].all_stores = true;
                }
                m->pools[slot] = (ModelPool){
                        .used = true,
                        .id = request.id,
                        .tenant = tenant,
                        .store = store,
                        .owner = o,
                        .state = releasing ? POOL_RELEASING : POOL_READY,
                        .size = request.size,
                        .length = request.length,
                        .max = request.max,
                };
        }
        detach(m, o);
}

static void grow(Model *m, ModelPool *pool)
{
        uint64_t size = one_in(m, 8) ? pool->size : random_size(m, 20);
        Refusal refusal = {0}, expected = {0};
        bool noop = false, expect_noop = false;
        Result result;

        if (!valid(size))
                expected = no(RESULT_INVALID, size, 0, 0, "");
        else if (size > pool->max)
                expected = no(RESULT_POOL_MAX, size, pool->max, 0, "");
        else if (pool->state != POOL_READY)
                expected = no(RESULT_BUSY, 0, 0, 0, "");
        else if (size < pool->size)
                expected = no(RESULT_INVALID, size, 0, 0, "");
        else if (size == pool->size)
                expect_noop = true;
        else if (!permitted(m, pool->tenant, pool->store))
                expected = no(RESULT_STORE_UNKNOWN, 0, 0, 0, "");
        else if (!m->stores[pool->store].available)
                expected = no(m->lost ? RESULT_RETRY : RESULT_STORE_UNAVAILABLE, 0, 0, 0,
                        store_names[pool->store]);
        else
                expected = check_charge(
                        m, pool->tenant, pool->store, size, size - pool->size, /* is_new= */ false);

        result = broker_reserve_grow(m->broker, real(m, pool), size, &noop, &refusal);
        check_answer(m, result, &refusal, &expected);
        if (result != RESULT_OK)
                return;
        assert_int_equal(noop, expect_noop);
        if (noop)
                return;
        pool->state = POOL_RESIZING;
        pool->operation = GROWING;
        pool->pending = size;
        check_limits(m, pool);
}

static void shrink(Model *m, ModelPool *pool)
{
        uint64_t units = one_in(m, 40) ? UINT64_MAX - rnd(m, 3) : rnd(m, 5);
        Refusal refusal = {0}, expected = {0};
        Result result;

        if (units == 0)
                expected = no(RESULT_INVALID, 0, 0, 0, "");
        else if (pool->operation != NONE || pool->state == POOL_RELEASING)
                expected = no(RESULT_BUSY, 0, 0, 0, "");
        else if (units >= pool->size / POOL_UNIT)
                expected = no(RESULT_INVALID, units, 0, 0, "");

        result = broker_reserve_shrink(m->broker, real(m, pool), units, &refusal);
        check_answer(m, result, &refusal, &expected);
        if (result != RESULT_OK)
                return;
        pool->state = POOL_RESIZING;
        pool->operation = SHRINKING;
        pool->pending = pool->size - units * POOL_UNIT;
}

static void set_target(Model *m, ModelPool *pool)
{
        uint64_t size = random_size(m, 8);
        Refusal refusal = {0}, expected = {0};
        Result result;

        if (!valid(size))
                expected = no(RESULT_INVALID, size, 0, 0, "");
        else if (pool->state != POOL_READY)
                expected = no(RESULT_BUSY, 0, 0, 0, "");
        else if (size >= pool->size)
                expected = no(RESULT_INVALID, size, 0, 0, "");

        result = broker_set_target(m->broker, real(m, pool), size, m->now, &refusal);
        check_answer(m, result, &refusal, &expected);
        if (result != RESULT_OK)
                return;
        pool->state = POOL_RESIZING;
        pool->target = size;
}

static void end_target(Model *m, ModelPool *pool)
{
        broker_end_target(m->broker, real(m, pool));
        if (pool->target != 0 && pool->state == POOL_RESIZING && pool->operation == NONE)
                pool->state = POOL_READY;
        pool->target = 0;
}

static void begin_release(Model *m, ModelPool *pool)
{
        bool at_once = pool->state != POOL_RELEASING && pool->operation == NONE;

        assert_int_equal(broker_begin_release(m->broker, real(m, pool)), at_once);
        pool->state = POOL_RELEASING;
        pool->target = 0;
}

static void finish_release(Model *m, ModelPool *pool)
{
        bool due = pool->state == POOL_RELEASING && pool->operation == NONE;

        assert_int_equal(broker_release_is_due(real(m, pool)), due);
        if (!due)
                return;
        broker_finish_release(m->broker, real(m, pool));
        forget(m, pool);
}

/* After a restart of the provisioner: what the kernel has is what counts. */
static void correct(Model *m, ModelPool *pool)
{
        uint64_t size = random_size(m, 8), length = random_size(m, 12);
        bool good = valid(size) && valid(length) && length >= size;

        if (pool->operation != NONE)
                return;
        assert_int_equal(broker_correct(m->broker, real(m, pool), size, length), good ? 0 : -EINVAL);
        if (!good)
                return;
        pool->size = size;
        pool->length = length;
        if (pool->max < size)
                pool->max = size;
}

static void end_operation(Model *m, ModelPool *pool)
{
        Pool *p = real(m, pool);
        bool commit = !one_in(m, 4);
        uint64_t length;

        switch (pool->operation) {
        case NONE:
                return;
        case CREATING:
                if (!commit) {
                        broker_abort_create(m->broker, p);
                        forget(m, pool);
                        return;
                }
                broker_commit_create(m->broker, p, pool->size);
                pool->length = pool->size;
                break;
        case GROWING:
                length = pool->pending > pool->length ? pool->pending : pool->length;
                assert_int_equal(pool_length_for(p, pool->pending), length);
                if (commit) {
                        broker_commit_grow(m->broker, p, length);
                        pool->size = pool->pending;
                        pool->length = length;
                } else {
                        broker_abort_grow(m->broker, p);
                }
                break;
        case SHRINKING:
                if (commit) {
                        broker_commit_shrink(m->broker, p, m->now);
                        pool->size = pool->pending;
                } else {
                        broker_abort_shrink(m->broker, p);
                }
                break;
        }
        pool->operation = NONE;
        pool->pending = 0;
        if (pool->state != POOL_RELEASING)
                pool->state = pool->target != 0 ? POOL_RESIZING : POOL_READY;
}

/* ----------------------------------------------------------------------------------------------- compare */

static void compare_pools(const Model *m)
{
        uint32_t n = 0, n_model = 0, n_releasing = 0;
        BrokerFigures figures = broker_figures(m->broker);

        list_for_each (it, broker_pools(m->broker))
                n++;
        for (int i = 0; i < N_POOLS; i++) {
                const ModelPool *pool = &m->pools[i];
                const Pool *p;

                if (!pool->used)
                        continue;
                n_model++;
                if (pool->state == POOL_RELEASING)
                        n_releasing++;
                p = real(m, pool);
                assert_int_equal(p->state, pool->state);
                assert_int_equal(p->busy, pool->operation != NONE);
                assert_int_equal(p->size, pool->size);
                assert_int_equal(p->charge.bytes, charged(pool));
                assert_int_equal(p->length, pool->length);
                assert_int_equal(p->max, pool->max);
                assert_int_equal(p->target, pool->target);
                assert_ptr_equal(p->owner, m->owners[pool->owner].owner);
                assert_string_equal(tenant_name(p->tenant), tenant_names[pool->tenant]);
                assert_string_equal(p->store->info.name, store_names[pool->store]);
        }
        assert_int_equal(n, n_model);
        assert_int_equal(figures.pools, n_model);
        assert_int_equal(figures.releasing, n_releasing);
        assert_int_equal(figures.bytes, sum(m, -1, -1, NULL));
        assert_int_equal(figures.refusals, m->refusals);
}

static void compare_stores(const Model *m)
{
        unsigned n_listed = 0, n_model = 0;

        list_for_each (it, broker_stores(m->broker))
                n_listed++;
        for (int i = 0; i < N_STORES; i++) {
                const Store *store = broker_find_store(m->broker, store_names[i]);
                uint64_t bytes;
                uint32_t n;

                if (!store_exists(m, i)) {
                        assert_null(store);
                        continue;
                }
                n_model++;
                assert_non_null(store);
                bytes = sum(m, -1, i, &n);
                assert_int_equal(store->charged, bytes);
                assert_int_equal(store->n_pools, n);
                assert_int_equal(store->info.available, m->stores[i].available);
                assert_int_equal(store->gone, !m->stores[i].configured);
                assert_int_equal(
                        store->info.index, m->stores[i].configured ? (uint32_t)i : STORE_INDEX_NONE);
                assert_int_equal(store_free_bytes(store), m->stores[i].available ? free_bytes(m, i) : 0);
        }
        assert_int_equal(n_listed, n_model);
}

static void compare_tenants(const Model *m)
{
        bool seen[N_TENANTS] = {false};
        int rank = 0;

        list_for_each (it, broker_tenants(m->broker)) {
                const Tenant *tenant = broker_tenant_from_link(it);
                uint64_t bytes;
                uint32_t n;
                int i = tenant_name(tenant)[1] - '0';

                assert_true(i >= 0 && i < N_TENANTS && !seen[i]);
                seen[i] = true;
                bytes = sum(m, i, -1, &n);
                assert_int_equal(tenant_figures(tenant).bytes, bytes);
                assert_int_equal(tenant_figures(tenant).pools, n);
                assert_int_equal(tenant->retired, !m->tenants[i].configured);
                if (m->tenants[i].configured)
                        assert_int_equal(m->tenants[i].rank, rank++);
                else
                        assert_true(n > 0);
                for (int s = 0; s < N_STORES; s++) {
                        const Store *store = broker_find_store(m->broker, store_names[s]);
                        const Share *share = store ? tenant_find_share(tenant, store) : NULL;

                        bytes = sum(m, i, s, &n);
                        assert_int_equal(share != NULL, n > 0);
                        if (share)
                                assert_int_equal(share->bytes, bytes);
                }
        }
        for (int i = 0; i < N_TENANTS; i++) {
                uint32_t n;

                sum(m, i, -1, &n);
                assert_int_equal(seen[i], m->tenants[i].configured || n > 0);
        }
}

static void compare_owners(const Model *m)
{
        unsigned n_listed = 0, n_model = 0;

        list_for_each (it, broker_owners(m->broker))
                n_listed++;
        for (int i = 0; i < N_OWNERS; i++) {
                const ModelOwner *o = &m->owners[i];
                unsigned n = 0;

                if (!o->owner)
                        continue;
                n_model++;
                assert_int_equal(o->owner->n_sessions, o->n_sessions);
                assert_int_equal(o->owner->alone_since, o->alone_since);
                list_for_each (it, &o->owner->pools)
                        n++;
                assert_int_equal(n, pools_of(m, i));
        }
        assert_int_equal(n_listed, n_model);
}

static void check_all_limits(const Model *m)
{
        for (int i = 0; i < N_POOLS; i++)
                if (m->pools[i].used)
                        check_limits(m, &m->pools[i]);
}

/* --------------------------------------------------------------------------------------------------- run */

static void step(Model *m)
{
        ModelPool *pool = &m->pools[rnd(m, N_POOLS)];
        uint64_t what = rnd(m, 100);

        m->now += 1 + rnd(m, 1000);
        if (m->changes && one_in(m, 150)) {
                switch (rnd(m, 3)) {
                case 0:
                        set_tenants(m);
                        return;
                case 1:
                        set_stores(m);
                        return;
                default:
                        stores_lost(m);
                        if (!one_in(m, 3))
                                set_stores(m);
                        return;
                }
        }
        if (m->changes && one_in(m, 60)) {
                adopt(m);
                return;
        }
        if (what < 8) {
                (void)attach(m, (int)rnd(m, N_OWNERS));
                return;
        }
        if (what < 14) {
                detach(m, (int)rnd(m, N_OWNERS));
                return;
        }
        if (!pool->used) {
                create(m);
                return;
        }
        if (m->changes && one_in(m, 50))
                correct(m, pool);
        else if (what < 45)
                end_operation(m, pool);
        else if (what < 60)
                grow(m, pool);
        else if (what < 75)
                shrink(m, pool);
        else if (what < 80)
                set_target(m, pool);
        else if (what < 84)
                end_target(m, pool);
        else if (what < 89)
                begin_release(m, pool);
        else
                finish_release(m, pool);
}

static void run(uint64_t seed, unsigned n_steps, bool changes)
{
        static const Result expected[] = {RESULT_OK, RESULT_INVALID, RESULT_STORE_FULL, RESULT_QUOTA_BYTES,
                RESULT_QUOTA_POOLS, RESULT_POOL_MAX, RESULT_BUSY};
        static const Result expected_of_changes[] = {RESULT_NO_TENANT, RESULT_STORE_UNKNOWN,
                RESULT_STORE_UNAVAILABLE, RESULT_QUOTA_POOL_SIZE, RESULT_RETRY};
        static Model model;
        Model *m = &model;

        /* A bad seed for this generator is 0 only. */
        model = (Model){.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1, .lost = true, .changes = changes};
        print_message("seed %llu\n", (unsigned long long)seed);
        assert_int_equal(broker_new(&m->broker), 0);
        do {
                set_tenants(m);
                set_stores(m);
        } while (!changes && (match_tenant(m, 0) < 0 || !m->stores[0].available));

        for (unsigned i = 0; i < n_steps; i++) {
                step(m);
                assert_true(broker_is_consistent(m->broker));
                compare_pools(m);
                compare_stores(m);
                compare_tenants(m);
                compare_owners(m);
                if (!changes)
                        check_all_limits(m);
        }

        /* A run that met nothing has shown nothing. */
        if (changes && n_steps >= 100000) {
                for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
                        assert_true(m->n_answers[expected[i]] > 100);
                for (size_t i = 0; i < sizeof(expected_of_changes) / sizeof(expected_of_changes[0]); i++)
                        assert_true(m->n_answers[expected_of_changes[i]] > 20);
        }
        broker_free(m->broker);
}

static void test_with_changes(void **state)
{
        (void)state;
        run(1, 150000, /* changes= */ true);
}

/* As long as nobody lowers a limit and nothing is adopted, none is ever exceeded. */
static void test_no_limit_is_exceeded(void **state)
{
        (void)state;
        for (uint64_t seed = 1; seed <= 20; seed++)
                run(seed, 3000, /* changes= */ false);
}

static void test_own_seed(void **state)
{
        const char *seed = getenv("MODEL_SEED");

        (void)state;
        if (!seed)
                skip();
        run(strtoull(seed, NULL, 10), 100000, /* changes= */ true);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_with_changes),
                cmocka_unit_test(test_no_limit_is_exceeded),
                cmocka_unit_test(test_own_seed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
