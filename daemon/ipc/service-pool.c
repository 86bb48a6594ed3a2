/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a pool: create, resize, give back, destroy, revoke, resume. Each verb that needs the kernel is
 * two functions, before the job and after it. A job that ends in -ECONNRESET may or may not have been done:
 * what it reserved is given back, the client is told to try again, and when the provisioner is back its list
 * of pools is the truth (recover.c).
 */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ipc/chronicle.h"
#include "ipc/lifetime.h"
#include "ipc/poolrecord.h"
#include "ipc/service.h"
#include "log.h"
#include "proto/wire.h"

#define GRACE_SEC_MAX 86400

/* A job under way for a call. */
typedef struct PoolJob {
        Call *call;
        uint64_t pool;
        bool by_admin;
} PoolJob;

static int new_job(Call *call, const Pool *pool, bool by_admin, PoolJob **ret)
{
        PoolJob *job = calloc(1, sizeof(*job));

        if (!job)
                return -ENOMEM;
        job->call = call;
        job->pool = pool->id;
        job->by_admin = by_admin;
        *ret = job;
        return 0;
}

static void refuse(Call *call, const Refusal *refusal)
{
        char sentence[REFUSAL_SENTENCE_MAX];

        if (call->session)
                log_debug("uid %u pid %u refused: %s", call->session->peer.identity.uid,
                        call->session->peer.identity.pid, refusal_to_sentence(refusal, sentence));
        call_refuse(call, refusal);
}

/* An error between us and the provisioner, or from it. */
static void fail(Call *call, uint64_t pool, const char *what, int error)
{
        if (error == -ECONNRESET || error == -ENOTCONN || error == -ECANCELED) {
                call_refuse(call, &(Refusal){.code = RESULT_RETRY});
                return;
        }
        (void)log_errno(LOG_WARNING, error, "cannot %s pool %016" PRIx64, what, pool);
        call_fail(call, error);
}

/* Whether the provisioner has found that the store has not `bytes` more: others may have some of its memory, too. */
static bool is_full(const JobReply *reply, const Store *store, uint64_t bytes, Refusal *ret)
{
        if (reply->error != -ENOSPC || reply->used == 0)
                return false;
        *ret = (Refusal){
                .code = RESULT_STORE_FULL,
                .asked = bytes,
                .limit = store->info.capacity,
                .used = reply->used,
        };
        memcpy(ret->subject, store->info.name, sizeof(ret->subject));
        return true;
}

static void fail_or_refuse(
        Call *call, uint64_t pool, const char *what, int error, bool full, const Refusal *refusal)
{
        if (full)
                refuse(call, refusal);
        else
                fail(call, pool, what, error);
}

/* The pool, if the caller may touch it: its owner, or an administrator where `admin_too`. Otherwise the call is refused:
 * what a user may see, the user's other processes may not touch; others do not even learn that it exists. */
static Pool *find_pool(Call *call, uint64_t id, bool admin_too)
{
        const Session *s = call->session;
        Pool *pool = broker_find_pool(call->server->broker, id);
        bool seen;

        if (pool && pool->state == POOL_RESERVED)
                pool = NULL;
        if (pool && (pool->owner == s->owner || (admin_too && s->role == ROLE_ADMIN)))
                return pool;
        seen = pool && (pool->owner->uid == s->peer.identity.uid || s->role >= ROLE_OBSERVER);
        refuse(call, &(Refusal){.code = seen ? RESULT_DENIED : RESULT_NOT_FOUND});
        return NULL;
}

static void reply_size(Call *call, const Pool *pool)
{
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__PoolSize size;

        pool_describe_size(pool, pool->size, &size);
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_SIZE;
        packet.size = &size;
        call_reply(call, &packet, -EBADF);
}

static JobRequest job_for(const Pool *pool, JobKind kind)
{
        return (JobRequest){
                .kind = kind,
                .pool = pool->id,
                .store = pool->store->info.index,
                .account = tenant_account(pool->tenant),
        };
}

/* ------------------------------------------------------------------------------------------------ create */

static void reply_grant(Call *call, const Pool *pool, int fd)
{
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__PoolGrant grant = PMBROKER__V1__POOL_GRANT__INIT;

        grant.pool = pool->id;
        grant.size = pool->size;
        grant.length = pool->length;
        grant.max = pool->max;
        grant.store = (char *)(uintptr_t)pool->store->info.name;
        grant.kind = (Pmbroker__V1__StoreKind)pool->store->info.kind;
        grant.page_size = pool->store->info.page_size;
        grant.tenant = (char *)(uintptr_t)tenant_name(pool->tenant);
        grant.gifts = pool->gifts;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_GRANT;
        packet.grant = &grant;
        call_reply(call, &packet, fd);
}

