/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the top: a line about the daemon, a bar for each store and tenant, then the pools that have room. A third of the
 * rows at most goes to tenants, so that some pools are seen on a small terminal, too.
 */

#include "ctl/top-screen.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/bar.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/store-row.h"
#include "ctl/text.h"

#define LINE_SIZE 512
#define FULL      90 /* percent: shown in red */
#define NEARLY    75 /* percent: in yellow */

static const char *const order_names[] = {
        [TOP_BY_LIMIT] = "limit",
        [TOP_BY_USED] = "used",
        [TOP_BY_AGE] = "age",
        [TOP_BY_TENANT] = "tenant",
        [TOP_BY_STORE] = "store",
        [TOP_BY_PID] = "pid",
        [TOP_BY_ID] = "id",
};

int top_order_from_string(const char *s, TopOrder *ret)
{
        for (unsigned i = 0; i < _TOP_ORDER_MAX; i++)
                if (strcmp(s, order_names[i]) == 0) {
                        *ret = (TopOrder)i;
                        return 0;
                }
        return -EINVAL;
}

/* ------------------------------------------------------------------------------------------------ order */

static int compare_numbers(uint64_t a, uint64_t b)
{
        return (a > b) - (a < b);
}

/* Most first, names from a on; pools that are equal by their ids, so that the screen stands still. */
static int compare(const void *x, const void *y, void *userdata)
{
        const Pmbroker__V1__PoolRow *a = *(Pmbroker__V1__PoolRow *const *)x,
                                    *b = *(Pmbroker__V1__PoolRow *const *)y;
        const TopView *view = userdata;
        int r = 0;

        switch (view->order) {
        case TOP_BY_LIMIT:
                r = compare_numbers(b->size, a->size);
                break;
        case TOP_BY_USED:
                r = compare_numbers(b->used, a->used);
                break;
        case TOP_BY_AGE:
                r = compare_numbers(b->age_usec, a->age_usec);
                break;
        case TOP_BY_TENANT:
                r = strcmp(a->tenant, b->tenant);
                break;
        case TOP_BY_STORE:
                r = strcmp(a->store, b->store);
                break;
        case TOP_BY_PID:
                r = compare_numbers(a->pid, b->pid);
                break;
        case TOP_BY_ID:
        case _TOP_ORDER_MAX:
                break;
        }
        if (r == 0)
                r = compare_numbers(a->pool, b->pool);
        return view->reversed ? -r : r;
}

/* ------------------------------------------------------------------------------------------------ lines */

typedef struct Screen {
        const TopView *view;
        FILE *out;
        unsigned rows; /* written */
} Screen;

/* Bytes that are at most so many characters, counting what follows the first byte of one as nothing. */
static size_t cut(const char *s, unsigned characters)
{
        size_t i = 0;

        for (unsigned n = 0; s[i]; i++) {
                if (((unsigned char)s[i] & 0xc0) == 0x80)
                        continue;
                if (n++ == characters)
                        break;
        }
        return i;
}

