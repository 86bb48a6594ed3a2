/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmbrokerctl resize POOL SIZE. Growing is a matter of milliseconds. Shrinking needs the owner, who gives back what it
 * does not use: the daemon answers when the size is reached, or when the owner has given nothing for 30 s.
 */

#include "ctl/verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/bar.h"
#include "ctl/change.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/message.h"
#include "ctl/pools.h"
#include "ctl/terminal.h"

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

/* ---------------------------------------------------------------------------------------------- progress */

/* A second session asks how far it is; while it cannot, nothing is shown. */
typedef struct Progress {
        const Arguments *arguments;
        CtlConnection *connection;
        uint64_t id, start, target;
        bool broken;
        bool shown;
} Progress;

static int look(Progress *p, uint64_t *ret_size)
{
        _cleanup_(pools_done) Pools pools = {0};
        char spec[17];
        int r = EXIT_DONE;

        (void)snprintf(spec, sizeof(spec), "%016" PRIx64, p->id);
        if (!p->connection)
                r = ctl_connect(p->arguments, &p->connection);
        if (r == EXIT_DONE)
                r = pools_fetch_one(p->connection, spec, &pools);
        if (r == EXIT_DONE)
                *ret_size = pools.rows[0]->size;
        return r;
}

static void draw(Progress *p, uint64_t size)
{
        uint64_t whole = p->start > p->target ? p->start - p->target : p->target - p->start;
        uint64_t part = p->start > p->target ? p->start - size : size - p->start;
        char bar[BAR_MAX + 3], has[FORMAT_SIZE_MAX], wanted[FORMAT_SIZE_MAX];
        unsigned columns = terminal_size().columns;

        if (size > (p->start > p->target ? p->start : p->target))
                return; /* somebody else's doing */
        (void)fprintf(stderr, "\r%s %3u%% %s of %s\033[K",
                bar_draw(bar, part, whole, columns > 60 ? columns - 30 : 30), bar_percent(part, whole),
                format_size(has, size), format_size(wanted, p->target));
        (void)fflush(stderr);
        p->shown = true;
}

static void on_tick(void *userdata)
{
        Progress *p = userdata;
        uint64_t size = 0;

        if (p->broken)
                return;
        message_set_muted(true);
        p->broken = look(p, &size) != EXIT_DONE;
        message_set_muted(false);
        if (p->broken)
                return;
        if (p->start == 0)
                p->start = size;
        draw(p, size);
}

static void progress_done(Progress *p)
{
        if (p->shown)
                (void)fputs("\r\033[K", stderr);
        p->connection = ctl_disconnect(p->connection);
}

/* ------------------------------------------------------------------------------------------------ resize */

/* Once; where it ended is in *ret_size. */
static int resize_once(CtlConnection *c, const Arguments *arguments, uint64_t id, uint64_t target,
        Pmbroker__V1__PoolSize *ret)
{
        _cleanup_(progress_done) Progress progress = {.arguments = arguments, .id = id, .target = target};
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
        if (!arguments->quiet && !arguments->table.json && !arguments->host && isatty(STDERR_FILENO) == 1) {
                request.tick = on_tick;
                request.userdata = &progress;
        }
        r = ctl_request(c, &request, &answer);
        if (r != EXIT_DONE)
                return r;
        if (answer->size->pool != id)
                return ctl_nonsense(c, "the answer is about another pool");
        ret->pool = id;
        ret->size = answer->size->size;
        return EXIT_DONE;
}

/* What the owner did not give back in time, it may later: with --wait it is asked again. */
static int resize(CtlConnection *c, const Arguments *arguments, uint64_t id, uint64_t target)
{
        char subject[POOLS_SUBJECT_MAX];
        Pmbroker__V1__PoolSize size = PMBROKER__V1__POOL_SIZE__INIT;
        int r;

        do {
                r = resize_once(c, arguments, id, target, &size);
                if (r != EXIT_DONE)
                        return r;
        } while (arguments->wait && size.size > target);
        print_result(arguments, &size, target, pools_subject(id, subject));
        return size.size == target ? EXIT_DONE : EXIT_REFUSED;
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