static void on_created(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        _cleanup_free_ PoolJob *job = userdata;
        Server *server = job->call->server;
        Pool *pool = broker_find_pool(server->broker, job->pool);
        Refusal refusal = {0};
        int r = reply->error;

        (void)tail;
        assert(pool); /* a reserved pool waits for us */
        if (r == 0 && (*fd < 0 || reply->length < pool->size))
                r = -EBADMSG;
        if (r < 0) {
                bool full = is_full(reply, pool->store, pool->size, &refusal);
                pool_abort_create(server, pool);
                fail_or_refuse(job->call, job->pool, "create", r, full, &refusal);
                return;
        }
        broker_commit_create(server->broker, pool, reply->length);
        chronicle(server, &(Happening){.kind = PMBROKER__V1__HAPPENED_KIND__POOL_CREATED,
                                  .pool = pool,
                                  .bytes = pool->size});
        reply_grant(job->call, pool, *fd);
        pool_release_if_due(server, pool);
}

static int random_id(const Broker *broker, uint64_t *ret)
{
        uint64_t id;

        do
                if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
                        return -errno;
        while (id == 0 || broker_find_pool(broker, id));
        *ret = id;
        return 0;
}

static int start_create(Call *call, Pool *pool)
{
        Server *server = call->server;
        _cleanup_free_ PoolJob *job = NULL;
        JobRequest request = job_for(pool, JOB_CREATE);
        PoolRecord record;
        int r;

        r = pool_edge_new(pool);
        if (r < 0)
                return r;
        r = owner_watch(server, pool->owner, call->session->peer.pidfd);
        if (r < 0)
                return r;
        r = new_job(call, pool, /* by_admin= */ false, &job);
        if (r < 0)
                return r;
        pool_record_encode(pool, &record);
        request.bytes = pool->size;
        request.length = pool->size;
        request.n = sizeof(record);
        r = jobs_send(server->jobs, &call->session->user->jobs, &request, &record, sizeof(record),
                on_created, job);
        if (r < 0)
                return r;
        (void)TAKE_PTR(job);
        return 0;
}

/* Asked for again, over another session or of another broker: the pool is there. Its size may be another by now. */
static void repeat_create(Call *call, const Pool *pool, const Pmbroker__V1__CreatePool *m)
{
        if (strcmp(pool->name, m->name) != 0 ||
                (m->max != UINT64_MAX && pool->max != (m->max > 0 ? m->max : m->size)) ||
                (m->store[0] != '\0' && strcmp(pool->store->info.name, m->store) != 0))
                refuse(call, &(Refusal){.code = RESULT_REQUEST_CONFLICT});
        else if (pool->state == POOL_RESERVED)
                refuse(call, &(Refusal){.code = RESULT_BUSY});
        else
                reply_grant(call, pool, -EBADF);
}

void service_create_pool(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        const Pmbroker__V1__CreatePool *m = packet->create_pool;
        Server *server = call->server;
        Session *session = call->session;
        Refusal refusal = {0};
        uint64_t id = 0;
        Pool *pool;
        int r;

        /* A child may go on using the connection of a process that has ended: there is nobody to own a pool. */
        if (session->owner->gone) {
                refuse(call, &(Refusal){.code = RESULT_DENIED});
                return;
        }
        if (m->name[0] != '\0' && !name_is_valid(m->name)) {
                refuse(call, &(Refusal){.code = RESULT_INVALID});
                return;
        }
        pool = broker_find_request(session->owner, call->request_id);
        if (pool) {
                repeat_create(call, pool, m);
                return;
        }
        r = random_id(server->broker, &id);
        if (r < 0) {
                fail(call, 0, "find an id for a", r);
                return;
        }
        if (broker_reserve_create(server->broker,
                    &(CreateRequest){
                            .peer = &session->peer.identity,
                            .owner = session->owner,
                            .id = id,
                            .size = m->size,
                            .max = m->max,
                            .store = m->store,
                            .name = m->name,
                            .request_id = call->request_id,
                            .now_usec = server_now(server),
                    },
                    &pool, &refusal) != RESULT_OK) {
                refuse(call, &refusal);
                return;
        }
        r = start_create(call, pool);
        if (r < 0) {
                pool_abort_create(server, pool);
                fail(call, id, "create", r);
        }
}

