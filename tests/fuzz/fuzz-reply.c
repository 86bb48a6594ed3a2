/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library before a daemon that says whatever the input says: answers that are good, nearly good, another's or
 * nonsense, events, silence and hanging up, at every moment in which the library waits. One thread is both: whenever the
 * library would wait, the daemon has its step, and if nothing comes of it the clock is put forward. The first byte of a
 * step says what, what follows are its figures.
 *
 * What a daemon can do in any case is to give a file and truncate it, so blocks are never touched.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "client/pmbroker.h"
#include "fuzz.h"
#include "proto/wire.h"

#define UNIT   (UINT64_C(2) << 20)
#define STEPS  64
#define POOLS  4
#define BLOCKS 32

typedef struct Daemon {
        int listener, session;
        uint64_t serial; /* of the request that is to be answered; 0: none */
        Pmbroker__V1__ClientPacket__BodyCase asked;
        uint64_t size, max; /* what was asked for */
        uint64_t pool;
        Pmbroker__V1__PoolRow rows[POOLS]; /* what it would have if it were honest */
        const uint8_t *data;
        size_t left;
} Daemon;

static Daemon d = {.listener = -EBADF, .session = -EBADF};
static uint64_t clock_usec = USEC_PER_SEC;

static uint8_t next_byte(void)
{
        if (d.left == 0)
                return 0;
        d.left--;
        return *d.data++;
}

/* Small, at a limit, or anything. */
static uint64_t next_number(void)
{
        uint8_t how = next_byte();
        uint64_t n = 0;

        switch (how % 8) {
        case 0:
                return how / 8;
        case 1:
                return UINT64_MAX - how / 8;
        case 2:
                return UINT64_C(1) << (how / 8 * 2);
        case 3:
                for (unsigned i = 0; i < 8; i++)
                        n = n << 8 | next_byte();
                return n;
        default:
                return (uint64_t)(how / 8) * UNIT;
        }
}

/* ------------------------------------------------------------------------------------------------ daemon */

static void hang_up(void)
{
        d.session = safe_close(d.session);
        d.serial = 0;
}

static void send_packet(Pmbroker__V1__ServerPacket *p, int fd)
{
        uint8_t data[WIRE_SERVER_MAX];
        ssize_t n = wire_encode_server(p, data);

        if (n > 0 && d.session >= 0)
                (void)wire_send(d.session, data, (size_t)n, fd);
}

static Pmbroker__V1__PoolRow *find_row(uint64_t pool)
{
        for (unsigned i = 0; i < POOLS; i++)
                if (d.rows[i].pool == pool)
                        return &d.rows[i];
        return &d.rows[pool % POOLS];
}

static void take_request(const Pmbroker__V1__ClientPacket *q)
{
        d.serial = q->serial;
        d.asked = q->body_case;
        d.size = d.max = d.pool = 0;
        switch (q->body_case) {
        case PMBROKER__V1__CLIENT_PACKET__BODY_CREATE_POOL:
                d.size = q->create_pool->size;
                d.max = q->create_pool->max;
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_RESIZE_POOL:
                d.pool = q->resize_pool->pool;
                d.size = q->resize_pool->size;
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_GIVE_BACK:
                d.pool = q->give_back->pool;
                d.size = find_row(d.pool)->size;
                for (size_t i = 0; i < q->give_back->n_units; i++)
                        d.size -= q->give_back->units[i]->count * UNIT;
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_GET_POOL:
                d.pool = q->get_pool->pool;
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_DESTROY_POOL:
                d.pool = q->destroy_pool->pool;
                break;
        default:
                break;
        }
}

/* Whatever the library says is of the protocol. */
static void read_requests(void)
{
        uint8_t data[WIRE_CLIENT_MAX];
        int fd = accept4(d.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
                hang_up();
                d.session = fd;
        }
        while (d.session >= 0 && d.serial == 0) {
                Pmbroker__V1__ClientPacket *q;
                ssize_t n = wire_recv(d.session, data, sizeof(data), NULL);

                if (n == -EAGAIN)
                        return;
                if (n <= 0) {
                        hang_up();
                        return;
                }
                assert(wire_decode_client(data, (size_t)n, &q) == 0);
                take_request(q);
                wire_free_client(q);
        }
}

