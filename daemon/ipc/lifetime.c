/* SPDX-License-Identifier: BSD-3-Clause */

#include "ipc/lifetime.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ipc/chronicle.h"
#include "log.h"

#define BACKOFF_MIN_USEC USEC_PER_SEC
#define BACKOFF_MAX_USEC (30 * USEC_PER_SEC)

/* Owner.userdata */
typedef struct OwnerWatch {
        Server *server;
        Owner *owner;
        int pidfd;
        sd_event_source *source;
} OwnerWatch;

typedef struct ReleaseJob {
        Server *server;
        uint64_t pool;
} ReleaseJob;

static void run_release(Server *server, Pool *pool);

/* ------------------------------------------------------------------------------------------------ owners */

void owner_unwatch(Owner *owner)
{
        OwnerWatch *w = owner->userdata;

        if (!w)
                return;
        owner->userdata = NULL;
        sd_event_source_disable_unref(w->source);
        safe_close(w->pidfd);
        free(w);
}

static void end_owner(OwnerWatch *w)
{
        (void)sd_event_source_set_enabled(w->source, SD_EVENT_OFF);
        broker_owner_gone(w->server->broker, w->owner);
        /* Its children may still hold its connections; they are nobody's now. */
        list_for_each (it, &w->server->sessions) {
                Session *session = list_entry(it, Session, server_link);

                if (session->owner == w->owner)
                        session_close(session);
        }
        owner_release_pools(w->server, w->owner);
}

static int on_owner_exit(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        (void)source;
        (void)fd;
        (void)events;
        end_owner(userdata);
        return 0;
}

bool owner_ends(const Owner *owner)
{
        OwnerWatch *w = owner->userdata;
        struct pollfd p = {.events = POLLIN};

        if (owner->gone || !w)
                return false;
        p.fd = w->pidfd;
        if (poll(&p, 1, 0) <= 0)
                return false;
        end_owner(w);
        return true;
}

int owner_watch(Server *server, Owner *owner, int pidfd)
{
        OwnerWatch *w;
        int r;

        if (owner->userdata || pidfd < 0)
                return 0;
        w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->server = server;
        w->owner = owner;
        w->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
        if (w->pidfd < 0) {
                r = -errno;
                free(w);
                return r;
        }
        r = sd_event_add_io(server->event, &w->source, w->pidfd, EPOLLIN, on_owner_exit, w);
        if (r < 0) {
                safe_close(w->pidfd);
                free(w);
                return r;
        }
        owner->userdata = w;
        return 0;
}

void owner_detach(Server *server, Owner *owner, bool pools_stay)
{
        if (list_is_empty(&owner->pools))
                owner_unwatch(owner);
        if (!broker_owner_detach(server->broker, owner, server_now(server)))
                return;
        if (pools_stay)
                owner->alone_since = 0;
        /* Nobody can come back as the owner when all that named it was the connection. */
        if (owner->n_sessions == 0 && owner->connection > 0)
                owner_release_pools(server, owner);
}

void owner_release_pools(Server *server, Owner *owner)
{
        /* A release may finish at once and free the pool, and with the last one the owner: keep it by a
         * session. */
        owner->n_sessions++;
        list_for_each_safe (it, &owner->pools)
                pool_release(server, list_entry(it, Pool, owner_link), NULL);
        owner->n_sessions--;
        if (list_is_empty(&owner->pools)) {
                owner_unwatch(owner);
                (void)broker_owner_collect(server->broker, owner);
        }
}

/* ------------------------------------------------------------------------------------------------- pools */

int pool_edge_new(Pool *pool)
{
        PoolEdge *edge = calloc(1, sizeof(*edge));

        if (!edge)
                return -ENOMEM;
        list_init(&edge->release_calls);
        pool->userdata = edge;
        return 0;
}

PoolEdge *pool_edge(const Pool *pool)
{
        return pool->userdata;
}

