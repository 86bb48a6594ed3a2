/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmbrokerctl set-limit TENANT SETTING=VALUE...: at run time the daemon keeps it. For --permanent, the file is written by
 * whoever runs this, as the broker has no right to: then the configuration is read again, and what was set at run time
 * is taken back, as it would hide what the file says.
 */

#include "ctl/verb.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/limits.h"
#include "ctl/message.h"
#include "ctl/permanent.h"

static int parse_operands(const Arguments *arguments, Pmbroker__V1__SetLimit *ret)
{
        char error[LIMITS_ERROR_MAX];

        for (size_t i = 1; i < arguments->n_operands; i++)
                if (limits_parse(arguments->operands[i], ret, error) < 0) {
                        message_error("%s", error);
                        return EXIT_USAGE;
                }
        return EXIT_DONE;
}

static int ask(CtlConnection *c, Pmbroker__V1__SetLimit *body)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        char subject[80];
        CtlRequest request = {
                .packet = &packet,
                .expected = PMBROKER__V1__SERVER_PACKET__BODY_DONE,
                .changes = true,
                .subject = subject,
        };

        (void)snprintf(subject, sizeof(subject), "tenant %.60s", body->tenant);
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_SET_LIMIT;
        packet.set_limit = body;
        return ctl_request(c, &request, &answer);
}

/* The words as they stand on the command line; they have been parsed, so that they have a "=". */
static int fill_dropin(Dropin *dropin, const Arguments *arguments)
{
        for (size_t i = 1; i < arguments->n_operands; i++) {
                const char *word = arguments->operands[i], *equals = strchr(word, '=');

                for (const LimitName *name = limit_names; name->key; name++)
                        if (strncasecmp(word, name->key, strlen(name->key)) == 0 &&
                                word + strlen(name->key) == equals &&
                                dropin_set(dropin, name->key, equals + 1) < 0)
                                return message_oom();
        }
        return EXIT_DONE;
}

static int set_permanently(CtlConnection *c, const Arguments *arguments, Pmbroker__V1__SetLimit *body)
{
        _cleanup_(cleanup_dropin_free) Dropin *dropin = NULL;
        Pmbroker__V1__SetLimit nothing = PMBROKER__V1__SET_LIMIT__INIT, back = PMBROKER__V1__SET_LIMIT__INIT;
        int r;

        /* Whether there is such a tenant, and whether we may, before anything is written. */
        nothing.tenant = back.tenant = body->tenant;
        r = ask(c, &nothing);
        if (r == EXIT_DONE)
                r = permanent_open(arguments, &dropin_set_limit, body->tenant, &dropin);
        if (r == EXIT_DONE)
                r = fill_dropin(dropin, arguments);
        if (r == EXIT_DONE)
                r = permanent_apply(c, arguments, dropin);
        if (r != EXIT_DONE)
                return r;
        back.clear = body->set | body->clear;
        r = ask(c, &back);
        if (r == EXIT_DONE && !arguments->quiet && !arguments->table.json)
                (void)printf("tenant %s: %s written, configuration read again\n", body->tenant,
                        dropin_path(dropin));
        return r;
}

static void print_json(const Arguments *arguments, const Pmbroker__V1__SetLimit *body)
{
        Json json = {.out = stdout};

        json_open(&json, NULL, '{');
        json_text(&json, "tenant", body->tenant);
        json_bool(&json, "permanent", arguments->permanent);
        json_open(&json, "set", '[');
        for (const LimitName *name = limit_names; name->key; name++)
                if (body->set & name->bit)
                        json_text(&json, NULL, name->key);
        json_close(&json, ']');
        json_open(&json, "cleared", '[');
        for (const LimitName *name = limit_names; name->key; name++)
                if (body->clear & name->bit)
                        json_text(&json, NULL, name->key);
        json_close(&json, ']');
        json_close(&json, '}');
}

int verb_set_limit(const Arguments *arguments)
{
        Pmbroker__V1__SetLimit body = PMBROKER__V1__SET_LIMIT__INIT;
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        int r;

        body.tenant = (char *)(uintptr_t)arguments->operands[0];
        r = permanent_check(arguments);
        if (r == EXIT_DONE)
                r = parse_operands(arguments, &body);
        if (r == EXIT_DONE)
                r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = arguments->permanent ? set_permanently(c, arguments, &body) : ask(c, &body);
        if (r != EXIT_DONE)
                return r;
        if (arguments->table.json)
                print_json(arguments, &body);
        else if (!arguments->quiet && !arguments->permanent)
                (void)printf("tenant %s: %s until the broker restarts\n", body.tenant,
                        body.set ? "set" : "as configured, not set");
        return EXIT_DONE;
}
