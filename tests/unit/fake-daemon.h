/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A daemon in a thread of the test's own: it speaks the protocol on a real socket, keeps pools in memory
 * files, keeps exact books of which units are backed, and misbehaves on order.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proto/result.h"
#include "proto/wire.h"

#define FAKE_UNIT     (UINT64_C(2) << 20)
#define FAKE_UNITS    512 /* of a pool */
#define FAKE_POOLS    64
#define FAKE_SESSIONS 16
#define FAKE_SCRIPT   64

typedef enum FakeAction {
        FAKE_ANSWER,
        FAKE_DROP_BEFORE,  /* hang up, nothing done */
        FAKE_DROP_AFTER,   /* do it, then hang up without an answer */
        FAKE_SILENT,       /* do it, and never answer */
        FAKE_LATE,         /* do it, and answer when fake_answer_late() says so */
        FAKE_REFUSE,       /* with `refusal` */
        FAKE_GARBAGE,      /* answer with bytes that are no message */
        FAKE_EMPTY,        /* answer with an empty packet */
        FAKE_WRONG_ANSWER, /* do it, and answer with a message that does not belong */
        FAKE_WITHOUT_FD,   /* grant without a descriptor */
        FAKE_ASIDE, /* send an unknown event, a misaddressed answer and a stray descriptor, then answer */
} FakeAction;

typedef struct FakePool {
        uint64_t id;
        uint64_t request_id;
        uint64_t max;
        int fd;
        bool backed[FAKE_UNITS];
        uint32_t n_backed;
        uint32_t length;
        uint32_t gifts; /* 0: is not counted */
        char name[WIRE_STRING_MAX + 1];
} FakePool;

typedef struct FakeDaemon {
        char dir[64];
        char path[96];
        int listen_fd;
        int wake[2];
        pthread_t thread;
        pthread_mutex_t lock;
        bool stop;

        int sessions[FAKE_SESSIONS];
        bool greeted[FAKE_SESSIONS];
        FakePool pools[FAKE_POOLS];
        unsigned n_pools;
        uint64_t next_id;
        uint64_t event_serial;
        uint64_t capacity;   /* units; 0: no limit */
        uint64_t quota;      /* bytes that one pool may have */
        bool counts_nothing; /* as a daemon of before did not count gifts */

        /*
         * What to do with the next requests of a kind (a body_case of ClientPacket, 0: any but Hello and
         * Resume).
         */
        struct {
                int body;
                FakeAction action;
        } script[FAKE_SCRIPT];
        unsigned n_script;
        Refusal refusal;
        uint32_t chaos; /* not 0: every so many requests the connection is dropped, before or after */
        uint32_t seed;

        struct {
                uint8_t bytes[WIRE_SERVER_MAX];
                size_t size;
                int session;
                int fd;
        } late;

        uint32_t grow_after_drop; /* units: an administrator lets the first pool grow before we are back */
        uint64_t asked_max;       /* of the last create */
        unsigned n_connects;
        unsigned n_requests[32]; /* by body_case */
        unsigned n_not_backed;   /* units that were given back twice */
        unsigned in_flux;        /* GetPool says so often that the pool is being resized */
        unsigned page;           /* rows of a page of pools */
} FakeDaemon;

static inline FakePool *fake_find(FakeDaemon *f, uint64_t id)
{
        for (unsigned i = 0; i < f->n_pools; i++)
                if (f->pools[i].id == id)
                        return &f->pools[i];
        return NULL;
}

static inline void fake_send(FakeDaemon *f, int session, const Pmbroker__V1__ServerPacket *p, int fd)
{
        uint8_t buf[WIRE_SERVER_MAX];
        ssize_t n = wire_encode_server(p, buf);

        assert(n > 0);
        if (f->sessions[session] >= 0)
                (void)wire_send(f->sessions[session], buf, (size_t)n, fd);
}

static inline void fake_hang_up(FakeDaemon *f, int session)
{
        f->sessions[session] = safe_close(f->sessions[session]);
}

static inline void fake_remove(FakeDaemon *f, FakePool *pool)
{
        (void)!ftruncate(pool->fd, 0);
        safe_close(pool->fd);
        *pool = f->pools[--f->n_pools];
}

