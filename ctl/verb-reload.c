/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl reload: read the configuration again. */

#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/reload.h"
#include "ctl/verb.h"

int reload_request(CtlConnection *c, Pmbroker__V1__ServerPacket **ret)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__Reload body = PMBROKER__V1__RELOAD__INIT;
        CtlRequest request = {
                .packet = &packet,
                .expected = PMBROKER__V1__SERVER_PACKET__BODY_RELOADED,
                .changes = true,
                .waiting = "the configuration is being read",
        };

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_RELOAD;
        packet.reload = &body;
        return ctl_request(c, &request, ret);
}

int reload_tell(const Pmbroker__V1__ReloadReport *report, bool quiet)
{
        for (size_t i = 0; i < report->n_lines; i++)
                if (!report->applied)
                        message_error("%s", report->lines[i]);
                else if (!quiet)
                        message_note("%s", report->lines[i]);
        if (!report->applied)
                message_error("the old configuration stays");
        return report->applied ? EXIT_DONE : EXIT_REFUSED;
}

static void print_json(const Pmbroker__V1__ReloadReport *report)
{
        Json json = {.out = stdout};

        json_open(&json, NULL, '{');
        json_bool(&json, "applied", report->applied);
        json_open(&json, "lines", '[');
        for (size_t i = 0; i < report->n_lines; i++)
                json_text(&json, NULL, report->lines[i]);
        json_close(&json, ']');
        json_close(&json, '}');
}

int verb_reload(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        int r;

        r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = reload_request(c, &answer);
        if (r != EXIT_DONE)
                return r;
        if (arguments->table.json) {
                print_json(answer->reloaded);
                return answer->reloaded->applied ? EXIT_DONE : EXIT_REFUSED;
        }
        r = reload_tell(answer->reloaded, arguments->quiet);
        if (r == EXIT_DONE && !arguments->quiet)
                (void)printf("configuration read again\n");
        return r;
}