static void damage(uint64_t *number, bool well)
{
        if (!well && next_byte() % 4 == 0)
                *number = next_number();
}

static void answer(bool well)
{
        Pmbroker__V1__ServerPacket p = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__HelloReply hello = PMBROKER__V1__HELLO_REPLY__INIT;
        Pmbroker__V1__PoolGrant grant = PMBROKER__V1__POOL_GRANT__INIT;
        Pmbroker__V1__PoolSize size = PMBROKER__V1__POOL_SIZE__INIT;
        Pmbroker__V1__PoolList list = PMBROKER__V1__POOL_LIST__INIT;
        Pmbroker__V1__Done done = PMBROKER__V1__DONE__INIT;
        Pmbroker__V1__PoolRow *rows[POOLS], *row = find_row(d.pool);
        _cleanup_close_ int fd = -EBADF;

        p.serial = d.serial;
        d.serial = 0;
        switch (d.asked) {
        case PMBROKER__V1__CLIENT_PACKET__BODY_HELLO:
                hello.major = WIRE_MAJOR;
                p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_HELLO;
                p.hello = &hello;
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_CREATE_POOL:
                row = find_row(0);
                row->pool = 1 + next_byte();
                row->size = row->length = d.size;
                row->max = d.max == WIRE_MAX_OF_QUOTA ? 64 * UNIT : d.max;
                damage(&row->size, well);
                damage(&row->length, well);
                damage(&row->max, well);
                grant.pool = row->pool;
                grant.size = row->size;
                grant.length = row->length;
                grant.max = row->max;
                grant.page_size = well ? 4096 : (uint32_t)next_number();
                grant.gifts = row->gifts = well ? 1 : (uint32_t)next_number();
                p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_GRANT;
                p.grant = &grant;
                if (well || next_byte() % 8 != 0)
                        fd = memfd_create("fuzz", MFD_CLOEXEC);
                if (fd >= 0)
                        (void)!ftruncate(fd, (off_t)(row->length % (1024 * UNIT)));
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_RESIZE_POOL:
        case PMBROKER__V1__CLIENT_PACKET__BODY_GIVE_BACK:
                row->size = d.size;
                if (row->length < row->size)
                        row->length = row->size;
                if (d.asked == PMBROKER__V1__CLIENT_PACKET__BODY_GIVE_BACK)
                        row->gifts++;
                size.pool = d.pool;
                size.size = row->size;
                size.length = row->length;
                size.target = d.size;
                size.gifts = row->gifts;
                damage(&size.pool, well);
                damage(&size.size, well);
                damage(&size.length, well);
                p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_SIZE;
                p.size = &size;
                break;
        case PMBROKER__V1__CLIENT_PACKET__BODY_GET_POOL:
        case PMBROKER__V1__CLIENT_PACKET__BODY_RESUME_POOLS:
                for (unsigned i = 0; i < POOLS; i++)
                        if (d.rows[i].pool != 0 &&
                                (d.asked == PMBROKER__V1__CLIENT_PACKET__BODY_RESUME_POOLS ||
                                        &d.rows[i] == row))
                                rows[list.n_rows++] = &d.rows[i];
                for (size_t i = 0; i < list.n_rows; i++) {
                        damage(&rows[i]->pool, well);
                        damage(&rows[i]->size, well);
                        damage(&rows[i]->length, well);
                        rows[i]->state = well ? PMBROKER__V1__POOL_STATE__STATE_READY
                                              : (Pmbroker__V1__PoolState)(next_byte() % 8);
                }
                damage(&list.next, well);
                list.rows = rows;
                p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_POOLS;
                p.pools = &list;
                break;
        default:
                if (row->pool == d.pool)
                        *row = (Pmbroker__V1__PoolRow)PMBROKER__V1__POOL_ROW__INIT;
                done.releasing = !well && next_byte() % 2;
                p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_DONE;
                p.done = &done;
                break;
        }
        if (!well && next_byte() % 16 == 0)
                p.serial = next_number() | 1;
        send_packet(&p, fd);
}