static inline void fake_set_file(FakePool *pool)
{
        int r = ftruncate(pool->fd, (off_t)(pool->length * FAKE_UNIT));

        assert(r == 0);
        (void)r;
}

/* The unit rule of the protocol. */
static inline void fake_grow(FakePool *pool, uint32_t n)
{
        for (uint32_t i = 0; n > 0 && i < FAKE_UNITS; i++)
                if (!pool->backed[i]) {
                        pool->backed[i] = true;
                        pool->n_backed++;
                        pool->length = pool->length > i + 1 ? pool->length : i + 1;
                        n--;
                }
        fake_set_file(pool);
}

static inline void fake_punch(FakePool *pool, uint32_t unit)
{
        int r = fallocate(pool->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(unit * FAKE_UNIT),
                (off_t)FAKE_UNIT);

        assert(r == 0);
        (void)r;
        pool->n_backed -= pool->backed[unit];
        pool->backed[unit] = false;
}

static inline void fake_refuse(FakeDaemon *f, int session, uint64_t serial, const Refusal *refusal)
{
        Pmbroker__V1__ServerPacket p = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Error e = PMBROKER__V1__ERROR__INIT;

        e.code = (Pmbroker__V1__Code)refusal->code;
        e.errno_value = refusal->errno_value ?: result_to_errno(refusal->code);
        e.asked = refusal->asked;
        e.limit = refusal->limit;
        e.used = refusal->used;
        e.subject = (char *)(uintptr_t)refusal->subject;
        p.serial = serial;
        p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_ERROR;
        p.error = &e;
        fake_send(f, session, &p, -1);
}

typedef struct FakeReply {
        Pmbroker__V1__ServerPacket p;
        Pmbroker__V1__HelloReply hello;
        Pmbroker__V1__PoolGrant grant;
        Pmbroker__V1__Done done;
        Pmbroker__V1__PoolSize size;
        Pmbroker__V1__PoolList list;
        Pmbroker__V1__PoolRow rows[FAKE_POOLS], *row_pointers[FAKE_POOLS];
        Refusal refusal;
        int fd;
} FakeReply;

static inline void fake_reply_size(FakeReply *r, const FakePool *pool)
{
        pmbroker__v1__pool_size__init(&r->size);
        r->size.pool = pool->id;
        r->size.size = pool->n_backed * FAKE_UNIT;
        r->size.length = pool->length * FAKE_UNIT;
        r->size.gifts = pool->gifts;
        r->p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_SIZE;
        r->p.size = &r->size;
}

static inline void fake_do_create(FakeDaemon *f, const Pmbroker__V1__ClientPacket *q, FakeReply *r)
{
        const Pmbroker__V1__CreatePool *c = q->create_pool;
        FakePool *pool = NULL;

        for (unsigned i = 0; i < f->n_pools; i++)
                if (f->pools[i].request_id == q->request_id)
                        pool = &f->pools[i];
        if (!pool) {
                assert(f->n_pools < FAKE_POOLS);
                pool = &f->pools[f->n_pools++];
                *pool = (FakePool){.id = f->next_id++,
                        .request_id = q->request_id,
                        .max = c->max,
                        .gifts = !f->counts_nothing};
                if (pool->max == WIRE_MAX_OF_QUOTA)
                        pool->max = f->quota;
                (void)snprintf(pool->name, sizeof(pool->name), "%s", c->name);
                pool->fd = memfd_create("pool", MFD_CLOEXEC);
                assert(pool->fd >= 0);
                fake_grow(pool, (uint32_t)(c->size / FAKE_UNIT));
                r->fd = pool->fd;
        }
        pmbroker__v1__pool_grant__init(&r->grant);
        r->grant.pool = pool->id;
        r->grant.size = pool->n_backed * FAKE_UNIT;
        r->grant.length = pool->length * FAKE_UNIT;
        r->grant.max = pool->max;
        r->grant.gifts = pool->gifts;
        r->grant.store = (char *)(uintptr_t) "fake";
        r->grant.tenant = (char *)(uintptr_t) "tester";
        r->grant.page_size = 4096;
        r->p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_GRANT;
        r->p.grant = &r->grant;
}

