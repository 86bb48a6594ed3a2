/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "provisioner/facts.h"
#include "provisioner/kmem-facts.h"

int kmem_open_dir(int mnt_fd, const char *store)
{
        int fd = openat(mnt_fd, store, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

int kmem_make_dir(int mnt_fd, const char *store)
{
        if (mkdirat(mnt_fd, store, 0700) < 0 && errno != EEXIST)
                return -errno;
        return kmem_open_dir(mnt_fd, store);
}

int kmem_remove_dir(int mnt_fd, const char *store)
{
        _cleanup_close_ int fd = kmem_open_dir(mnt_fd, store);
        int r;

        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        r = facts_remove(fd);
        if (r < 0)
                return r;
        if (unlinkat(mnt_fd, store, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTEMPTY)
                return -errno;
        return 0;
}

int kmem_get_facts(int dir_fd, KmemFacts *ret)
{
        return facts_get(dir_fd, ret, sizeof(*ret));
}

int kmem_set_facts(int dir_fd, const KmemFacts *facts)
{
        return facts_set(dir_fd, facts, sizeof(*facts));
}
