/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl bridge: the far side of --host. Whoever connects is whom ssh has let in: the daemon sees this process. */

#include "ctl/verb.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/relay.h"
#include "ctl/socket.h"

int verb_bridge(const Arguments *arguments)
{
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (isatty(STDIN_FILENO) == 1 || isatty(STDOUT_FILENO) == 1) {
                message_error("bridge speaks to another pmbrokerctl, not to a terminal: see --host");
                return EXIT_USAGE;
        }
        r = socket_open(arguments, &fd);
        if (r != EXIT_DONE)
                return r;
        r = relay(fd, STDIN_FILENO, STDOUT_FILENO);
        if (r == 0)
                return EXIT_DONE;
        message_error("the connection ends: %s",
                r == -EBADMSG ? "something came that is not of the protocol" : strerror(-r));
        return EXIT_REFUSED;
}
