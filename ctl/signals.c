/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "ctl/exit.h"
#include "ctl/message.h"

int signals_take(const int *signals, int *ret_fd)
{
        sigset_t mask;
        int fd = -1;

        (void)sigemptyset(&mask);
        for (; *signals; signals++)
                (void)sigaddset(&mask, *signals);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) == 0)
                fd = signalfd(-1, &mask, SFD_CLOEXEC);
        if (fd < 0) {
                message_error("cannot wait for signals: %s", strerror(errno));
                return EXIT_REFUSED;
        }
        *ret_fd = fd;
        return EXIT_DONE;
}
