/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One metric family after the other, as the format wants them: all samples of a family together. Stores and tenants are
 * labels; there is nothing per pool, of which there may be thousands with names that their owners choose.
 */

#include "ctl/openmetrics.h"

#include <inttypes.h>
#include <string.h>

#include "base/parse.h"
#include "ctl/store-row.h"
#include "proto/result.h"

/* How a label's value is written: backslash, quote and line feed are escaped. */
static void write_value(FILE *f, const char *s)
{
        for (; *s; s++)
                if (*s == '\\' || *s == '"')
                        (void)fprintf(f, "\\%c", *s);
                else if (*s == '\n')
                        (void)fputs("\\n", f);
                else
                        (void)fputc(*s, f);
}

static void family(FILE *f, const char *name, const char *type, const char *unit, const char *help)
{
        (void)fprintf(f, "# TYPE pmbroker_%s %s\n", name, type);
        if (unit)
                (void)fprintf(f, "# UNIT pmbroker_%s %s\n", name, unit);
        (void)fprintf(f, "# HELP pmbroker_%s %s\n", name, help);
}

static void sample(FILE *f, const char *name, const char *label, const char *value, uint64_t number)
{
        (void)fprintf(f, "pmbroker_%s", name);
        if (label) {
                (void)fprintf(f, "{%s=\"", label);
                write_value(f, value);
                (void)fputs("\"}", f);
        }
        (void)fprintf(f, " %" PRIu64 "\n", number);
}

static void seconds(FILE *f, uint64_t usec)
{
        (void)fprintf(f, "%" PRIu64 ".%06" PRIu64, usec / USEC_PER_SEC, usec % USEC_PER_SEC);
}

/* ------------------------------------------------------------------------------------------- the daemon */

static void write_daemon(const Overview *o, FILE *f)
{
        const Pmbroker__V1__Status *s = o->status;
        const Pmbroker__V1__Metrics *m = o->metrics;

        family(f, "build", "info", NULL, "Version of the broker.");
        (void)fputs("pmbroker_build_info{version=\"", f);
        write_value(f, s->version);
        (void)fputs("\"} 1\n", f);
        family(f, "uptime_seconds", "gauge", "seconds", "Time since the broker started.");
        (void)fputs("pmbroker_uptime_seconds ", f);
        seconds(f, s->uptime_usec);
        (void)fputc('\n', f);
        family(f, "provisioner_connected", "gauge", NULL,
                "1 when the provisioner is connected and its pools are known.");
        sample(f, "provisioner_connected", NULL, NULL, s->provisioner);
        family(f, "provisioner_lost", "counter", NULL, "How often the provisioner went away.");
        sample(f, "provisioner_lost_total", NULL, NULL, m->provisioner_lost);
        family(f, "sessions", "gauge", NULL, "Connections of clients.");
        sample(f, "sessions", NULL, NULL, s->sessions);
        family(f, "sessions_limit", "gauge", NULL, "Connections that there may be.");
        sample(f, "sessions_limit", NULL, NULL, s->sessions_max);
        family(f, "sessions_accepted", "counter", NULL, "Connections so far.");
        sample(f, "sessions_accepted_total", NULL, NULL, m->sessions_total);
        family(f, "sessions_refused", "counter", NULL, "Connections that were turned away.");
        sample(f, "sessions_refused_total", NULL, NULL, m->sessions_refused);
        family(f, "events_lost", "counter", NULL, "Events that sessions who watch did not read in time.");
        sample(f, "events_lost_total", NULL, NULL, m->events_lost);
        family(f, "pools_releasing", "gauge", NULL, "Pools whose memory is not back yet.");
        sample(f, "pools_releasing", NULL, NULL, s->releasing);
        family(f, "refusals", "counter", NULL, "Requests that were refused.");
        for (size_t i = 0; i < m->n_refusals; i++)
                sample(f, "refusals_total", "reason", result_to_string((Result)m->refusals[i]->code),
                        m->refusals[i]->count);
}

/* ----------------------------------------------------------------------------------------------- stores */