/* -------------------------------------------------------------------------------------------------- grow */

static void on_grown(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        _cleanup_free_ PoolJob *job = userdata;
        Server *server = job->call->server;
        Pool *pool = broker_find_pool(server->broker, job->pool);
        Refusal refusal = {0};
        int r = reply->error;

        (void)tail;
        (void)fd;
        assert(pool);
        if (r == 0 && reply->length < pool->pending)
                r = -EBADMSG;
        if (r < 0) {
                bool full = is_full(reply, pool->store, pool->pending - pool->size, &refusal);
                if (r == -ECONNRESET && job->by_admin)
                        pool_edge(pool)->lost_grow = pool->pending;
                broker_abort_grow(server->broker, pool);
                fail_or_refuse(job->call, job->pool, "grow", r, full, &refusal);
        } else {
                uint64_t before = pool->size;

                broker_commit_grow(server->broker, pool, reply->length);
                chronicle(server, &(Happening){
                                          .kind = PMBROKER__V1__HAPPENED_KIND__POOL_RESIZED,
                                          .pool = pool,
                                          .bytes = pool->size,
                                          .bytes_before = before,
                                          .by = job->by_admin ? job->call->session : NULL,
                                  });
                if (job->by_admin && pool->state != POOL_RELEASING)
                        pool_tell_resized(server, pool);
                reply_size(job->call, pool);
        }
        pool_release_if_due(server, pool);
}

static void grow(Call *call, Pool *pool, uint64_t size, bool by_admin)
{
        Server *server = call->server;
        JobRequest request = job_for(pool, JOB_GROW);
        _cleanup_free_ PoolJob *job = NULL;
        Refusal refusal = {0};
        bool noop = false;
        int r;

        if (broker_reserve_grow(server->broker, pool, size, &noop, &refusal) != RESULT_OK) {
                refuse(call, &refusal);
                return;
        }
        if (noop) {
                reply_size(call, pool);
                return;
        }
        request.bytes = size;
        request.length = pool_length_for(pool, size);
        r = new_job(call, pool, by_admin, &job);
        if (r >= 0)
                r = jobs_send(server->jobs, &call->session->user->jobs, &request, NULL, 0, on_grown, job);
        if (r < 0) {
                broker_abort_grow(server->broker, pool);
                fail(call, pool->id, "grow", r);
                return;
        }
        (void)TAKE_PTR(job);
}

/* ------------------------------------------------------------------------------------------------ shrink */

static void on_shrunk(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        _cleanup_free_ PoolJob *job = userdata;
        Server *server = job->call->server;
        Pool *pool = broker_find_pool(server->broker, job->pool);

        (void)tail;
        (void)fd;
        assert(pool);
        if (reply->error < 0) {
                if (reply->error == -ECONNRESET)
                        broker_lose_shrink(server->broker, pool);
                else
                        broker_abort_shrink(server->broker, pool);
                if (reply->error ==
                        -EBUSY) /* the client uses more than it said: its affair, not ours to log */
                        call_refuse(job->call, &(Refusal){.code = RESULT_BUSY});
                else
                        fail(job->call, job->pool, "shrink", reply->error);
        } else {
                uint64_t before = pool->size;

                broker_commit_shrink(server->broker, pool, server_now(server));
                chronicle(server,
                        &(Happening){
                                .kind = PMBROKER__V1__HAPPENED_KIND__POOL_RESIZED,
                                .pool = pool,
                                .bytes = pool->size,
                                .bytes_before = before,
                                .by = pool_edge(pool)->resize_call ? pool_edge(pool)->resize_call->session
                                                                   : NULL,
                        });
                reply_size(job->call, pool);
                if (pool->state == POOL_RESIZING && pool->target > 0 && pool->size <= pool->target)
                        pool_end_target(server, pool);
        }
        pool_release_if_due(server, pool);
}

/* The ranges as the provisioner wants them, and how many units they are; false if they are not in order. */
static bool take_ranges(const Pmbroker__V1__GiveBack *m, uint64_t length,
        JobRange ranges[static JOB_RANGES_MAX], uint64_t *ret_units)
{
        uint64_t end = 0, units = 0;

        if (m->n_units == 0 || m->n_units > JOB_RANGES_MAX)
                return false;
        for (size_t i = 0; i < m->n_units; i++) {
                uint64_t first = m->units[i]->first,
                         count = m->units[i]->count; /* 32 bits each: no overflow */

                if (count == 0 || first < end || first + count > length / POOL_UNIT)
                        return false;
                end = first + count;
                units += count;
                ranges[i] = (JobRange){.first = (uint32_t)first, .count = (uint32_t)count};
        }
        *ret_units = units;
        return true;
}

