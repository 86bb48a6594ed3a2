/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several clients and a provisioner, all of them as bad as the input says, around the real broker: sessions, services,
 * jobs, recovery and core. After every step the books add up. The first byte of a step says what, the next who; what
 * follows are its figures.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "fuzz.h"
#include "ipc/server.h"
#include "log.h"
#include "proto/wire.h"
#include "recover.h"

#define CLIENTS  4
#define POOLS    16
#define REQUESTS 64
#define STEPS    200
#define UNIT     POOL_UNIT

/* What the provisioner has. */
typedef struct FakePool {
        JobPool pool; /* pool 0: unused */
} FakePool;

typedef struct World {
        sd_event *event;
        Server *server;
        Recovery *recovery;
        int job_listener, jobs; /* the provisioner's ends */
        JobRequest requests[REQUESTS];
        uint8_t tails[REQUESTS][JOB_RECORD_MAX];
        unsigned n_requests;
        FakePool pools[POOLS];
        int clients[CLIENTS];
        const uint8_t *data;
        size_t size;
} World;

static uint8_t next_byte(World *w)
{
        if (w->size == 0)
                return 0;
        w->size--;
        return *w->data++;
}

/* ------------------------------------------------------------------------------------------------ broker */

static void on_connected(void *userdata);

static void on_recovered(int error, void *userdata)
{
        World *w = userdata;

        w->recovery = NULL;
        if (error == 0)
                w->server->ready = true;
}

static void on_connected(void *userdata)
{
        World *w = userdata;

        if (!w->recovery)
                (void)recovery_start(w->server, on_recovered, w, &w->recovery);
}

static void on_disconnected(void *userdata)
{
        World *w = userdata;

        w->server->ready = false;
        broker_stores_lost(w->server->broker);
}

static void on_event(const JobReply *event, const void *tail, void *userdata)
{
        (void)event;
        (void)tail;
        on_connected(userdata);
}

