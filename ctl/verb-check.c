/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl check: the doctor. Everything is looked at, whatever was found before. */

#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/check.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/verb.h"

/* What the session is refused, it is not: it is told in other words. */
static int reach(Check *c, Overview *ret)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *connection = NULL;
        const char *path = arguments_socket(c->arguments);
        int r;

        message_set_muted(true);
        r = ctl_connect(c->arguments, &connection);
        if (r == EXIT_DONE)
                r = overview_fetch(connection, 0, ret);
        message_set_muted(false);
        if (r == EXIT_DONE)
                findings_add(&c->findings, FINDING_OK, "socket", NULL, "pmbrokerd %s answers at %s",
                        ret->status->version, path);
        else if (connection && r == EXIT_REFUSED && !ctl_is_admin(connection))
                findings_add(&c->findings, FINDING_NOTE, "socket",
                        "run check as root, or as a member of AdminGroup=",
                        "pmbrokerd answers at %s, but what it serves is shown to administrators and "
                        "observers only",
                        path);
        else
                findings_add(&c->findings, FINDING_FAILURE, "socket",
                        "`systemctl start pmbrokerd.socket`, or name another socket with --socket",
                        "no pmbrokerd answers at %s", path);
        return r;
}

static void check_done(Check *c)
{
        findings_done(&c->findings);
}

int verb_check(const Arguments *arguments)
{
        _cleanup_(overview_done) Overview overview = {0};
        _cleanup_(check_done) Check c = {
                .arguments = arguments,
                .root = arguments->root ? arguments->root : "",
        };

        if (reach(&c, &overview) == EXIT_DONE) {
                c.overview = &overview;
                check_daemon(&c);
        }
        check_configuration(&c);
        check_kernel(&c);
        check_limits(&c);
        check_systemd(&c);
        return findings_print(&c.findings, arguments);
}