void service_give_back(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        const Pmbroker__V1__GiveBack *m = packet->give_back;
        Server *server = call->server;
        Pool *pool = find_pool(call, m->pool, /* admin_too= */ false);
        JobRange ranges[JOB_RANGES_MAX];
        _cleanup_free_ PoolJob *job = NULL;
        Refusal refusal = {0};
        JobRequest request;
        uint64_t units;
        int r;

        if (!pool)
                return;
        if (!take_ranges(m, pool->length, ranges, &units)) {
                refuse(call, &(Refusal){.code = RESULT_UNITS_INVALID});
                return;
        }
        if (broker_reserve_shrink(server->broker, pool, units, &refusal) != RESULT_OK) {
                refuse(call, &refusal);
                return;
        }
        request = job_for(pool, JOB_SHRINK);
        request.bytes = pool->size - units * POOL_UNIT;
        request.length = pool->length;
        request.n = (uint32_t)m->n_units;
        r = new_job(call, pool, /* by_admin= */ false, &job);
        if (r >= 0)
                r = jobs_send(server->jobs, &call->session->user->jobs, &request, ranges,
                        m->n_units * sizeof(JobRange), on_shrunk, job);
        if (r < 0) {
                broker_abort_shrink(server->broker, pool);
                fail(call, pool->id, "shrink", r);
                return;
        }
        (void)TAKE_PTR(job);
}

/* An administrator's shrink: the owner is asked, and each GiveBack brings the pool nearer; the answer comes
 * when the target is reached or given up (lifetime.c). */
static void ask_owner(Call *call, Pool *pool, uint64_t size)
{
        Server *server = call->server;
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Reclaim reclaim = PMBROKER__V1__RECLAIM__INIT;
        Refusal refusal = {0};

        if (broker_set_target(server->broker, pool, size, server_now(server), &refusal) != RESULT_OK) {
                refuse(call, &refusal);
                return;
        }
        pool_edge(pool)->resize_call = call;
        reclaim.pool = pool->id;
        reclaim.target = size;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_RECLAIM;
        packet.reclaim = &reclaim;
        server_tell_owner(server, pool->owner, &packet, NULL);
}

void service_resize_pool(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        const Pmbroker__V1__ResizePool *m = packet->resize_pool;
        Pool *pool = find_pool(call, m->pool, /* admin_too= */ true);
        bool by_admin;

        if (!pool)
                return;
        by_admin = pool->owner != call->session->owner;
        if (m->size >= pool->size)
                grow(call, pool, m->size, by_admin);
        else if (by_admin)
                ask_owner(call, pool, m->size);
        else /* the owner knows which units are free: it gives those back */
                refuse(call, &(Refusal){.code = RESULT_INVALID,
                                     .asked = m->size,
                                     .used = pool->size,
                                     .limit = pool->max});
}

/* ----------------------------------------------------------------------------------------------- release */

void service_destroy_pool(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        Pool *pool = broker_find_pool(call->server->broker, packet->destroy_pool->pool);
        Pmbroker__V1__ServerPacket answer = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Done done = PMBROKER__V1__DONE__INIT;

        if (pool && pool->owner == call->session->owner && pool->state != POOL_RESERVED) {
                pool_release(call->server, pool, call);
                return;
        }
        /* Gone already, or never the caller's: the answer is the same. */
        answer.body_case = PMBROKER__V1__SERVER_PACKET__BODY_DONE;
        answer.done = &done;
        call_reply(call, &answer, -EBADF);
}

void service_revoke_pool(Call *call, const Pmbroker__V1__ClientPacket *packet)
{
        Pool *pool = find_pool(call, packet->revoke_pool->pool, /* admin_too= */ true);

        if (!pool)
                return;
        if (packet->revoke_pool->grace_sec > GRACE_SEC_MAX) {
                refuse(call, &(Refusal){.code = RESULT_INVALID, .asked = packet->revoke_pool->grace_sec});
                return;
        }
        if (packet->revoke_pool->grace_sec > 0 && !pool->lost && pool->state != POOL_RELEASING)
                pool_revoke_later(call->server, pool, packet->revoke_pool->grace_sec * USEC_PER_SEC, call);
        else
                pool_revoke(call->server, pool, PMBROKER__V1__REVOKE_REASON__REVOKED_BY_ADMIN, call);
}
