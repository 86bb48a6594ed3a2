/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The clock that time-outs are measured with. */

#include <stdint.h>
#include <time.h>

#include "base/parse.h"

static inline uint64_t now_usec(void)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

static inline struct timespec usec_to_timespec(uint64_t usec)
{
        return (struct timespec){
                .tv_sec = (time_t)(usec / USEC_PER_SEC),
                .tv_nsec = (long)(usec % USEC_PER_SEC * 1000),
        };
}