static inline void fake_do_give_back(
        FakeDaemon *f, FakePool *pool, const Pmbroker__V1__GiveBack *g, FakeReply *r)
{
        uint64_t end = 0;

        if (g->n_units == 0 || g->n_units > WIRE_UNIT_RANGES_MAX)
                r->refusal.code = RESULT_UNITS_INVALID;
        for (size_t i = 0; i < g->n_units; i++) {
                if (g->units[i]->count == 0 || g->units[i]->first < end ||
                        g->units[i]->first + (uint64_t)g->units[i]->count > pool->length)
                        r->refusal.code = RESULT_UNITS_INVALID;
                end = g->units[i]->first + (uint64_t)g->units[i]->count;
        }
        if (r->refusal.code != RESULT_OK)
                return;
        for (size_t i = 0; i < g->n_units; i++)
                for (uint32_t k = 0; k < g->units[i]->count; k++) {
                        f->n_not_backed += !pool->backed[g->units[i]->first + k];
                        fake_punch(pool, g->units[i]->first + k);
                }
        pool->gifts += pool->gifts > 0;
        fake_reply_size(r, pool);
}

static inline void fake_do_get(FakeDaemon *f, const FakePool *pool, FakeReply *r)
{
        pmbroker__v1__pool_list__init(&r->list);
        pmbroker__v1__pool_row__init(&r->rows[0]);
        r->rows[0].pool = pool->id;
        r->rows[0].size = pool->n_backed * FAKE_UNIT;
        r->rows[0].length = pool->length * FAKE_UNIT;
        r->rows[0].gifts = pool->gifts;
        r->rows[0].state = f->in_flux > 0 ? PMBROKER__V1__POOL_STATE__STATE_RESIZING
                                          : PMBROKER__V1__POOL_STATE__STATE_READY;
        f->in_flux -= f->in_flux > 0;
        r->row_pointers[0] = &r->rows[0];
        r->list.n_rows = 1;
        r->list.rows = r->row_pointers;
        r->p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_POOLS;
        r->p.pools = &r->list;
}

static inline void fake_do_list(FakeDaemon *f, uint64_t after, FakeReply *r)
{
        pmbroker__v1__pool_list__init(&r->list);
        for (uint64_t i = after; i < f->n_pools; i++) {
                Pmbroker__V1__PoolRow *row = &r->rows[r->list.n_rows];

                if (r->list.n_rows == f->page) {
                        r->list.next = i;
                        break;
                }
                pmbroker__v1__pool_row__init(row);
                row->pool = f->pools[i].id;
                row->size = f->pools[i].n_backed * FAKE_UNIT;
                row->length = f->pools[i].length * FAKE_UNIT;
                row->max = f->pools[i].max;
                r->row_pointers[r->list.n_rows++] = row;
        }
        r->list.rows = r->row_pointers;
        r->p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_POOLS;
        r->p.pools = &r->list;
}

static inline void fake_do(FakeDaemon *f, const Pmbroker__V1__ClientPacket *q, FakeReply *r)
{
        FakePool *pool;

        switch (q->body_case) {
        case PMBROKER__V1__CLIENT_PACKET__BODY_HELLO:
                pmbroker__v1__hello_reply__init(&r->hello);
                r->hello.major = WIRE_MAJOR;
                r->hello.version = (char *)(uintptr_t) "fake";
                r->p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_HELLO;
                r->p.hello = &r->hello;
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_CREATE_POOL:
                fake_do_create(f, q, r);
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_DESTROY_POOL:
                pool = fake_find(f, q->destroy_pool->pool);
                if (pool)
                        fake_remove(f, pool);
                pmbroker__v1__done__init(&r->done);
                r->p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_DONE;
                r->p.done = &r->done;
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_RESIZE_POOL:
                pool = fake_find(f, q->resize_pool->pool);
                if (!pool) {
                        r->refusal.code = RESULT_NOT_FOUND;
                        break;
                }
                if (q->resize_pool->size / FAKE_UNIT > pool->n_backed)
                        fake_grow(pool, (uint32_t)(q->resize_pool->size / FAKE_UNIT) - pool->n_backed);
                fake_reply_size(r, pool);
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_GIVE_BACK:
                pool = fake_find(f, q->give_back->pool);
                if (!pool)
                        r->refusal.code = RESULT_NOT_FOUND;
                else
                        fake_do_give_back(f, pool, q->give_back, r);
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_GET_POOL:
                pool = fake_find(f, q->get_pool->pool);
                if (!pool)
                        r->refusal.code = RESULT_NOT_FOUND;
                else
                        fake_do_get(f, pool, r);
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_RESUME_POOLS:
                fake_do_list(f, q->resume_pools->after, r);
                break;
        default:
                r->refusal.code = RESULT_UNSUPPORTED;
                break;
        }
}

