/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl revoke POOL: take the memory away at once. */

#include "ctl/verb.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/pools.h"

static int take_away(CtlConnection *c, const Arguments *arguments, uint64_t id)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__RevokePool body = PMBROKER__V1__REVOKE_POOL__INIT;
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        char subject[POOLS_SUBJECT_MAX], waiting[80];
        CtlRequest request = {
                .packet = &packet,
                .expected = PMBROKER__V1__SERVER_PACKET__BODY_DONE,
                .changes = true,
                .subject = pools_subject(id, subject),
                .waiting = waiting,
        };
        int r;

        (void)snprintf(waiting, sizeof(waiting), "%s: waiting for its memory to be taken back", subject);
        body.pool = id;
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_REVOKE_POOL;
        packet.revoke_pool = &body;
        r = ctl_request(c, &request, &answer);
        if (r != EXIT_DONE)
                return r;
        if (arguments->table.json) {
                Json json = {.out = stdout};
                char hex[17];

                (void)snprintf(hex, sizeof(hex), "%016" PRIx64, id);
                json_open(&json, NULL, '{');
                json_text(&json, "id", hex);
                json_bool(&json, "revoked", true);
                json_close(&json, '}');
        } else if (!arguments->quiet)
                (void)printf("%s: revoked\n", subject);
        return EXIT_DONE;
}

int verb_revoke(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        uint64_t id;
        int r;

        r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = pools_resolve(c, arguments->operands[0], &id);
        return r == EXIT_DONE ? take_away(c, arguments, id) : r;
}
