/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl drain STORE: no new pools. */

#include "ctl/verb.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/fetch.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/permanent.h"

static int ask(CtlConnection *c, const char *store, bool undo)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__DrainStore body = PMBROKER__V1__DRAIN_STORE__INIT;
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        char subject[80];
        CtlRequest request = {
                .packet = &packet,
                .expected = PMBROKER__V1__SERVER_PACKET__BODY_DONE,
                .changes = true,
                .subject = subject,
        };

        (void)snprintf(subject, sizeof(subject), "store %.60s", store);
        body.store = (char *)(uintptr_t)store;
        body.undo = undo;
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_DRAIN_STORE;
        packet.drain_store = &body;
        return ctl_request(c, &request, &answer);
}

/* There must be such a store; whether the configuration drains it is in *ret. */
static int find_store(CtlConnection *c, const char *store, bool *ret)
{
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        int r = fetch_stores(c, &answer);

        if (r != EXIT_DONE)
                return r;
        for (size_t i = 0; i < answer->stores->n_rows; i++)
                if (strcmp(answer->stores->rows[i]->name, store) == 0) {
                        *ret = answer->stores->rows[i]->drained_configured;
                        return EXIT_DONE;
                }
        message_error("store %s: there is no such store", store);
        return EXIT_REFUSED;
}

static int configure(CtlConnection *c, const Arguments *arguments, const char *store)
{
        _cleanup_(cleanup_dropin_free) Dropin *dropin = NULL;
        bool configured;
        int r;

        /* Before anything is written. */
        r = find_store(c, store, &configured);
        if (r == EXIT_DONE)
                r = permanent_open(arguments, &dropin_drain, store, &dropin);
        if (r == EXIT_DONE && dropin_set(dropin, "Drained", arguments->undo ? "" : "yes") < 0)
                r = message_oom();
        if (r == EXIT_DONE)
                r = permanent_apply(c, arguments, dropin);
        if (r == EXIT_DONE)
                r = find_store(c, store, &configured);
        if (r == EXIT_DONE && configured && arguments->undo) {
                message_error("store %s: another file of the configuration has Drained=yes", store);
                return EXIT_REFUSED;
        }
        return r;
}

int verb_drain(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        const char *store = arguments->operands[0];
        int r;

        r = permanent_check(arguments);
        if (r == EXIT_DONE)
                r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE && arguments->permanent)
                r = configure(c, arguments, store);
        /* Also then: what was said at run time before is replaced, and it is on record who wanted it. */
        if (r == EXIT_DONE)
                r = ask(c, store, arguments->undo);
        if (r != EXIT_DONE)
                return r;
        if (arguments->table.json) {
                Json json = {.out = stdout};

                json_open(&json, NULL, '{');
                json_text(&json, "store", store);
                json_bool(&json, "drained", !arguments->undo);
                json_bool(&json, "permanent", arguments->permanent);
                json_close(&json, '}');
        } else if (!arguments->quiet)
                (void)printf("store %s: takes %s\n", store,
                        arguments->undo ? "new pools again" : "no new pools from now on");
        return EXIT_DONE;
}