static void put_line(Screen *s, const char *before, const char *after, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/* `before` and `after` take no room: colours. */
static void put_line(Screen *s, const char *before, const char *after, const char *format, ...)
{
        char line[LINE_SIZE];
        va_list ap;

        if (!s->view->all && s->rows >= s->view->size.rows)
                return;
        va_start(ap, format);
        (void)vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        (void)fprintf(s->out, "%s%.*s%s\n", s->view->colour ? before : "",
                (int)cut(line, s->view->size.columns), line, s->view->colour ? after : "");
        s->rows++;
}

static const char *colour_of(unsigned percent)
{
        return percent >= FULL ? "\033[31m" : percent >= NEARLY ? "\033[33m" : "\033[32m";
}

#define BOLD  "\033[1m"
#define PLAIN "\033[0m"

static void put_bar(Screen *s, const char *name, uint64_t used, uint64_t limit, bool limited, uint32_t pools,
        const char *remark)
{
        unsigned columns = s->view->size.columns, width = columns > 76 ? columns - 62 : 14;
        char bar[BAR_MAX + 3], has[FORMAT_SIZE_MAX], may[FORMAT_SIZE_MAX] = "-";
        unsigned percent = limited ? bar_percent(used, limit) : 0;

        if (limited)
                (void)format_size(may, limit);
        if (width > 44)
                width = 44;
        put_line(s, colour_of(percent), PLAIN, "%-14.14s %s %3u%% %6s of %-6s %5" PRIu32 " %s%s%s", name,
                bar_draw(bar, limited ? used : 0, limited ? limit : 1, width), percent,
                format_size(has, used), may, pools, pools == 1 ? "pool" : "pools", *remark ? " " : "",
                remark);
}

static void put_head(Screen *s, const Overview *o)
{
        char age[FORMAT_SIZE_MAX], has[FORMAT_SIZE_MAX], all[FORMAT_SIZE_MAX], releasing[40] = "";

        if (o->status->releasing > 0)
                (void)snprintf(
                        releasing, sizeof(releasing), ", %" PRIu32 " pools releasing", o->status->releasing);
        put_line(s, BOLD, PLAIN,
                "pmbrokerd %s, up %s: %s%" PRIu32 " pools, %s of %s, %" PRIu32
                " sessions, %.1f refusals/s%s",
                o->status->version, format_age(age, o->status->uptime_usec),
                o->status->provisioner ? "" : "PROVISIONER AWAY, ", o->status->pools,
                format_size(has, o->status->bytes), format_size(all, o->status->capacity),
                o->status->sessions, s->view->refusals_per_sec, releasing);
}

/* ---------------------------------------------------------------------------------------- stores, tenants */

static void put_stores(Screen *s, const Overview *o)
{
        put_line(s, BOLD, PLAIN, "STORE");
        for (size_t i = 0; i < o->stores->n_rows; i++) {
                const Pmbroker__V1__StoreRow *row = o->stores->rows[i];
                const char *state = store_state_to_string(row);

                put_bar(s, row->name, row->charged, row->capacity, true, row->pools,
                        strcmp(state, "available") == 0 ? "" : state);
        }
}

static int compare_tenants(const void *x, const void *y)
{
        const Pmbroker__V1__TenantRow *a = *(const Pmbroker__V1__TenantRow *const *)x,
                                      *b = *(const Pmbroker__V1__TenantRow *const *)y;
        int r = compare_numbers(b->bytes, a->bytes);

        return r != 0 ? r : strcmp(a->name, b->name);
}

static void put_tenants(Screen *s, Overview *o)
{
        size_t room = s->view->size.rows / 3, shown;

        qsort(o->tenants, o->n_tenants, sizeof(*o->tenants), compare_tenants);
        if (room < 2)
                room = 2;
        shown = s->view->all || o->n_tenants <= room ? o->n_tenants : room - 1;
        put_line(s, BOLD, PLAIN, "TENANT");
        for (size_t i = 0; i < shown; i++) {
                const Pmbroker__V1__TenantRow *row = o->tenants[i];

                put_bar(s, row->name, row->bytes, row->bytes_limit, row->bytes_limit < UINT64_MAX,
                        row->pools, row->overridden ? "set" : "");
        }
        if (shown < o->n_tenants)
                put_line(s, "", "", "and %zu more", o->n_tenants - shown);
}

/* ------------------------------------------------------------------------------------------------- pools */

static int put_pool(Screen *s, const Pmbroker__V1__PoolRow *row, Users *users)
{
        _cleanup_free_ char *command = text_escape(row->command), *name = text_escape(row->name);
        char limit[FORMAT_SIZE_MAX], used[FORMAT_SIZE_MAX] = "-", age[FORMAT_SIZE_MAX];
        const char *user = users_get_name(users, row->uid);

        if (!command || !name || !user)
                return message_oom();
        if (row->used_known)
                (void)format_size(used, row->used);
        put_line(s, "", "", "%016" PRIx64 " %-9.9s %-8.8s %-8.8s %7" PRIu32 " %6s %6s %5s %s%s%s", row->pool,
                row->tenant, row->store, user, row->pid, format_size(limit, row->size), used,
                format_age(age, row->age_usec), command, *name ? " " : "", name);
        return EXIT_DONE;
}

static int put_pools(Screen *s, Overview *o, Users *users)
{
        qsort_r(o->pools.rows, o->pools.n_rows, sizeof(Pmbroker__V1__PoolRow *), compare,
                (void *)(uintptr_t)s->view);
        put_line(s, BOLD, PLAIN, "%-16s %-9s %-8s %-8s %7s %6s %6s %5s %s", "POOL", "TENANT", "STORE",
                "USER", "PID", "LIMIT", "USED", "AGE", "COMMAND");
        for (size_t i = 0; i < o->pools.n_rows; i++) {
                int r;

                if (!s->view->all && s->rows >= s->view->size.rows)
                        break;
                r = put_pool(s, o->pools.rows[i], users);
                if (r != EXIT_DONE)
                        return r;
        }
        return EXIT_DONE;
}

int top_write(Overview *o, const TopView *view, Users *users, FILE *out)
{
        Screen s = {.view = view, .out = out};

        put_head(&s, o);
        put_stores(&s, o);
        put_tenants(&s, o);
        return put_pools(&s, o, users);
}
