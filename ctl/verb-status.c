/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl status: how the daemon is. */

#include "ctl/verb.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/fetch.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/text.h"

static int print_json(const Pmbroker__V1__Status *s, bool admin)
{
        Json json = {.out = stdout};

        json_open(&json, NULL, '{');
        json_text(&json, "version", s->version);
        json_number(&json, "pid", s->pid);
        json_number(&json, "uptime", s->uptime_usec / USEC_PER_SEC);
        json_bool(&json, "provisioner", s->provisioner);
        if (admin) {
                json_number(&json, "stores", s->stores);
                json_number(&json, "stores_available", s->stores_available);
                json_number(&json, "capacity", s->capacity);
                json_number(&json, "charged", s->bytes);
                json_number(&json, "pools", s->pools);
                json_number(&json, "releasing", s->releasing);
                json_number(&json, "sessions", s->sessions);
                json_number(&json, "sessions_max", s->sessions_max);
                json_number(&json, "refusals", s->refusals);
                json_bool(&json, "keeps_pools", s->keeps_pools);
        }
        json_close(&json, '}');
        return EXIT_DONE;
}

static char *size_to_string(char buf[static FORMAT_SIZE_MAX], uint64_t bytes, bool exact)
{
        if (!exact)
                return format_size(buf, bytes);
        (void)snprintf(buf, FORMAT_SIZE_MAX, "%" PRIu64, bytes);
        return buf;
}

static void print_figures(const Pmbroker__V1__Status *s, bool bytes)
{
        char charged[FORMAT_SIZE_MAX], capacity[FORMAT_SIZE_MAX];
        unsigned percent = s->capacity > 0 ? (unsigned)((unsigned __int128)s->bytes * 100 / s->capacity) : 0;

        (void)printf("     Stores: %" PRIu32 " of %" PRIu32 " available\n", s->stores_available, s->stores);
        (void)printf("   Capacity: %s of %s charged (%u%%)\n", size_to_string(charged, s->bytes, bytes),
                size_to_string(capacity, s->capacity, bytes), percent);
        (void)printf("      Pools: %" PRIu32, s->pools);
        if (s->releasing > 0)
                (void)printf(", %" PRIu32 " of them releasing", s->releasing);
        (void)printf("\n   Sessions: %" PRIu32 " of %" PRIu32 "\n", s->sessions, s->sessions_max);
        (void)printf("   Refusals: %" PRIu64 "\n", s->refusals);
        (void)printf("    Restart: %s\n", s->keeps_pools ? "of the provisioner keeps all pools"
                                                         : "of the provisioner ends pools (see stores)");
}

static int print_text(const Pmbroker__V1__Status *s, bool bytes, bool admin)
{
        _cleanup_free_ char *version = text_escape(s->version);
        char age[FORMAT_SIZE_MAX];

        if (!version)
                return message_oom();
        (void)printf("  pmbrokerd: %s, pid %" PRIu32 ", up %s\n", version, s->pid,
                format_age(age, s->uptime_usec));
        (void)printf(
                "Provisioner: %s\n", s->provisioner ? "connected" : "away, nothing can be made or resized");
        if (admin)
                print_figures(s, bytes);
        return EXIT_DONE;
}

int verb_status(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        int r;

        r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = fetch_status(c, &answer);
        if (r != EXIT_DONE)
                return r;
        if (arguments->table.json)
                return print_json(answer->status, ctl_is_admin(c));
        return print_text(answer->status, arguments->table.bytes, ctl_is_admin(c));
}
