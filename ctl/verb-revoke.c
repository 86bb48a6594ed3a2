/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl revoke POOL: take the memory away, at once or after a time of grace. */

#include "ctl/verb.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/pools.h"

#define GRACE_SEC_MAX UINT64_C(86400)

static int take_away(CtlConnection *c, const Arguments *arguments, uint64_t id, uint32_t grace_sec)
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

        if (grace_sec > 0)
                (void)snprintf(waiting, sizeof(waiting), "%s: its owner has %us to let it go", subject,
                        (unsigned)grace_sec);
        else
                (void)snprintf(
                        waiting, sizeof(waiting), "%s: waiting for its memory to be taken back", subject);
        body.pool = id;
        body.grace_sec = grace_sec;
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

/* Whole seconds; what is less than one is one. */
static int parse_grace(const char *s, uint32_t *ret_sec)
{
        uint64_t usec = 0;

        if (s && (parse_usec(s, &usec) < 0 || usec > GRACE_SEC_MAX * USEC_PER_SEC)) {
                message_error("--grace takes up to a day: 30, 5min, 1h");
                return EXIT_USAGE;
        }
        *ret_sec = (uint32_t)((usec + USEC_PER_SEC - 1) / USEC_PER_SEC);
        return EXIT_DONE;
}

int verb_revoke(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        uint32_t grace_sec = 0;
        uint64_t id;
        int r;

        r = parse_grace(arguments->grace, &grace_sec);
        if (r == EXIT_DONE)
                r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = pools_resolve(c, arguments->operands[0], &id);
        return r == EXIT_DONE ? take_away(c, arguments, id, grace_sec) : r;
}
