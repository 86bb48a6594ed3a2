/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/kmem-probe.h"
#include "provisioner/pages.h"

#define PROBE "probe"
#define PAGE  4096

static int node_of(const void *memory)
{
        int node = -1;

        return syscall(SYS_get_mempolicy, &node, NULL, 0, memory, MPOL_F_NODE | MPOL_F_ADDR) < 0 ? -errno
                                                                                                 : node;
}

static int probe_memory(int fd, int node, KmemFacts *facts)
{
        uint8_t *memory = pages_map(fd, KMEM_PROBE_BYTES);
        uint64_t elsewhere = 0;

        if (!memory)
                return -errno;
        facts->page_size = pages_touch(memory, KMEM_PROBE_BYTES);
        for (uint64_t i = 0; i < KMEM_PROBE_BYTES; i += PAGE)
                if (node_of(memory + i) != node)
                        elsewhere++;
        (void)munmap(memory, KMEM_PROBE_BYTES);
        log_debug("%llu pages are not on node %d", (unsigned long long)elsewhere, node);
        if (elsewhere == 0)
                facts->flags |= KMEM_PLACED;
        return 0;
}

static int probe(int root, const TmpfsOptions *options, KmemFacts *facts)
{
        _cleanup_close_ int fd = openat(root, PROBE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        int r;

        if (fd < 0 || ftruncate(fd, (off_t)(2 * KMEM_PROBE_BYTES)) < 0)
                return -errno;
        /* By touching: what does not fit ends this child, as it would a client. */
        r = probe_memory(fd, options->node, facts);
        if (r < 0)
                return r;
        if (fallocate(fd, 0, 0, (off_t)(KMEM_PROBE_BYTES + PAGE)) < 0 && errno == ENOSPC)
                facts->flags |= KMEM_LIMIT;
        return 0;
}

int kmem_probe(int dir_fd, const TmpfsOptions *options, KmemFacts *facts)
{
        _cleanup_close_ int root = -EBADF;
        int r, q;

        r = tmpfs_unmount(dir_fd, PROBE); /* of a self-test that was cut off */
        if (r < 0)
                return r;
        root = tmpfs_mount(dir_fd, PROBE, KMEM_PROBE_BYTES, options);
        if (root < 0)
                return root;
        facts->flags = 0;
        r = probe(root, options, facts);
        q = tmpfs_unmount(dir_fd, PROBE);
        return r < 0 ? r : q;
}
