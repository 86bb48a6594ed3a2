/* SPDX-License-Identifier: BSD-3-Clause */

#include "reload.h"

#include <inttypes.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "log.h"

int reload_begin(const char *path, bool must_exist, Config **ret, char **ret_message)
{
        _cleanup_free_ char *message = NULL;
        struct timespec now = {0};
        int r;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
                (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000);
        r = config_load(path, must_exist, ret, &message);
        if (r < 0) {
                log_lines(LOG_ERR, message);
                (void)log_errno(LOG_ERR, r, "the configuration is not valid, the old one stays");
                if (ret_message)
                        *ret_message = TAKE_PTR(message);
        }
        return r;
}

void reload_end(void)
{
        (void)sd_notify(0, "READY=1");
}