void pool_forget(Pool *pool)
{
        PoolEdge *edge = pool_edge(pool);

        if (!edge)
                return;
        pool->userdata = NULL;
        list_for_each_safe (it, &edge->release_calls)
                free(list_entry(it, Call, wait_link));
        free(edge->resize_call);
        free(edge);
}

static void collect_owner(Server *server, Owner *owner)
{
        if (!list_is_empty(&owner->pools))
                return;
        owner_unwatch(owner);
        (void)broker_owner_collect(server->broker, owner);
}

void pool_abort_create(Server *server, Pool *pool)
{
        Owner *owner = pool->owner;

        free(pool->userdata);
        pool->userdata = NULL;
        broker_abort_create(server->broker, pool);
        collect_owner(server, owner);
}

void pool_describe_size(const Pool *pool, uint64_t target, Pmbroker__V1__PoolSize *ret)
{
        pmbroker__v1__pool_size__init(ret);
        ret->pool = pool->id;
        ret->size = pool->size;
        ret->length = pool->length;
        ret->target = target;
        ret->gifts = pool->gifts;
}

void pool_tell_resized(Server *server, const Pool *pool)
{
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__PoolSize size;

        pool_describe_size(pool, pool->size, &size);
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_RESIZED;
        packet.resized = &size;
        server_tell_owner(server, pool->owner, &packet, NULL);
}

void pool_end_target(Server *server, Pool *pool)
{
        PoolEdge *edge = pool_edge(pool);
        Call *call = TAKE_PTR(edge->resize_call);
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__PoolSize size;

        pool_describe_size(pool, pool->target, &size);
        broker_end_target(server->broker, pool);
        if (!call)
                return;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_SIZE;
        packet.size = &size;
        call_reply(call, &packet, -EBADF);
}

/* --------------------------------------------------------------------------------------------- releasing */

typedef enum ReleaseFate {
        RELEASE_DONE,
        RELEASE_BEGUN,   /* and recorded: it will not come back */
        RELEASE_UNKNOWN, /* we know that it is to be, but the next broker might not */
} ReleaseFate;

static void answer_waiting(PoolEdge *edge, ReleaseFate fate)
{
        list_for_each_safe (it, &edge->release_calls) {
                Call *call = list_entry(it, Call, wait_link);
                Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
                Pmbroker__V1__Done done = PMBROKER__V1__DONE__INIT;

                list_unlink(it);
                if (fate == RELEASE_UNKNOWN) {
                        call_refuse(call, &(Refusal){.code = RESULT_RETRY});
                        continue;
                }
                done.releasing = fate == RELEASE_BEGUN;
                packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_DONE;
                packet.done = &done;
                call_reply(call, &packet, -EBADF);
        }
}

void pool_finish_release(Server *server, Pool *pool)
{
        PoolEdge *edge = pool_edge(pool);
        Owner *owner = pool->owner;

        answer_waiting(edge, RELEASE_DONE);
        if (pool->release_attempts > 1)
                log_info("pool %016" PRIx64 ": released at attempt %" PRIu64, pool->id,
                        pool->release_attempts);
        chronicle(server, &(Happening){
                                  .kind = PMBROKER__V1__HAPPENED_KIND__POOL_RELEASED,
                                  .pool = pool,
                                  .bytes_before = pool->size,
                          });
        free(edge);
        pool->userdata = NULL;
        broker_finish_release(server->broker, pool);
        collect_owner(server, owner);
}

static void release_later(Server *server, Pool *pool, ReleaseFate fate)
{
        PoolEdge *edge = pool_edge(pool);

        answer_waiting(edge, fate);
        edge->backoff_usec = edge->backoff_usec == 0 ? BACKOFF_MIN_USEC : edge->backoff_usec * 2;
        if (edge->backoff_usec > BACKOFF_MAX_USEC)
                edge->backoff_usec = BACKOFF_MAX_USEC;
        edge->retry_at = server_now(server) + edge->backoff_usec;
}