static inline void fake_send_aside(FakeDaemon *f, int session)
{
        /* Serial 1 and field 99: an event of a later day, which happens to carry the serial of a request. */
        static const uint8_t unknown[] = {0x08, 0x03, 0x9a, 0x06, 0x02, 0x08, 0x01};
        Pmbroker__V1__ServerPacket p = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Done done = PMBROKER__V1__DONE__INIT;
        Pmbroker__V1__Closing closing = PMBROKER__V1__CLOSING__INIT;

        (void)wire_send(f->sessions[session], unknown, sizeof(unknown), -1);
        p.serial = UINT64_MAX;
        p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_DONE;
        p.done = &done;
        fake_send(f, session, &p, f->wake[1]);
        p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_CLOSING;
        p.closing = &closing;
        fake_send(f, session, &p, -1);
}

static inline FakeAction fake_take_action(FakeDaemon *f, int body)
{
        bool handshake = body == PMBROKER__V1__CLIENT_PACKET__BODY_HELLO ||
                         body == PMBROKER__V1__CLIENT_PACKET__BODY_RESUME_POOLS;

        for (unsigned i = 0; i < f->n_script; i++)
                if (f->script[i].body == body || (f->script[i].body == 0 && !handshake)) {
                        FakeAction a = f->script[i].action;

                        memmove(&f->script[i], &f->script[i + 1],
                                (f->n_script - i - 1) * sizeof(f->script[0]));
                        f->n_script--;
                        return a;
                }
        if (f->chaos > 0) {
                f->seed = f->seed * 1103515245 + 12345;
                if ((f->seed >> 8) % f->chaos == 0)
                        return (f->seed >> 20) & 1 ? FAKE_DROP_BEFORE : FAKE_DROP_AFTER;
        }
        return FAKE_ANSWER;
}

static inline void fake_handle(FakeDaemon *f, int session, const Pmbroker__V1__ClientPacket *q)
{
        FakeAction action = fake_take_action(f, q->body_case);
        FakeReply r = {.p = PMBROKER__V1__SERVER_PACKET__INIT, .fd = -1};
        ssize_t n;

        assert((unsigned)q->body_case < ELEMENTSOF(f->n_requests));
        f->n_requests[q->body_case]++;
        if (q->body_case == PMBROKER__V1__CLIENT_PACKET__BODY_CREATE_POOL)
                f->asked_max = q->create_pool->max;
        if (!f->greeted[session] && q->body_case != PMBROKER__V1__CLIENT_PACKET__BODY_HELLO) {
                fake_hang_up(f, session);
                return;
        }
        f->greeted[session] = true;
        switch (action) {
        case FAKE_DROP_BEFORE:
                fake_hang_up(f, session);
                return;
        case FAKE_REFUSE:
                fake_refuse(f, session, q->serial, &f->refusal);
                return;
        case FAKE_GARBAGE:
                (void)wire_send(f->sessions[session], "\xff\xff\xff garbage", 11, -1);
                return;
        case FAKE_EMPTY:
                (void)send(f->sessions[session], "", 0, MSG_NOSIGNAL);
                return;
        default:
                break;
        }

        r.p.serial = q->serial;
        fake_do(f, q, &r);
        if (action == FAKE_DROP_AFTER) {
                fake_hang_up(f, session);
                if (f->grow_after_drop > 0)
                        fake_grow(&f->pools[0], f->grow_after_drop);
                f->grow_after_drop = 0;
        }
        if (action == FAKE_DROP_AFTER || action == FAKE_SILENT)
                return;
        if (r.refusal.code != RESULT_OK) {
                fake_refuse(f, session, q->serial, &r.refusal);
                return;
        }
        if (action == FAKE_WITHOUT_FD)
                r.fd = -1;
        if (action == FAKE_ASIDE)
                fake_send_aside(f, session);
        if (action == FAKE_WRONG_ANSWER) {
                pmbroker__v1__hello_reply__init(&r.hello);
                r.p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_HELLO;
                r.p.hello = &r.hello;
        }
        if (action == FAKE_LATE) {
                n = wire_encode_server(&r.p, f->late.bytes);
                assert(n > 0);
                f->late.size = (size_t)n;
                f->late.session = session;
                f->late.fd = r.fd;
                return;
        }
        fake_send(f, session, &r.p, r.fd);
}

