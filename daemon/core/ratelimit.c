/* SPDX-License-Identifier: BSD-3-Clause */
/* The bucket holds time, not tokens: a token costs USEC_PER_SEC / per_sec, so that no fraction is ever lost.
 */

#include "core/ratelimit.h"

#include "base/parse.h"

static uint64_t cost(const RateLimit *l)
{
        return USEC_PER_SEC / l->per_sec > 0 ? USEC_PER_SEC / l->per_sec : 1;
}

static uint64_t full(const RateLimit *l)
{
        return cost(l) * l->burst;
}

static void refill(RateLimit *l, uint64_t now_usec)
{
        uint64_t passed = now_usec > l->last_usec ? now_usec - l->last_usec : 0;

        l->last_usec = now_usec;
        l->tokens_usec = passed >= full(l) - l->tokens_usec ? full(l) : l->tokens_usec + passed;
}

void ratelimit_init(RateLimit *limit, uint32_t per_sec, uint32_t burst, uint64_t now_usec)
{
        *limit = (RateLimit){.per_sec = per_sec, .burst = burst, .last_usec = now_usec};
        if (per_sec > 0)
                limit->tokens_usec = full(limit);
}

void ratelimit_set(RateLimit *limit, uint32_t per_sec, uint32_t burst)
{
        if (limit->per_sec == per_sec && limit->burst == burst)
                return;
        if (limit->per_sec == 0) {
                ratelimit_init(limit, per_sec, burst, limit->last_usec);
                return;
        }
        limit->per_sec = per_sec;
        limit->burst = burst;
        if (per_sec > 0 && limit->tokens_usec > full(limit))
                limit->tokens_usec = full(limit);
}

bool ratelimit_take(RateLimit *limit, uint64_t now_usec)
{
        if (limit->per_sec == 0)
                return true;
        refill(limit, now_usec);
        if (limit->tokens_usec < cost(limit))
                return false;
        limit->tokens_usec -= cost(limit);
        return true;
}

bool ratelimit_is_full(RateLimit *limit, uint64_t now_usec)
{
        if (limit->per_sec == 0)
                return true;
        refill(limit, now_usec);
        return limit->tokens_usec == full(limit);
}