static void write_stores(const Overview *o, FILE *f)
{
        const Pmbroker__V1__StoreList *list = o->stores;

#define EACH_STORE(sample_name, value)                               \
        for (size_t i = 0; i < list->n_rows; i++) {                  \
                const Pmbroker__V1__StoreRow *row = list->rows[i];   \
                                                                     \
                sample(f, sample_name, "store", row->name, (value)); \
        }

        family(f, "store", "info", NULL, "What a store is.");
        for (size_t i = 0; i < list->n_rows; i++) {
                (void)fputs("pmbroker_store_info{store=\"", f);
                write_value(f, list->rows[i]->name);
                (void)fprintf(f, "\",kind=\"%s\",enforced=\"", store_kind_to_string(list->rows[i]->kind));
                write_value(f, list->rows[i]->enforced_by);
                (void)fprintf(f, "\",page_size=\"%" PRIu32 "\"} 1\n", list->rows[i]->page_size);
        }
        family(f, "store_available", "gauge", NULL, "1 when the store is served.");
        EACH_STORE("store_available", row->available);
        family(f, "store_drained", "gauge", NULL,
                "1 when the store takes no new pools, as an administrator said.");
        EACH_STORE("store_drained", row->drained);
        family(f, "store_capacity_bytes", "gauge", "bytes", "What the store has for pools.");
        EACH_STORE("store_capacity_bytes", row->capacity);
        family(f, "store_charged_bytes", "gauge", "bytes", "What pools have of the store.");
        EACH_STORE("store_charged_bytes", row->charged);
        family(f, "store_pools", "gauge", NULL, "Pools in the store.");
        EACH_STORE("store_pools", row->pools);
        family(f, "store_pools_created", "counter", NULL, "Pools that were made in the store.");
        EACH_STORE("store_pools_created_total", row->created);
        family(f, "store_pools_released", "counter", NULL, "Pools of the store whose memory is back.");
        EACH_STORE("store_pools_released_total", row->released);
#undef EACH_STORE
}

/* ---------------------------------------------------------------------------------------------- tenants */

static void write_tenants(const Overview *o, FILE *f)
{
#define EACH_TENANT(sample_name, condition, value)                            \
        for (size_t i = 0; i < o->n_tenants; i++) {                           \
                const Pmbroker__V1__TenantRow *row = o->tenants[i];           \
                                                                              \
                if (condition)                                                \
                        sample(f, sample_name, "tenant", row->name, (value)); \
        }

        family(f, "tenant_charged_bytes", "gauge", "bytes", "What the tenant's pools have.");
        EACH_TENANT("tenant_charged_bytes", true, row->bytes);
        family(f, "tenant_limit_bytes", "gauge", "bytes", "What they may have; absent without a limit.");
        EACH_TENANT("tenant_limit_bytes", row->bytes_limit < UINT64_MAX, row->bytes_limit);
        family(f, "tenant_pools", "gauge", NULL, "Pools of the tenant.");
        EACH_TENANT("tenant_pools", true, row->pools);
        family(f, "tenant_pools_limit", "gauge", NULL, "Pools that it may have; absent without a limit.");
        EACH_TENANT("tenant_pools_limit", row->pools_max < UINT32_MAX, row->pools_max);
        family(f, "tenant_overridden", "gauge", NULL, "1 when limits of the tenant were set at run time.");
        EACH_TENANT("tenant_overridden", true, row->overridden != 0);
        family(f, "tenant_pools_created", "counter", NULL, "Pools that were made for the tenant.");
        EACH_TENANT("tenant_pools_created_total", true, row->created);
        family(f, "tenant_pools_released", "counter", NULL, "Pools of the tenant whose memory is back.");
        EACH_TENANT("tenant_pools_released_total", true, row->released);
        family(f, "tenant_refusals", "counter", NULL, "Creates and resizes that the tenant was refused.");
        EACH_TENANT("tenant_refusals_total", true, row->refused);
#undef EACH_TENANT
}

/* --------------------------------------------------------------------------------------------- requests */

static void write_request(const Pmbroker__V1__Metrics *m, const Pmbroker__V1__RequestMetrics *r, FILE *f)
{
        uint64_t sum = 0;

        for (size_t i = 0; i < r->n_buckets && i <= m->n_bounds_usec; i++) {
                sum += r->buckets[i];
                (void)fprintf(
                        f, "pmbroker_request_duration_seconds_bucket{request=\"%s\",le=\"", r->request);
                if (i == m->n_bounds_usec)
                        (void)fputs("+Inf", f);
                else
                        (void)fprintf(f, "%g", (double)m->bounds_usec[i] / USEC_PER_SEC);
                (void)fprintf(f, "\"} %" PRIu64 "\n", sum);
        }
        (void)fprintf(
                f, "pmbroker_request_duration_seconds_count{request=\"%s\"} %" PRIu64 "\n", r->request, sum);
        (void)fprintf(f, "pmbroker_request_duration_seconds_sum{request=\"%s\"} ", r->request);
        seconds(f, r->sum_usec);
        (void)fputc('\n', f);
}

void openmetrics_write(const Overview *o, FILE *f)
{
        write_daemon(o, f);
        write_stores(o, f);
        write_tenants(o, f);
        family(f, "request_duration_seconds", "histogram", "seconds",
                "From reading a request to its answer, what the provisioner took included.");
        for (size_t i = 0; i < o->metrics->n_requests; i++)
                write_request(o->metrics, o->metrics->requests[i], f);
        (void)fputs("# EOF\n", f);
}
