/* SPDX-License-Identifier: BSD-3-Clause */

/* The side of a work order that a worker sees. It may hang in any of these calls. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "provisioner/store-backend.h"
#include "provisioner/work.h"

static int extend(int fd, uint64_t length)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if ((uint64_t)st.st_size >= length) /* the client may have been quicker */
                return 0;
        return ftruncate(fd, (off_t)length) < 0 ? -errno : 0;
}

static int punch(int fd, const JobRange *ranges, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                off_t from = (off_t)(ranges[i].first * JOB_UNIT),
                      bytes = (off_t)(ranges[i].count * JOB_UNIT);
                while (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, bytes) < 0)
                        if (errno != EINTR)
                                return -errno;
        }
        return 0;
}

/* Returns the former value, or -1 when there is nothing to put back. */
static int set_oom_score(int score)
{
        char text[16] = "";
        _cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
        int former;

        if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
                return -1;
        former = atoi(text);
        (void)dprintf(fd, "%d", score);
        return former;
}

static int allocate_units(int fd, uint64_t bytes, uint64_t length)
{
        struct statfs st;

        if (length <= bytes)
                return fallocate(fd, 0, 0, (off_t)length) < 0 ? -errno : 0;
        /* Which units have memory only the client knows; those that have cost nothing here. */
        for (uint64_t at = 0; at < length; at += JOB_UNIT) {
                if (fstatfs(fd, &st) < 0)
                        return -errno;
                if (st.f_bfree == 0)
                        return 0;
                if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)JOB_UNIT) < 0)
                        return -errno;
        }
        return 0;
}

static int allocate(int fd, uint64_t bytes, uint64_t length)
{
        /* When memory runs out, whoever asked for it shall be the one that ends. */
        int former = set_oom_score(1000);
        int r = allocate_units(fd, bytes, length);

        if (former >= 0)
                (void)set_oom_score(former);
        return r;
}

static int work_ordinarily(const WorkOrder *order, int fd)
{
        switch ((WorkOp)order->op) {
        case WORK_EXTEND:
                return extend(fd, order->length);
        case WORK_PUNCH:
                return punch(fd, order->ranges, order->n);
        case WORK_ALLOCATE:
                return allocate(fd, order->bytes, order->length);
        case WORK_TRUNCATE:
                return ftruncate(fd, 0) < 0 ? -errno : 0;
        case WORK_RELEASE: /* there is no ordinary way */
        case WORK_RESIZE:
        case WORK_SEAL:
        case WORK_EXAMINE:
                break;
        }
        return -EINVAL;
}

void work_carry_out(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result)
{
        const StoreBackend *backend = store_backend(order->kind);
        int r = backend ? backend->work(order, fds, result) : -EINVAL;

        result->error = r == WORK_ORDINARY ? work_ordinarily(order, fds[WORK_FD_FILE]) : r;
}
