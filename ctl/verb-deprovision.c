/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl deprovision STORE: take a store on persistent memory down again. */

#include "ctl/verb.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/steps.h"

int verb_deprovision(const Arguments *arguments)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__Deprovision body = PMBROKER__V1__DEPROVISION__INIT;
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        const char *store = arguments->operands[0];
        int r;

        body.store = (char *)(uintptr_t)store;
        body.force = arguments->force;
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_DEPROVISION;
        packet.deprovision = &body;
        r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = steps_request(c, &packet, store, &answer);
        if (r != EXIT_DONE)
                return r;
        r = steps_status(answer->provisioned);
        if (arguments->table.json) {
                Json json = {.out = stdout};

                json_open(&json, NULL, '{');
                steps_print_json(answer->provisioned, &json);
                json_close(&json, '}');
                return r;
        }
        (void)printf("%s: %s\n", store, r == EXIT_DONE ? "deprovisioned" : "refused");
        steps_print(answer->provisioned);
        if (r == EXIT_DONE && !arguments->quiet)
                message_note(
                        "as long as store %s is in the configuration, the next start makes it again", store);
        return r;
}