/* One socket of each name for all inputs, with nobody waiting; what is returned is the caller's. */
static int listen_at(int *listener, struct sockaddr_un *address, const char *name)
{
        int fd;

        address->sun_family = AF_UNIX;
        (void)snprintf(address->sun_path, sizeof(address->sun_path), "/dev/shm/pmbroker-fuzz-%d.%s",
                getpid(), name);
        if (*listener < 0) {
                (void)unlink(address->sun_path);
                *listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                if (bind(*listener, (struct sockaddr *)address, sizeof(*address)) < 0 ||
                        listen(*listener, 16) < 0)
                        abort();
        }
        while ((fd = accept4(*listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
                safe_close(fd);
        fd = fcntl(*listener, F_DUPFD_CLOEXEC, 3);
        assert(fd >= 0);
        return fd;
}

static void run_loop(World *w)
{
        for (unsigned i = 0; i < 64; i++) {
                int r = sd_event_run(w->event, 0);

                assert(r >= 0);
                if (r == 0)
                        break;
        }
        assert(broker_is_consistent(w->server->broker));
}

/* ------------------------------------------------------------------------------------------- provisioner */

static FakePool *find_pool(World *w, uint64_t id)
{
        for (unsigned i = 0; i < POOLS; i++)
                if (w->pools[i].pool.pool == id)
                        return &w->pools[i];
        return NULL;
}

static void take_requests(World *w)
{
        struct {
                JobRequest request;
                uint8_t tail[JOB_PACKET_MAX - sizeof(JobRequest)];
        } packet;

        if (w->jobs < 0)
                w->jobs = accept4(w->job_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        while (w->jobs >= 0 && w->n_requests < REQUESTS) {
                ssize_t n = recv(w->jobs, &packet, sizeof(packet), 0);

                if (n < (ssize_t)sizeof(packet.request))
                        break;
                w->requests[w->n_requests] = packet.request;
                memcpy(w->tails[w->n_requests], packet.tail, JOB_RECORD_MAX);
                w->n_requests++;
        }
}

static void drop_jobs(World *w)
{
        w->jobs = safe_close(w->jobs);
        w->n_requests = 0;
}

/* Do it, as far as the books go. */
static int carry_out(World *w, const JobRequest *q, const uint8_t *tail)
{
        FakePool *pool = find_pool(w, q->kind == JOB_CREATE ? 0 : q->pool);

        if (q->pool == 0 || !pool)
                return -ENOENT;
        switch (q->kind) {
        case JOB_CREATE:
                if (find_pool(w, q->pool))
                        return -EEXIST;
                pool->pool = (JobPool){.pool = q->pool,
                        .bytes = q->bytes,
                        .length = q->length,
                        .flags = JOB_POOL_COUNTED,
                        .record_size = q->n};
                memcpy(pool->pool.record, tail, q->n);
                return 0;
        case JOB_GROW:
        case JOB_SHRINK:
                pool->pool.bytes = q->bytes;
                pool->pool.length = q->length;
                return 0;
        case JOB_RELEASE:
                *pool = (FakePool){0};
                return 0;
        default:
                return 0;
        }
}

static int compare_pools(const void *a, const void *b)
{
        uint64_t x = ((const JobPool *)a)->pool, y = ((const JobPool *)b)->pool;

        return x < y ? -1 : x > y;
}

/* Answer one of the requests: well, with an error, or with nonsense. */
static void answer(World *w)
{
        struct {
                JobReply reply;
                union {
                        JobStore store;
                        JobPool pools[POOLS];
                };
        } packet = {0};
        _cleanup_close_ int fd = -EBADF;
        size_t size = sizeof(packet.reply);
        uint8_t which = next_byte(w), how = next_byte(w);
        JobRequest q;

        if (w->n_requests == 0 || w->jobs < 0)
                return;
        which %= (uint8_t)w->n_requests;
        q = w->requests[which];
        packet.reply = (JobReply){.version = JOB_VERSION,
                .kind = q.kind,
                .serial = q.serial,
                .pool = q.pool,
                .bytes = q.bytes,
                .length = q.length};
        if (how < 200)
                packet.reply.error = carry_out(w, &q, w->tails[which]);
        else if (how < 240)
                packet.reply.error = -(int)(how - 199);
        else
                packet.reply.n = how; /* a tail that is not there */
        if (q.kind == JOB_STORES && how < 200) {
                packet.store = (JobStore){.capacity = 64 * UNIT,
                        .kind = JOB_STORE_TMPFS,
                        .flags = JOB_STORE_AVAILABLE,
                        .page_size = 4096,
                        .name = "main"};
                if (how & 1)
                        packet.store.flags = 0;
                packet.reply.error = 0;
                packet.reply.n = 1;
                size += sizeof(packet.store);
        }
        if (q.kind == JOB_POOLS && how < 200) {
                packet.reply.error = 0;
                for (unsigned i = 0; i < POOLS; i++)
                        if (w->pools[i].pool.pool > q.pool)
                                packet.pools[packet.reply.n++] = w->pools[i].pool;
                qsort(packet.pools, packet.reply.n, sizeof(JobPool), compare_pools);
                size += packet.reply.n * sizeof(JobPool);
        }
        if (q.kind == JOB_CREATE && packet.reply.error == 0)
                fd = memfd_create("fuzz", MFD_CLOEXEC);
        (void)wire_send(w->jobs, &packet, size, fd);
        w->n_requests--;
        memmove(&w->requests[which], &w->requests[which + 1], (w->n_requests - which) * sizeof(q));
        memmove(&w->tails[which], &w->tails[which + 1], (w->n_requests - which) * sizeof(w->tails[0]));
}

/* ----------------------------------------------------------------------------------------------- clients */

static void connect_client(World *w, unsigned who, const struct sockaddr_un *address)
{
        static const uint8_t hello[] = {8, 1, 0x52, 2, 8, 1};

        safe_close(w->clients[who]);
        w->clients[who] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert(w->clients[who] >= 0);
        if (connect(w->clients[who], (const struct sockaddr *)address, sizeof(*address)) < 0)
                w->clients[who] = safe_close(w->clients[who]);
        else if (next_byte(w) % 8 != 0)
                (void)wire_send(w->clients[who], hello, sizeof(hello), -1);
}

static void send_raw(World *w, unsigned who)
{
        size_t n = next_byte(w);

        n = n < w->size ? n : w->size;
        if (w->clients[who] >= 0)
                (void)wire_send(w->clients[who], w->data, n, -1);
        w->data += n;
        w->size -= n;
}

static uint64_t some_pool(World *w)
{
        return w->pools[next_byte(w) % POOLS].pool.pool;
}

static void send_request(World *w, unsigned who)
{
        Pmbroker__V1__ClientPacket p = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__CreatePool create = PMBROKER__V1__CREATE_POOL__INIT;
        Pmbroker__V1__DestroyPool destroy = PMBROKER__V1__DESTROY_POOL__INIT;
        Pmbroker__V1__ResizePool resize = PMBROKER__V1__RESIZE_POOL__INIT;
        Pmbroker__V1__GiveBack give = PMBROKER__V1__GIVE_BACK__INIT;
        Pmbroker__V1__UnitRange range = PMBROKER__V1__UNIT_RANGE__INIT, *ranges[] = {&range};
        Pmbroker__V1__ListPools list = PMBROKER__V1__LIST_POOLS__INIT;
        Pmbroker__V1__RevokePool revoke = PMBROKER__V1__REVOKE_POOL__INIT;
        uint8_t data[WIRE_CLIENT_MAX];
        ssize_t n;

        p.serial = 1 + next_byte(w);
        p.request_id = next_byte(w) % 8;
        switch (next_byte(w) % 6) {
        case 0:
                create.size = next_byte(w) % 16 * UNIT;
                create.max = 32 * UNIT;
                p.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_CREATE_POOL;
                p.create_pool = &create;
                break;
        case 1:
                destroy.pool = some_pool(w);
                p.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_DESTROY_POOL;
                p.destroy_pool = &destroy;
                break;
        case 2:
                resize.pool = some_pool(w);
                resize.size = next_byte(w) % 40 * UNIT;
                p.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_RESIZE_POOL;
                p.resize_pool = &resize;
                break;
        case 3:
                give.pool = some_pool(w);
                range.first = next_byte(w) % 32;
                range.count = next_byte(w) % 16;
                give.n_units = 1;
                give.units = ranges;
                p.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_GIVE_BACK;
                p.give_back = &give;
                break;
        case 4:
                p.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_LIST_POOLS;
                p.list_pools = &list;
                break;
        case 5:
                revoke.pool = some_pool(w);
                p.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_REVOKE_POOL;
                p.revoke_pool = &revoke;
                break;
        }
        n = wire_encode_client(&p, data);
        assert(n > 0);
        if (w->clients[who] >= 0)
                (void)wire_send(w->clients[who], data, (size_t)n, -1);
}

/* Whatever the daemon says is of the protocol. */
static void read_answers(World *w, unsigned who)
{
        uint8_t data[WIRE_SERVER_MAX];

        while (w->clients[who] >= 0) {
                _cleanup_close_ int fd = -EBADF;
                Pmbroker__V1__ServerPacket *p;
                ssize_t n = wire_recv(w->clients[who], data, sizeof(data), &fd);

                if (n == -EAGAIN)
                        return;
                if (n <= 0) {
                        w->clients[who] = safe_close(w->clients[who]);
                        return;
                }
                assert(wire_decode_server(data, (size_t)n, &p) == 0);
                assert(fd < 0 || p->body_case == PMBROKER__V1__SERVER_PACKET__BODY_GRANT);
                wire_free_server(p);
        }
}

/* ------------------------------------------------------------------------------------------------- world */

static int jobs_fd = -EBADF, clients_fd = -EBADF;

static void begin(World *w, struct sockaddr_un *clients, struct sockaddr_un *jobs)
{
        static const TenantConfig tenant = {
                .name = "default", .bytes_max = 48 * UNIT, .pools_max = POOLS, .pool_bytes_max = UINT64_MAX};
        static const Limits limits = {.sessions_max = 3,
                .sessions_per_uid = 3,
                .requests_per_sec = 1000,
                .requests_burst = 1000,
                .hello_timeout_usec = 10 * USEC_PER_SEC,
                .unread_timeout_usec = 10 * USEC_PER_SEC,
                .reconnect_usec = 10 * USEC_PER_SEC,
                .shrink_usec = USEC_PER_SEC};

        w->jobs = -EBADF;
        for (unsigned i = 0; i < CLIENTS; i++)
                w->clients[i] = -EBADF;
        assert(sd_event_new(&w->event) >= 0);
        w->job_listener = listen_at(&jobs_fd, jobs, "jobs");
        assert(server_new(&(ServerOptions){.event = w->event,
                                  .listen_fd = listen_at(&clients_fd, clients, "clients"),
                                  .jobs_path = jobs->sun_path,
                                  .admin_uid = (uint32_t)-1,
                                  .job_hooks = &(JobsHooks){.connected = on_connected,
                                          .disconnected = on_disconnected,
                                          .event = on_event,
                                          .userdata = w}},
                       &w->server) == 0);
        server_configure(w->server,
                &(ServerSettings){
                        .limits = limits, .admin_gid = (uint32_t)-1, .observer_gid = (uint32_t)-1});
        assert(broker_set_tenants(w->server->broker, &tenant, 1) == 0);
        assert(server_start(w->server) >= 0);
}

static void end(World *w)
{
        w->recovery = recovery_free(w->recovery);
        w->server = server_free(w->server);
        drop_jobs(w);
        safe_close(w->job_listener);
        for (unsigned i = 0; i < CLIENTS; i++)
                safe_close(w->clients[i]);
        sd_event_unref(w->event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct sockaddr_un clients = {0}, jobs = {0};
        World *w = calloc(1, sizeof(*w));

        assert(w);
        log_set_level(-1);
        w->data = data;
        w->size = size;
        begin(w, &clients, &jobs);
        for (unsigned i = 0; i < STEPS && w->size > 0; i++) {
                uint8_t what = next_byte(w), who = next_byte(w) % CLIENTS;

                switch (what % 8) {
                case 0:
                        connect_client(w, who, &clients);
                        break;
                case 1:
                        send_raw(w, who);
                        break;
                case 2:
                case 3:
                        send_request(w, who);
                        break;
                case 4:
                case 5:
                        answer(w);
                        break;
                case 6:
                        read_answers(w, who);
                        break;
                case 7:
                        if (who == 0)
                                drop_jobs(w);
                        else
                                w->clients[who] = safe_close(w->clients[who]);
                        break;
                }
                run_loop(w);
                take_requests(w);
        }
        end(w);
        free(w);
        return 0;
}