static inline void fake_read(FakeDaemon *f, int session)
{
        uint8_t buf[WIRE_CLIENT_MAX];
        Pmbroker__V1__ClientPacket *q;
        ssize_t n = wire_recv(f->sessions[session], buf, sizeof(buf), NULL);

        if (n == -EAGAIN)
                return;
        if (n <= 0 || wire_decode_client(buf, (size_t)n, &q) < 0) {
                fake_hang_up(f, session);
                return;
        }
        fake_handle(f, session, q);
        wire_free_client(q);
}

static inline void fake_accept(FakeDaemon *f)
{
        int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0)
                return;
        f->n_connects++;
        for (int i = 0; i < FAKE_SESSIONS; i++)
                if (f->sessions[i] < 0) {
                        f->sessions[i] = fd;
                        f->greeted[i] = false;
                        return;
                }
        safe_close(fd);
}

static inline void *fake_run(void *userdata)
{
        FakeDaemon *f = userdata;

        (void)pthread_mutex_lock(&f->lock);
        while (!f->stop) {
                struct pollfd p[FAKE_SESSIONS + 2] = {
                        {.fd = f->wake[0], .events = POLLIN}, {.fd = f->listen_fd, .events = POLLIN}};
                char byte;

                for (int i = 0; i < FAKE_SESSIONS; i++)
                        p[i + 2] = (struct pollfd){.fd = f->sessions[i], .events = POLLIN};
                (void)pthread_mutex_unlock(&f->lock);
                (void)poll(p, ELEMENTSOF(p), -1);
                (void)pthread_mutex_lock(&f->lock);
                if (p[0].revents)
                        (void)!read(f->wake[0], &byte, 1);
                if (p[1].revents && f->listen_fd == p[1].fd)
                        fake_accept(f);
                for (int i = 0; i < FAKE_SESSIONS; i++)
                        if (p[i + 2].revents && p[i + 2].fd >= 0 && f->sessions[i] == p[i + 2].fd)
                                fake_read(f, i);
        }
        (void)pthread_mutex_unlock(&f->lock);
        return NULL;
}

static inline void fake_wake(FakeDaemon *f)
{
        (void)!write(f->wake[1], "", 1);
}

static inline void fake_lock(FakeDaemon *f)
{
        (void)pthread_mutex_lock(&f->lock);
}

static inline void fake_unlock(FakeDaemon *f)
{
        (void)pthread_mutex_unlock(&f->lock);
}

static inline void fake_listen(FakeDaemon *f)
{
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert(fd >= 0);
        (void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", f->path);
        (void)unlink(f->path);
        if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 16) < 0)
                abort();
        fake_lock(f);
        f->listen_fd = fd;
        fake_unlock(f);
        fake_wake(f);
}

/* Hang up on everybody; `away`: and do not answer the door until fake_listen(). */
static inline void fake_drop_all(FakeDaemon *f, bool away)
{
        fake_lock(f);
        if (away) {
                f->listen_fd = safe_close(f->listen_fd);
                (void)unlink(f->path);
        }
        for (int i = 0; i < FAKE_SESSIONS; i++)
                fake_hang_up(f, i);
        fake_unlock(f);
        fake_wake(f);
}