static void refuse(void)
{
        Pmbroker__V1__ServerPacket p = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__Error error = PMBROKER__V1__ERROR__INIT;
        char subject[256] = "";

        memset(subject, 'x', next_byte());
        error.code = (Pmbroker__V1__Code)(next_byte() % 40);
        error.errno_value = (int32_t)next_number();
        error.asked = next_number();
        error.subject = subject;
        p.serial = d.serial;
        d.serial = 0;
        p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_ERROR;
        p.error = &error;
        send_packet(&p, -1);
}

static void send_event(void)
{
        Pmbroker__V1__ServerPacket p = PMBROKER__V1__SERVER_PACKET__INIT;
        Pmbroker__V1__PoolSize size = PMBROKER__V1__POOL_SIZE__INIT;
        Pmbroker__V1__Reclaim reclaim = PMBROKER__V1__RECLAIM__INIT;
        Pmbroker__V1__Revoked revoked = PMBROKER__V1__REVOKED__INIT;
        Pmbroker__V1__Revoking revoking = PMBROKER__V1__REVOKING__INIT;
        Pmbroker__V1__Closing closing = PMBROKER__V1__CLOSING__INIT;
        uint8_t what = next_byte();
        Pmbroker__V1__PoolRow *row = &d.rows[what / 8 % POOLS];

        p.serial = 1;
        switch (what % 8) {
        case 0:
                p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_CLOSING;
                p.closing = &closing;
                break;
        case 1:
                revoked.pool = row->pool;
                revoked.reason = (Pmbroker__V1__RevokeReason)next_byte();
                p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_REVOKED;
                p.revoked = &revoked;
                break;
        case 2:
                revoking.pool = row->pool;
                revoking.grace_usec = next_number();
                p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_REVOKING;
                p.revoking = &revoking;
                break;
        case 3:
        case 4:
                reclaim.pool = row->pool;
                reclaim.target = next_number();
                p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_RECLAIM;
                p.reclaim = &reclaim;
                break;
        default:
                size.pool = row->pool;
                size.size = next_number();
                size.length = next_number();
                size.gifts = row->gifts;
                p.body_case = PMBROKER__V1__SERVER_PACKET__BODY_RESIZED;
                p.resized = &size;
                break;
        }
        send_packet(&p, -1);
}

static void send_raw(void)
{
        size_t n = next_byte();
        _cleanup_close_ int fd = n % 8 == 7 ? memfd_create("fuzz", MFD_CLOEXEC) : -EBADF;

        n = n < d.left ? n : d.left;
        if (d.session >= 0)
                (void)wire_send(d.session, d.data, n, fd);
        d.data += n;
        d.left -= n;
}

static void daemon_step(void)
{
        uint8_t what = next_byte();

        read_requests();
        if (d.left == 0) {
                hang_up();
                return;
        }
        switch (what % 16) {
        case 0:
                hang_up();
                break;
        case 1:
                send_raw();
                break;
        case 2:
        case 3:
                send_event();
                break;
        case 4:
                break;
        case 5:
                if (d.serial != 0)
                        refuse();
                break;
        case 6:
        case 7:
        case 8:
                if (d.serial != 0)
                        answer(/* well= */ false);
                break;
        default:
                if (d.serial != 0)
                        answer(/* well= */ true);
                break;
        }
}

/* ----------------------------------------------------------------------------------- what the library waits in */

int __real_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);
int __wrap_pthread_cond_clockwait(
        pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t id, const struct timespec *until);

int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
        if (id != CLOCK_MONOTONIC)
                return __real_clock_gettime(id, ret);
        *ret = (struct timespec){.tv_sec = (time_t)(clock_usec / USEC_PER_SEC),
                .tv_nsec = (long)(clock_usec % USEC_PER_SEC * 1000)};
        return 0;
}

int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
        int r;

        (void)mask;
        daemon_step();
        r = poll(fds, n, 0);
        if (r == 0)
                clock_usec +=
                        (uint64_t)timeout->tv_sec * USEC_PER_SEC + (uint64_t)timeout->tv_nsec / 1000 + 1;
        return r;
}

int __wrap_pthread_cond_clockwait(
        pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t id, const struct timespec *until)
{
        uint64_t usec = (uint64_t)until->tv_sec * USEC_PER_SEC + (uint64_t)until->tv_nsec / 1000 + 1;

        (void)cond;
        (void)mutex;
        (void)id;
        daemon_step();
        if (clock_usec < usec)
                clock_usec = usec;
        return ETIMEDOUT;
}

