/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmbrokerctl resize POOL SIZE. Growing is a matter of milliseconds. Shrinking needs the owner, who gives back what it
 * does not use: the daemon answers when the size is reached, or when the owner has given nothing for 30 s.
 */

#include "ctl/verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/change.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/pools.h"

static int parse_operand(const char *s, Change *ret)
{
        int r = change_parse(s, ret);

        if (r == 0)
                return EXIT_DONE;
        message_error("'%s' is %s: 64M, 1.5G, +512M, -64M are sizes", s,
                r == -ERANGE ? "beyond all sizes" : "not a size");
        return EXIT_USAGE;
}

/* Which pool, and to what size. The size that it has is looked up only when it matters. */
static int resolve(CtlConnection *c, const Arguments *arguments, const Change *change, uint64_t *ret_id,
        uint64_t *ret_target)
{
        _cleanup_(pools_done) Pools pools = {0};
        uint64_t id, target, current = 0;
        bool rounded;
        int r;

        if (change->sign == 0)
                r = pools_resolve(c, arguments->operands[0], &id);
        else
                r = pools_fetch_one(c, arguments->operands[0], &pools);
        if (r != EXIT_DONE)
                return r;
        if (change->sign != 0) {
                id = pools.rows[0]->pool;
                current = pools.rows[0]->size;
        }
        r = change_apply(change, current, &target, &rounded);
        if (r < 0) {
                char subject[POOLS_SUBJECT_MAX], size[FORMAT_SIZE_MAX];

                if (r == -ERANGE)
                        message_error("'%s' is beyond all sizes", arguments->operands[1]);
                else if (change->sign < 0)
                        message_error("%s: it has %s, and at least 2M have to stay (revoke takes all)",
                                pools_subject(id, subject), format_size(size, current));
                else
                        message_error("a pool has at least 2M (revoke takes all)");
                return EXIT_USAGE;
        }
        if (rounded && !arguments->quiet) {
                char size[FORMAT_SIZE_MAX];

                message_note("rounded up to %s: pools are made of units of 2M", format_size(size, target));
        }
        *ret_id = id;
        *ret_target = target;
        return EXIT_DONE;
}

static void print_result(
        const Arguments *arguments, const Pmbroker__V1__PoolSize *size, uint64_t target, const char *subject)
{
        char reached[FORMAT_SIZE_MAX], wanted[FORMAT_SIZE_MAX];

        if (arguments->table.json) {
                Json json = {.out = stdout};
                char id[17];

                (void)snprintf(id, sizeof(id), "%016" PRIx64, size->pool);
                json_open(&json, NULL, '{');
                json_text(&json, "id", id);
                json_number(&json, "limit", size->size);
                json_number(&json, "target", target);
                json_bool(&json, "reached", size->size == target);
                json_close(&json, '}');
        }
        if (arguments->table.bytes) {
                (void)snprintf(reached, sizeof(reached), "%" PRIu64, size->size);
                (void)snprintf(wanted, sizeof(wanted), "%" PRIu64, target);
        } else {
                (void)format_size(reached, size->size);
                (void)format_size(wanted, target);
        }
        if (size->size != target)
                message_error("%s: %s of %s reached%s", subject, reached, wanted,
                        size->size > target ? ": its owner holds the rest" : "");
        else if (!arguments->quiet && !arguments->table.json)
                (void)printf("%s: %s\n", subject, reached);
}

static int resize(CtlConnection *c, const Arguments *arguments, uint64_t id, uint64_t target)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__ResizePool body = PMBROKER__V1__RESIZE_POOL__INIT;
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        char subject[POOLS_SUBJECT_MAX], waiting[80];
        CtlRequest request = {
                .packet = &packet,
                .expected = PMBROKER__V1__SERVER_PACKET__BODY_SIZE,
                .changes = true,
                .subject = pools_subject(id, subject),
                .waiting = waiting,
        };
        int r;

        (void)snprintf(waiting, sizeof(waiting), "%s: waiting for its owner to give memory back", subject);
        body.pool = id;
        body.size = target;
        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_RESIZE_POOL;
        packet.resize_pool = &body;
        r = ctl_request(c, &request, &answer);
        if (r != EXIT_DONE)
                return r;
        if (answer->size->pool != id)
                return ctl_nonsense(c, "the answer is about another pool");
        print_result(arguments, answer->size, target, subject);
        return answer->size->size == target ? EXIT_DONE : EXIT_REFUSED;
}

int verb_resize(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        uint64_t id, target;
        Change change;
        int r;

        r = parse_operand(arguments->operands[1], &change);
        if (r == EXIT_DONE)
                r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = resolve(c, arguments, &change, &id, &target);
        return r == EXIT_DONE ? resize(c, arguments, id, target) : r;
}
