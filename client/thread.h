/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Threads of the library's own. */

#include <pthread.h>
#include <signal.h>

/* As pthread_create(), without any signal: those are the application's. Returns 0 or a negative errno. */
static inline int thread_start(pthread_t *ret, void *(*run)(void *userdata), void *userdata)
{
        sigset_t all, before;
        int r;

        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        r = -pthread_create(ret, NULL, run, userdata);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        return r;
}