static void on_released(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        _cleanup_free_ ReleaseJob *job = userdata;
        Pool *pool = broker_find_pool(job->server->broker, job->pool);

        (void)tail;
        (void)fd;
        if (!pool)
                return;
        pool_edge(pool)->release_running = false;
        if (reply->error == 0) {
                pool_finish_release(job->server, pool);
                return;
        }
        if (pool->release_attempts == 1 && reply->error == -ETIMEDOUT)
                log_notice("pool %016" PRIx64
                           " of uid %u in store %s: somebody still holds its memory, it stays charged",
                        pool->id, pool->owner->uid, pool->store->info.name);
        else if (reply->error != -ECONNRESET && reply->error != -ECANCELED && reply->error != -ETIMEDOUT)
                (void)log_errno(LOG_WARNING, reply->error,
                        "cannot release pool %016" PRIx64 " in store %s, trying again", pool->id,
                        pool->store->info.name);
        /* It says so only of a release that it has noted down. */
        release_later(job->server, pool, reply->error == -ETIMEDOUT ? RELEASE_BEGUN : RELEASE_UNKNOWN);
}

static void run_release(Server *server, Pool *pool)
{
        PoolEdge *edge = pool_edge(pool);
        JobRequest request = {
                .kind = JOB_RELEASE,
                .bytes = pool->owner->gone ? JOB_RELEASE_FINAL : JOB_RELEASE_REVOKED,
                .pool = pool->id,
                .store = pool->store->info.index,
                .account = tenant_account(pool->tenant),
        };
        ReleaseJob *job;
        User *user;
        int r;

        if (edge->release_running)
                return;
        if (!pool->store->info.available) {
                release_later(server, pool, RELEASE_UNKNOWN);
                return;
        }
        user = server_user(server, pool->owner->uid);
        job = user ? calloc(1, sizeof(*job)) : NULL;
        if (!job) {
                release_later(server, pool, RELEASE_UNKNOWN);
                return;
        }
        job->server = server;
        job->pool = pool->id;
        pool->release_attempts++;
        r = jobs_send(server->jobs, &user->releases, &request, NULL, 0, on_released, job);
        if (r < 0) {
                free(job);
                release_later(server, pool, RELEASE_UNKNOWN);
                return;
        }
        edge->release_running = true;
}

void pool_release(Server *server, Pool *pool, Call *waiting)
{
        PoolEdge *edge = pool_edge(pool);

        if (waiting)
                list_append(&edge->release_calls, &waiting->wait_link);
        if (edge->resize_call)
                call_refuse(TAKE_PTR(edge->resize_call), &(Refusal){.code = RESULT_NOT_FOUND});
        /* One that has begun and waits is tried again when somebody asks, or when the owner has gone. */
        if (broker_begin_release(server->broker, pool) ||
                ((waiting || pool->owner->gone) && broker_release_is_due(pool)))
                run_release(server, pool);
}

void pool_release_if_due(Server *server, Pool *pool)
{
        if (broker_release_is_due(pool))
                run_release(server, pool);
}

static const char *reason_to_string(Pmbroker__V1__RevokeReason reason)
{
        switch (reason) {
        case PMBROKER__V1__REVOKE_REASON__REVOKED_BY_ADMIN:
                return "by an administrator";
        case PMBROKER__V1__REVOKE_REASON__REVOKED_OVER_LIMIT:
                return "it had more than its limit";
        case PMBROKER__V1__REVOKE_REASON__REVOKED_LOST:
                return "its store does not have it any more";
        default:
                return "for an unknown reason";
        }
}