/* --------------------------------------------------------------------------------------------------- application */

typedef struct Application {
        struct pmb_client *client;
        struct pmb_pool *pools[POOLS];
        void *blocks[POOLS][BLOCKS];
} Application;

static void on_event(const struct pmb_event *event, void *userdata)
{
        (void)userdata;
        (void)event;
}

static void create_pool(Application *a, unsigned which)
{
        struct pmb_pool_options options = {.size = next_byte() % 16 * UNIT};
        uint8_t how = next_byte();

        if (a->pools[which])
                return;
        if (options.size > 0 && how % 4 == 0)
                options.flags |= PMB_POOL_RAW;
        else if (how % 4 == 1)
                options.flags |= PMB_POOL_AUTO_GROW;
        if (how % 8 >= 4)
                options.max_size = 32 * UNIT;
        if (pmb_pool_create(a->client, &options, &a->pools[which]) < 0)
                a->pools[which] = NULL;
}

static void close_pool(Application *a, unsigned which)
{
        a->pools[which] = pmb_pool_close(a->pools[which]);
        memset(a->blocks[which], 0, sizeof(a->blocks[which]));
}

static void use_heap(struct pmb_pool *pool, void **blocks)
{
        uint8_t n = next_byte(), size = next_byte();

        for (unsigned i = 0; i < n % BLOCKS; i++) {
                pmb_free(pool, blocks[i]);
                blocks[i] = n & 64 ? NULL : pmb_malloc(pool, (size_t)16 << (size + i) % 18);
                assert(!blocks[i] || pmb_pool_of(blocks[i]) == pool);
        }
}

static void look_at_pool(struct pmb_pool *pool)
{
        struct pmb_pool_info info;
        struct pmb_pool_stats stats;
        char text[256];

        (void)pmb_pool_info(pool, &info);
        (void)pmb_pool_stats(pool, &stats);
        assert(pmb_pool_explain(pool, text, sizeof(text)) < 4096);
}

static void application_step(Application *a)
{
        uint8_t what = next_byte();
        unsigned which = what / 16 % POOLS;
        struct pmb_pool *pool = a->pools[which];

        if (what % 16 >= 10)
                (void)pmb_client_dispatch(a->client);
        else if (!pool)
                create_pool(a, which);
        else if (what % 16 == 0)
                close_pool(a, which);
        else if (what % 16 <= 2)
                (void)pmb_pool_resize(pool, next_number());
        else if (what % 16 == 3)
                (void)pmb_pool_trim(pool, next_number());
        else if (what % 16 == 4)
                (void)pmb_pool_give_back(pool, (uint32_t)next_number(), (uint32_t)next_number());
        else if (what % 16 == 5)
                look_at_pool(pool);
        else
                use_heap(pool, a->blocks[which]);
}

static const char *socket_path(void)
{
        static struct sockaddr_un address = {.sun_family = AF_UNIX};

        if (d.listener >= 0)
                return address.sun_path;
        (void)snprintf(
                address.sun_path, sizeof(address.sun_path), "/dev/shm/pmbroker-fuzz-%d.reply", getpid());
        (void)unlink(address.sun_path);
        d.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert(d.listener >= 0);
        if (bind(d.listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(d.listener, 64) < 0)
                abort();
        return address.sun_path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        Application a = {0};
        const char *path = socket_path();

        d.data = data;
        d.left = size;
        for (unsigned i = 0; i < POOLS; i++)
                d.rows[i] = (Pmbroker__V1__PoolRow)PMBROKER__V1__POOL_ROW__INIT;
        if (pmb_client_connect(path, PMB_CLIENT_NO_THREAD, &a.client) == 0) {
                pmb_client_set_handler(a.client, on_event, NULL);
                for (unsigned i = 0; i < STEPS && d.left > 0; i++)
                        application_step(&a);
                for (unsigned i = 0; i < POOLS; i++)
                        close_pool(&a, i);
                pmb_client_unref(a.client);
        }
        hang_up();
        for (int fd; (fd = accept4(d.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
                safe_close(fd);
        return 0;
}
