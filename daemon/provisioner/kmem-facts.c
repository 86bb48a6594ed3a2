/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "provisioner/kmem-facts.h"

/* Only who has CAP_SYS_ADMIN can read or write it. */
#define FACTS "trusted.pmbroker.facts"

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

        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        if (fremovexattr(fd, FACTS) < 0 && errno != ENODATA)
                return -errno;
        if (unlinkat(mnt_fd, store, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTEMPTY)
                return -errno;
        return 0;
}

int kmem_get_facts(int dir_fd, KmemFacts *ret)
{
        KmemFacts facts;
        ssize_t n = fgetxattr(dir_fd, FACTS, &facts, sizeof(facts));

        if (n < 0)
                return -errno;
        if (n != sizeof(facts))
                return -ENODATA; /* of another version */
        *ret = facts;
        return 0;
}

int kmem_set_facts(int dir_fd, const KmemFacts *facts)
{
        return fsetxattr(dir_fd, FACTS, facts, sizeof(*facts), 0) < 0 ? -errno : 0;
}
