/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What the broker counts of itself, for whoever watches it from outside. Nothing is ever taken back: the counters begin
 * with the process. */

#include <stdint.h>

#include "proto/result.h"

#define METRICS_BOUNDS   16
#define METRICS_REQUESTS 32 /* kinds of requests; service.c asserts that there are no more */

/* Microseconds, ascending. */
extern const uint64_t metrics_bounds[METRICS_BOUNDS];

typedef struct RequestMetrics {
        uint64_t count;
        uint64_t sum_usec;
        uint64_t buckets[METRICS_BOUNDS + 1]; /* each its own; the last is for all that took longer */
} RequestMetrics;

typedef struct Metrics {
        RequestMetrics requests[METRICS_REQUESTS];
        uint64_t refusals[_RESULT_MAX];
        uint64_t sessions_total;
        uint64_t sessions_refused;
        uint64_t events_lost;
        uint64_t provisioner_lost;
} Metrics;

/* A request was answered after so long. */
void metrics_observe(RequestMetrics *request, uint64_t usec);