void pool_revoke_later(Server *server, Pool *pool, uint64_t grace_usec, Call *waiting)
{
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Revoking revoking = PMBROKER__V1__REVOKING__INIT;
        PoolEdge *edge = pool_edge(pool);
        char text[40];

        edge->revoke_at = server_now(server) + grace_usec;
        (void)snprintf(text, sizeof(text), "in %" PRIu64 " s", grace_usec / USEC_PER_SEC);
        chronicle(server, &(Happening){
                                  .kind = PMBROKER__V1__HAPPENED_KIND__POOL_REVOKING,
                                  .pool = pool,
                                  .bytes = pool->size,
                                  .bytes_before = pool->size,
                                  .by = waiting->session,
                                  .text = text,
                          });
        list_append(&edge->release_calls, &waiting->wait_link);
        revoking.pool = pool->id;
        revoking.grace_usec = grace_usec;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_REVOKING;
        packet.revoking = &revoking;
        server_tell_owner(server, pool->owner, &packet, NULL);
}

void pool_revoke(Server *server, Pool *pool, Pmbroker__V1__RevokeReason reason, Call *waiting)
{
        if (!pool->lost && pool->state != POOL_RELEASING) {
                Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
                Pmbroker__V1__Revoked revoked = PMBROKER__V1__REVOKED__INIT;

                pool->lost = true;
                chronicle(server, &(Happening){
                                          .kind = PMBROKER__V1__HAPPENED_KIND__POOL_REVOKED,
                                          .pool = pool,
                                          .bytes = pool->size,
                                          .bytes_before = pool->size,
                                          .by = waiting ? waiting->session : NULL,
                                          .text = reason_to_string(reason),
                                  });
                revoked.pool = pool->id;
                revoked.reason = reason;
                packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_REVOKED;
                packet.revoked = &revoked;
                server_tell_owner(server, pool->owner, &packet, NULL);
        }
        pool_release(server, pool, waiting);
}

/* --------------------------------------------------------------------------------------------- deadlines */

static void remind_of_target(Server *server, Pool *pool, uint64_t now)
{
        Pmbroker__V1__ServerPacket packet = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Reclaim reclaim = PMBROKER__V1__RECLAIM__INIT;

        if (pool->busy)
                return;
        if (now - pool->target_since >= server->limits.shrink_usec) {
                char has[FORMAT_SIZE_MAX], wanted[FORMAT_SIZE_MAX];

                log_info("pool %016" PRIx64
                         ": its owner gives nothing more back, the shrink ends at %s of %s wanted",
                        pool->id, format_size(has, pool->size), format_size(wanted, pool->target));
                pool_end_target(server, pool);
                return;
        }
        if (!server->ready) /* nobody would take it */
                return;
        reclaim.pool = pool->id;
        reclaim.target = pool->target;
        packet.body_case = PMBROKER__V1__SERVER_PACKET__BODY_RECLAIM;
        packet.reclaim = &reclaim;
        server_tell_owner(server, pool->owner, &packet, NULL);
}

void lifetime_tick(Server *server)
{
        uint64_t now = server_now(server);

        list_for_each_safe (it, broker_pools(server->broker)) {
                Pool *pool = list_entry(it, Pool, broker_link);

                if (pool_edge(pool)->revoke_at > 0 && now >= pool_edge(pool)->revoke_at) {
                        pool_edge(pool)->revoke_at = 0;
                        pool_revoke(server, pool, PMBROKER__V1__REVOKE_REASON__REVOKED_BY_ADMIN, NULL);
                } else if (pool->state == POOL_RESIZING && pool->target > 0)
                        remind_of_target(server, pool, now);
                else if (broker_release_is_due(pool) && now >= pool_edge(pool)->retry_at)
                        run_release(server, pool);
        }
        list_for_each_safe (it, broker_owners(server->broker)) {
                Owner *owner = list_entry(it, Owner, owner_link);

                if (owner->n_sessions > 0 || owner->alone_since == 0 ||
                        now - owner->alone_since < server->limits.reconnect_usec)
                        continue;
                log_info("pid %u of uid %u did not connect again, releasing its pools", owner->pid,
                        owner->uid);
                owner->alone_since = 0;
                owner_release_pools(server, owner);
        }
}
