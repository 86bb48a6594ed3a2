/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file is written by whoever runs this, as the broker has no right to. What the daemon does not take of it is not
 * kept: it would keep the daemon from its next start.
 */

#include "ctl/permanent.h"

#include <string.h>

#include "base/cleanup.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/reload.h"

#define DEFAULT_CONFIG PMBROKER_SYSCONFDIR "/pmbroker/pmbrokerd.conf"

int permanent_check(const Arguments *arguments)
{
        if (arguments->permanent && arguments->host) {
                message_error("--permanent writes a file of that host: run it there");
                return EXIT_USAGE;
        }
        if (arguments->config && !arguments->permanent) {
                message_error("--config means nothing without --permanent");
                return EXIT_USAGE;
        }
        return EXIT_DONE;
}

int permanent_open(const Arguments *arguments, const DropinKind *kind, const char *name, Dropin **ret)
{
        const char *config = arguments->config ? arguments->config : DEFAULT_CONFIG;
        int r = dropin_open(config, kind, name, ret);

        if (r < 0) {
                message_error("cannot read what %s has written for %s beside %s: %s", kind->verb, name,
                        config, strerror(-r));
                return EXIT_REFUSED;
        }
        return EXIT_DONE;
}

static int cannot_write(const Dropin *dropin, int error)
{
        message_error("cannot write %s: %s", dropin_path(dropin), strerror(-error));
        return EXIT_REFUSED;
}

int permanent_apply(CtlConnection *c, const Arguments *arguments, const Dropin *dropin)
{
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        int r = dropin_write(dropin), restored;

        if (r < 0)
                return cannot_write(dropin, r);
        r = reload_request(c, &answer);
        if (r == EXIT_DONE)
                r = reload_tell(answer->reloaded, arguments->quiet);
        if (r == EXIT_DONE)
                return EXIT_DONE;
        restored = dropin_restore(dropin);
        return restored < 0 ? cannot_write(dropin, restored) : r;
}
