/* SPDX-License-Identifier: BSD-3-Clause */
/* Preloaded into a daemon: the clock that can be set is set all the time, by years, to and fro. */

#include <dlfcn.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>

#define YEARS (10 * 365 * 86400L)

static time_t jump(void)
{
        static atomic_uint n;
        static const time_t where[] = {0, YEARS, -YEARS, YEARS / 100, -3600, 3600};

        return where[atomic_fetch_add(&n, 1) % (sizeof(where) / sizeof(where[0]))];
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *ts)
{
        static int (*real)(clockid_t, struct timespec *);
        int r;

        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
        r = real(clock, ts);
        if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
                ts->tv_sec += jump();
        return r;
}

__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
        struct timespec ts;

        (void)zone;
        (void)clock_gettime(CLOCK_REALTIME, &ts);
        *tv = (struct timeval){.tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000};
        return 0;
}

__attribute__((visibility("default"))) time_t time(time_t *ret)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_REALTIME, &ts);
        if (ret)
                *ret = ts.tv_sec;
        return ts.tv_sec;
}
