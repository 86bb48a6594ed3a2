/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#include "base/parse.h"
#include "provisioner/interrupt.h"

/* The first one may come just before the call that it is meant for. */
#define AGAIN_USEC 20000

static void on_alarm(int signal)
{
        (void)signal;
}

int interrupt_after(uint64_t usec)
{
        struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART */
        struct itimerval timer = {
                .it_value = {.tv_sec = (time_t)(usec / USEC_PER_SEC),
                        .tv_usec = (suseconds_t)(usec % USEC_PER_SEC)},
                .it_interval = {.tv_usec = AGAIN_USEC},
        };

        if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &timer, NULL) < 0)
                return -errno;
        return 0;
}

void interrupt_stop(void)
{
        struct itimerval off = {};

        (void)setitimer(ITIMER_REAL, &off, NULL);
}