static inline FakeDaemon *fake_new(void)
{
        FakeDaemon *f = calloc(1, sizeof(*f));

        assert(f);
        (void)snprintf(f->dir, sizeof(f->dir), "/tmp/pmbroker-fake.XXXXXX");
        if (!mkdtemp(f->dir) || pipe2(f->wake, O_CLOEXEC | O_NONBLOCK) < 0)
                abort();
        (void)snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
        (void)pthread_mutex_init(&f->lock, NULL);
        for (int i = 0; i < FAKE_SESSIONS; i++)
                f->sessions[i] = -EBADF;
        f->next_id = 0xabc0000000000001;
        f->page = 3;
        f->quota = FAKE_UNITS * FAKE_UNIT;
        f->seed = 1;
        fake_listen(f);
        if (pthread_create(&f->thread, NULL, fake_run, f) != 0)
                abort();
        return f;
}

static inline void fake_free(FakeDaemon *f)
{
        fake_lock(f);
        f->stop = true;
        fake_unlock(f);
        fake_wake(f);
        (void)pthread_join(f->thread, NULL);
        fake_drop_all(f, /* away= */ true);
        while (f->n_pools > 0)
                fake_remove(f, &f->pools[0]);
        safe_close(f->wake[0]);
        safe_close(f->wake[1]);
        (void)rmdir(f->dir);
        (void)pthread_mutex_destroy(&f->lock);
        free(f);
}

static inline void fake_script(FakeDaemon *f, int body, FakeAction action)
{
        fake_lock(f);
        assert(f->n_script < FAKE_SCRIPT);
        f->script[f->n_script].body = body;
        f->script[f->n_script++].action = action;
        fake_unlock(f);
}

static inline void fake_send_event(FakeDaemon *f, Pmbroker__V1__ServerPacket *p)
{
        p->serial = ++f->event_serial;
        for (int i = 0; i < FAKE_SESSIONS; i++)
                fake_send(f, i, p, -1);
}

/* Somebody else lets the pool grow by so many units. */
static inline void fake_grow_pool(FakeDaemon *f, uint64_t id, uint32_t n)
{
        FakeReply r = {.p = PMBROKER__V1__SERVER_PACKET__INIT};
        FakePool *pool;

        fake_lock(f);
        pool = fake_find(f, id);
        assert(pool);
        fake_grow(pool, n);
        fake_reply_size(&r, pool);
        r.p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_RESIZED;
        r.p.resized = &r.size;
        fake_send_event(f, &r.p);
        fake_unlock(f);
}

static inline void fake_reclaim(FakeDaemon *f, uint64_t id, uint64_t target)
{
        Pmbroker__V1__ServerPacket p = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Reclaim reclaim = PMBROKER__V1__RECLAIM__INIT;

        reclaim.pool = id;
        reclaim.target = target;
        p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_RECLAIM;
        p.reclaim = &reclaim;
        fake_lock(f);
        fake_send_event(f, &p);
        fake_unlock(f);
}

static inline void fake_announce(FakeDaemon *f, uint64_t id, uint64_t grace_usec)
{
        Pmbroker__V1__ServerPacket p = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Revoking revoking = PMBROKER__V1__REVOKING__INIT;

        revoking.pool = id;
        revoking.grace_usec = grace_usec;
        p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_REVOKING;
        p.revoking = &revoking;
        fake_lock(f);
        fake_send_event(f, &p);
        fake_unlock(f);
}

static inline void fake_revoke(FakeDaemon *f, uint64_t id)
{
        Pmbroker__V1__ServerPacket p = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Revoked revoked = PMBROKER__V1__REVOKED__INIT;

        revoked.pool = id;
        revoked.reason = PMBROKER__V1__REVOKE_REASON__REVOKED_BY_ADMIN;
        p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_REVOKED;
        p.revoked = &revoked;
        fake_lock(f);
        fake_remove(f, fake_find(f, id));
        fake_send_event(f, &p);
        fake_unlock(f);
}

static inline void fake_answer_late(FakeDaemon *f)
{
        fake_lock(f);
        (void)wire_send(f->sessions[f->late.session], f->late.bytes, f->late.size, f->late.fd);
        fake_unlock(f);
}

static inline unsigned fake_count_pools(FakeDaemon *f)
{
        unsigned n;

        fake_lock(f);
        n = f->n_pools;
        fake_unlock(f);
        return n;
}
