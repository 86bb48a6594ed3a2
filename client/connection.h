/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The session with the daemon: calls of several threads at once, events, and the way back after a
 * disconnect.
 *
 * Who reads. There is no thread that reads for the others: a thread that waits for its answer takes the role
 * of the reader when it is free, and delivers what arrives, its own or not, until its own has come; then the
 * next waiting thread takes over. Only while no thread waits does the epoll descriptor watch the socket, and
 * whoever sits there (the library's event thread, or the application) calls connection_dispatch(). So a call
 * costs no thread switch.
 *
 * Order. What the daemon sends is applied in the order of its arrival, by whoever reads, under the lock,
 * before the next packet is read: the handler is called for each event and Call.on_reply for each answer.
 * Both sides count units without telling each other which, so an answer that is applied after a later event
 * would be wrong.
 *
 * Disconnects. Calls that are unanswered when the daemon goes away are repeated on the next connection under
 * the same request id, unless they must not be. Whoever needs the connection makes it, one thread at a time,
 * no more often than the back-off permits.
 *
 * `lock` is held while the handlers are called, and never while waiting.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "base/list.h"
#include "client/handshake.h"

/* How long a call may take, waiting for the daemon to come back included. */
#define CALL_TIMEOUT_USEC (UINT64_C(10) * 1000 * 1000)

#define BACKOFF_MIN_USEC UINT64_C(1000)
#define BACKOFF_MAX_USEC UINT64_C(250000)

typedef struct Connection Connection;
typedef struct Call Call;

/* All are called with the lock held, must not wait and must not call back. */
typedef struct ConnectionHandler {
        /* An event, or a size that answers a call which is not waiting any more. */
        void (*on_event)(void *userdata, const ServerPacket *packet);
        /* There is a new connection; these pools are what the daemon still has. */
        void (*on_resumed)(void *userdata, const ResumedPool *pools, size_t n_pools);
        /* A pool was granted to a call that is not waiting any more. */
        void (*on_orphan)(void *userdata, uint64_t pool);
} ConnectionHandler;

enum {
        CALL_MUTATES = 1u << 0,      /* carries a request id */
        CALL_IF_CONNECTED = 1u << 1, /* fails with -ENOTCONN instead of waiting for the daemon */
        CALL_ONCE = 1u << 2, /* once sent it is not repeated: fails with -ECONNRESET, and `uncertain` */
};

/* One request: `packet`, `flags`, `expect` and perhaps the functions are given, the rest is the result. */
struct Call {
        ClientPacket packet; /* without serial and request id */
        unsigned flags;
        int expect;            /* body_case of the good answer */
        uint64_t timeout_usec; /* 0: as long as any call */
        void *userdata;
        /*
         * The good answer has come; `fd` is taken by replacing it with -EBADF. What is returned becomes the
         * result.
         */
        int (*on_reply)(Call *call, const ServerPacket *reply, int *fd);
        /* Work to be done while the daemon does its own; called once, without the lock. */
        void (*meanwhile)(Call *call);

        Refusal refusal; /* if the daemon said no: code is not RESULT_OK */
        bool uncertain; /* it was sent and no answer came, at least once: nobody knows whether it was done */

        /* private to connection.c */
        List call_link;
        pthread_cond_t cond;
        bool done, lost;
        int result;
        unsigned n_garbled;
};

struct Connection {
        char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
        const ConnectionHandler *handler;
        void *userdata;
        _Atomic uint64_t timeout_usec; /* CALL_TIMEOUT_USEC */

        pthread_mutex_t lock;
        pthread_cond_t restored; /* or not: look again */
        int fd;
        int epoll_fd; /* watches the socket and the timer; made by connection_watch() */
        int timer_fd;
        bool watched;   /* the socket is in there */
        bool reading;   /* somebody reads from fd without the lock */
        bool restoring; /* somebody connects without the lock */
        bool kicked;    /* there is something to do that no packet will tell of */
        bool dead;      /* in a child */
        List calls;     /* sent, unanswered */
        uint64_t serial;
        uint64_t request_id;
        uint64_t next_attempt_usec;
        uint64_t backoff_usec;
};

/* Returns 0, -EINVAL (path too long). To be deinited also when it was never opened. */
int connection_init(Connection *c, const char *path, const ConnectionHandler *handler, void *userdata);
void connection_deinit(Connection *c);

/* Connect for the first time: once, without back-off. Errors as of handshake_run(). */
int connection_open(Connection *c, Refusal *ret_refusal);

/*
 * Send a request and wait for its answer; requests that the daemon could not serve for the moment are
 * repeated. Returns 0, what on_reply returned, or a negative errno: that of a refusal, -ENOTCONN (the daemon
 * stays away), -ETIMEDOUT, -EBADMSG or -EPROTO (not of the protocol), -ESTALE (in a child), -EMSGSIZE.
 */
int connection_call(Connection *c, Call *call);

/* Make connection_fd(). Returns 0 or a negative errno. */
int connection_watch(Connection *c);

/* Readable when connection_dispatch() has something to do. */
int connection_fd(Connection *c);

/* Make connection_fd() readable. Lock held. */
void connection_kick(Connection *c);

/* All kicks are seen to: be readable again when something comes, or (if not 0) in a while. Lock held. */
void connection_rest(Connection *c, uint64_t usec);

/* Read what has come, and connect if that is due. Waits for nothing but the answers of a new connection. */
void connection_dispatch(Connection *c);

/*
 * In a child, with the lock held by this thread since before the fork: close everything, never to be used
 * again.
 */
void connection_forked(Connection *c);

static inline void connection_lock(Connection *c)
{
        (void)pthread_mutex_lock(&c->lock);
}

static inline void connection_unlock(Connection *c)
{
        (void)pthread_mutex_unlock(&c->lock);
}
