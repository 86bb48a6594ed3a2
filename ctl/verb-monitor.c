/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl monitor: what happens, as it happens. */

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/text.h"
#include "ctl/verb.h"
#include "proto/result.h"

static const char *kind_to_string(Pmbroker__V1__HappenedKind kind)
{
        static const char *const names[] = {
                [PMBROKER__V1__HAPPENED_KIND__HAPPENED_UNKNOWN] = "unknown",
                [PMBROKER__V1__HAPPENED_KIND__POOL_CREATED] = "pool-created",
                [PMBROKER__V1__HAPPENED_KIND__POOL_RESIZED] = "pool-resized",
                [PMBROKER__V1__HAPPENED_KIND__POOL_REVOKED] = "pool-revoked",
                [PMBROKER__V1__HAPPENED_KIND__POOL_REVOKING] = "pool-revoking",
                [PMBROKER__V1__HAPPENED_KIND__POOL_DAMAGED] = "pool-damaged",
                [PMBROKER__V1__HAPPENED_KIND__STORE_DAMAGED] = "store-damaged",
                [PMBROKER__V1__HAPPENED_KIND__POOL_RELEASED] = "pool-released",
                [PMBROKER__V1__HAPPENED_KIND__REQUEST_REFUSED] = "request-refused",
                [PMBROKER__V1__HAPPENED_KIND__STORE_DRAIN] = "store-drained",
                [PMBROKER__V1__HAPPENED_KIND__STORE_UNDRAIN] = "store-undrained",
                [PMBROKER__V1__HAPPENED_KIND__LIMIT_SET] = "limit-set",
                [PMBROKER__V1__HAPPENED_KIND__CONFIG_RELOADED] = "config-reloaded",
                [PMBROKER__V1__HAPPENED_KIND__STORE_PROVISIONED] = "store-provisioned",
                [PMBROKER__V1__HAPPENED_KIND__STORE_DEPROVISIONED] = "store-deprovisioned",
                [PMBROKER__V1__HAPPENED_KIND__STORE_IS_AVAILABLE] = "store-available",
                [PMBROKER__V1__HAPPENED_KIND__STORE_NOT_AVAILABLE] = "store-unavailable",
        };

        return (unsigned)kind < ELEMENTSOF(names) ? names[kind] : "unknown";
}

static void format_time(char buf[static 32], uint64_t usec)
{
        time_t seconds = (time_t)(usec / USEC_PER_SEC);
        struct tm tm;
        size_t n = 0;

        if (localtime_r(&seconds, &tm))
                n = strftime(buf, 20, "%Y-%m-%d %H:%M:%S", &tm);
        (void)snprintf(buf + n, 32 - n, ".%03u", (unsigned)(usec / 1000 % 1000));
}

static void json_text_or_null(Json *json, const char *key, const char *s)
{
        if (*s)
                json_text(json, key, s);
        else
                json_null(json, key);
}

static void print_json(const Pmbroker__V1__Happened *h)
{
        Json json = {.out = stdout, .one_line = true};
        char id[17] = "";

        if (h->pool > 0)
                (void)snprintf(id, sizeof(id), "%016" PRIx64, h->pool);
        json_open(&json, NULL, '{');
        json_text(&json, "event", kind_to_string(h->kind));
        json_number(&json, "time_usec", h->time_usec);
        json_text_or_null(&json, "pool", id);
        json_text_or_null(&json, "tenant", h->tenant);
        json_text_or_null(&json, "store", h->store);
        if (*h->command) {
                json_number(&json, "uid", h->uid);
                json_number(&json, "pid", h->pid);
                json_text(&json, "command", h->command);
        }
        if (h->pool > 0) {
                json_number(&json, "bytes", h->bytes);
                json_number(&json, "bytes_before", h->bytes_before);
        }
        if (h->by_admin) {
                json_number(&json, "by_uid", h->by_uid);
                json_number(&json, "by_pid", h->by_pid);
        }
        if (h->code != PMBROKER__V1__CODE__OK)
                json_text(&json, "refusal", result_to_string((Result)h->code));
        json_number(&json, "lost", h->lost);
        json_text(&json, "text", h->text);
        json_close(&json, '}');
}

static int print_event(const Pmbroker__V1__Happened *h, const Arguments *arguments)
{
        _cleanup_free_ char *text = text_escape(h->text);
        char when[32];

        if (!text)
                return message_oom();
        if (arguments->table.json)
                print_json(h);
        else {
                if (h->lost > 0 && !arguments->quiet)
                        message_note("%" PRIu64 " events were lost: this is read too slowly", h->lost);
                format_time(when, h->time_usec);
                (void)printf("%s %-19s %s\n", when, kind_to_string(h->kind), text);
        }
        if (fflush(stdout) == 0)
                return EXIT_DONE;
        return EXIT_REFUSED; /* whoever read it has gone; main() says so */
}

static int watch(CtlConnection *c)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__Watch body = PMBROKER__V1__WATCH__INIT;
        CtlRequest request = {.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_DONE};
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_WATCH;
        packet.watch = &body;
        return ctl_request(c, &request, &answer);
}

int verb_monitor(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        uint64_t count = UINT64_MAX;
        int r;

        if (arguments->count && (parse_u64(arguments->count, &count) < 0 || count == 0)) {
                message_error("--count takes a number from 1 on");
                return EXIT_USAGE;
        }
        r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = watch(c);
        if (r == EXIT_DONE && !arguments->quiet && !arguments->table.json)
                message_note("waiting for something to happen; an interrupt ends it");
        while (r == EXIT_DONE && count > 0) {
                _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *event = NULL;

                r = ctl_next_event(c, -1, &event);
                if (r != EXIT_DONE || event->body_case != PMBROKER__V1__SERVER_PACKET__BODY_HAPPENED)
                        continue;
                r = print_event(event->happened, arguments);
                count--;
        }
        return r;
}
