/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl provision: what stores on persistent memory need, or make it. */

#include "ctl/verb.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/fetch.h"
#include "ctl/message.h"
#include "ctl/steps.h"

static const char *conclusion(const Pmbroker__V1__ProvisionReport *report, bool apply)
{
        if (steps_status(report) != EXIT_DONE)
                return "refused";
        if (steps_have(report, PMBROKER__V1__STEP_STATE__PLANNED))
                return "to do; --apply does it";
        if (steps_have(report, PMBROKER__V1__STEP_STATE__DONE))
                return "done";
        return apply ? "nothing to do, nothing changed" : "nothing to do";
}

/* One store; its exit status. */
static int provision(CtlConnection *c, const Arguments *arguments, const char *store, Json *json)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__Provision body = PMBROKER__V1__PROVISION__INIT;
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        int r;

        body.store = (char *)(uintptr_t)store;
        body.apply = arguments->apply;
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_PROVISION;
        packet.provision = &body;
        r = steps_request(c, &packet, store, &answer);
        if (r != EXIT_DONE)
                return r;
        if (arguments->table.json) {
                json_open(json, NULL, '{');
                steps_print_json(answer->provisioned, json);
                json_close(json, '}');
        } else {
                (void)printf("%s: %s\n", store, conclusion(answer->provisioned, arguments->apply));
                steps_print(answer->provisioned);
        }
        return steps_status(answer->provisioned);
}

static int provision_all(CtlConnection *c, const Arguments *arguments, Json *json)
{
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        int status = EXIT_DONE, r;
        size_t n = 0;

        r = fetch_stores(c, &answer);
        if (r != EXIT_DONE)
                return r;
        for (size_t i = 0; i < answer->stores->n_rows; i++) {
                if (answer->stores->rows[i]->kind != PMBROKER__V1__STORE_KIND__KIND_FSDAX &&
                        answer->stores->rows[i]->kind != PMBROKER__V1__STORE_KIND__KIND_KMEM)
                        continue;
                r = provision(c, arguments, answer->stores->rows[i]->name, json);
                if (status == EXIT_DONE)
                        status = r;
                n++;
        }
        if (n == 0 && !arguments->quiet)
                message_note("no store is of type fsdax or kmem");
        return status;
}

int verb_provision(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        Json json = {.out = stdout};
        int r;

        r = ctl_connect(arguments, &c);
        if (r != EXIT_DONE)
                return r;
        if (arguments->table.json) {
                json_open(&json, NULL, '{');
                json_open(&json, "stores", '[');
        }
        r = arguments->store ? provision(c, arguments, arguments->store, &json)
                             : provision_all(c, arguments, &json);
        if (arguments->table.json) {
                json_close(&json, ']');
                json_close(&json, '}');
        }
        return r;
}
