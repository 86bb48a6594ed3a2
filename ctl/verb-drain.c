/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl drain STORE: no new pools. */

#include "ctl/verb.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/json.h"

int verb_drain(const Arguments *arguments)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__DrainStore body = PMBROKER__V1__DRAIN_STORE__INIT;
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        const char *store = arguments->operands[0];
        char subject[80];
        CtlRequest request = {
                .packet = &packet,
                .expected = PMBROKER__V1__SERVER_PACKET__BODY_DONE,
                .changes = true,
                .subject = subject,
        };
        int r;

        (void)snprintf(subject, sizeof(subject), "store %.60s", store);
        body.store = (char *)(uintptr_t)store;
        body.undo = arguments->undo;
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_DRAIN_STORE;
        packet.drain_store = &body;
        r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = ctl_request(c, &request, &answer);
        if (r != EXIT_DONE)
                return r;
        if (arguments->table.json) {
                Json json = {.out = stdout};

                json_open(&json, NULL, '{');
                json_text(&json, "store", store);
                json_bool(&json, "drained", !arguments->undo);
                json_close(&json, '}');
        } else if (!arguments->quiet)
                (void)printf("%s: %s\n", subject,
                        arguments->undo ? "takes new pools again" : "takes no new pools from now on");
        return EXIT_DONE;
}
