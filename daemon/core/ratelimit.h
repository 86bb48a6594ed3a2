/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A token bucket: `burst` tokens at most, `per_sec` new ones each second. Time is given to it. */

#include <stdbool.h>
#include <stdint.h>

typedef struct RateLimit {
        uint32_t per_sec; /* 0: nothing is limited */
        uint32_t burst;
        uint64_t tokens_usec; /* tokens × USEC_PER_SEC / per_sec, as time that may be spent */
        uint64_t last_usec;
} RateLimit;

void ratelimit_init(RateLimit *limit, uint32_t per_sec, uint32_t burst, uint64_t now_usec);
/* Other figures; what is in the bucket stays, up to the new burst. */
void ratelimit_set(RateLimit *limit, uint32_t per_sec, uint32_t burst);
/* Take one token; false when there is none. */
bool ratelimit_take(RateLimit *limit, uint64_t now_usec);
/* True when all tokens are there, so that forgetting the bucket loses nothing. */
bool ratelimit_is_full(RateLimit *limit, uint64_t now_usec);
