/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration: any text is taken or refused with a reason, and what is taken can be shown and taken again. */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "config.h"
#include "fuzz.h"

/* Users and groups are somebody else's business, and asking for them takes a hundred times as long as all else. */
int __wrap_getpwnam_r(const char *name, struct passwd *user, char *buf, size_t size, struct passwd **ret);
int __wrap_getgrnam_r(const char *name, struct group *group, char *buf, size_t size, struct group **ret);

int __wrap_getpwnam_r(const char *name, struct passwd *user, char *buf, size_t size, struct passwd **ret)
{
        (void)buf;
        (void)size;
        *user = (struct passwd){.pw_uid = (uid_t)strlen(name)};
        *ret = strlen(name) % 4 == 3 ? NULL : user;
        return 0;
}

int __wrap_getgrnam_r(const char *name, struct group *group, char *buf, size_t size, struct group **ret)
{
        (void)buf;
        (void)size;
        *group = (struct group){.gr_gid = (gid_t)strlen(name)};
        *ret = strlen(name) % 4 == 3 ? NULL : group;
        return 0;
}

static void put(const char *path, const void *data, size_t size)
{
        _cleanup_close_ int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

        assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static char path[64];
        Config *config = NULL, *again = NULL;
        char *message = NULL, *text = NULL;
        size_t n = 0;
        FILE *f;
        int r;

        if (!path[0])
                (void)snprintf(path, sizeof(path), "/dev/shm/pmbroker-fuzz-%d.conf", getpid());
        put(path, data, size);
        r = config_load(path, /* must_exist= */ true, &config, &message);
        if (r < 0) {
                assert(!config && message && message[0] != '\0');
                free(message);
                return 0;
        }
        f = open_memstream(&text, &n);
        assert(f);
        config_dump(config, f);
        (void)fclose(f);
        put(path, text, n);
        r = config_load(path, true, &again, &message);
        if (r < 0)
                (void)fprintf(stderr, "%s\n%s\n", message, text);
        assert(r == 0);
        assert(again->n_stores == config->n_stores && again->n_tenants == config->n_tenants);
        config_free(config);
        config_free(again);
        free(text);
        return 0;
}
