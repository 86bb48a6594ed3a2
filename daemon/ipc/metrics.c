/* SPDX-License-Identifier: BSD-3-Clause */

#include "ipc/metrics.h"

const uint64_t metrics_bounds[METRICS_BOUNDS] = {50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000,
        100000, 250000, 500000, 1000000, 5000000, 30000000};

void metrics_observe(RequestMetrics *request, uint64_t usec)
{
        unsigned i = 0;

        while (i < METRICS_BOUNDS && usec > metrics_bounds[i])
                i++;
        request->buckets[i]++;
        request->count++;
        request->sum_usec += usec;
}
