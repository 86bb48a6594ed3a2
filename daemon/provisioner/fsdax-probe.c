/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/fsdax-probe.h"
#include "provisioner/interrupt.h"
#include "provisioner/pages.h"
#include "provisioner/quota.h"
#include "provisioner/seal.h"

#define TOUCHED   (UINT64_C(64) << 20)
#define WAIT_USEC 200000

typedef struct Trial {
        int dir_fd;
        int fd;
        uint64_t bytes; /* of the file */
} Trial;

static int remove_old(int dir_fd)
{
        _cleanup_close_ int fd = openat(dir_fd, FSDAX_PROBE_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        (void)seal_set(fd, false);
        return unlinkat(dir_fd, FSDAX_PROBE_FILE, 0) < 0 ? -errno : 0;
}

static void trial_end(Trial *trial)
{
        if (trial->fd < 0)
                return;
        (void)seal_set(trial->fd, false);
        (void)unlinkat(trial->dir_fd, FSDAX_PROBE_FILE, 0);
        trial->fd = safe_close(trial->fd);
}

static int probe_pages(Trial *trial, FsdaxFacts *facts)
{
        struct statx st;
        void *memory;

        if (statx(trial->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) < 0)
                return -errno;
        if (st.stx_attributes_mask & STATX_ATTR_DAX && st.stx_attributes & STATX_ATTR_DAX)
                facts->flags |= FSDAX_DAX;
        memory = pages_map(trial->fd, trial->bytes);
        if (!memory)
                return -errno;
        facts->page_size = pages_touch(memory, trial->bytes);
        (void)munmap(memory, trial->bytes);
        return 0;
}

static int probe_quota(Trial *trial, FsdaxFacts *facts)
{
        int r;

        if (ftruncate(trial->fd, 0) < 0)
                return -errno;
        r = quota_set_project(trial->fd, FSDAX_PROBE_PROJECT);
        if (r < 0)
                return r;
        r = quota_set_limit(trial->fd, FSDAX_PROBE_PROJECT, JOB_UNIT);
        if (r < 0) {
                (void)log_errno(LOG_DEBUG, r, "quotactl_fd");
                return 0;
        }
        if (fallocate(trial->fd, 0, 0, (off_t)(4 * JOB_UNIT)) < 0 && (errno == EDQUOT || errno == ENOSPC))
                facts->flags |= FSDAX_QUOTA;
        /* Not in the way of what comes. */
        r = quota_set_limit(trial->fd, FSDAX_PROBE_PROJECT, trial->bytes);
        if (r < 0)
                return r;
        return ftruncate(trial->fd, 0) < 0 ? -errno : 0;
}

/* With a mapping of ours, which keeps the kernel asking for pins also after the client's mapping is gone. */
static int probe_pins(Trial *trial, FsdaxFacts *facts)
{
        uint8_t *memory = pages_map(trial->fd, JOB_UNIT);
        int fds[2], r = 0;
        char page[4096];

        if (!memory)
                return -errno;
        if (pipe2(fds, O_CLOEXEC) < 0) {
                r = -errno;
                (void)munmap(memory, JOB_UNIT);
                return r;
        }
        memory[0] = 1;
        struct iovec iov = {memory, sizeof(page)};
        ssize_t pinned = vmsplice(fds[1], &iov, 1, 0);
        if (pinned < 0)
                (void)log_errno(LOG_DEBUG, errno, "vmsplice");
        (void)munmap(memory, JOB_UNIT);
        r = interrupt_after(WAIT_USEC);
        if (r >= 0 && pinned > 0 && ftruncate(trial->fd, 0) < 0 && errno == EINTR)
                facts->flags |= FSDAX_PINS;
        interrupt_stop();
        if (pinned > 0 && read(fds[0], page, sizeof(page)) < 0)
                r = -errno;
        safe_close(fds[0]);
        safe_close(fds[1]);
        return r;
}

static int probe_seal(Trial *trial, FsdaxFacts *facts)
{
        volatile uint8_t *memory;
        void *guard;
        int r;

        if (fallocate(trial->fd, 0, 0, (off_t)JOB_UNIT) < 0)
                return -errno;
        guard = mmap(NULL, 4096, PROT_NONE, MAP_SHARED, trial->fd, 0);
        memory = pages_map(trial->fd, JOB_UNIT);
        if (guard == MAP_FAILED || !memory)
                return -errno;
        r = seal_set(trial->fd, true);
        if (r < 0) {
                (void)log_errno(LOG_DEBUG, r, "immutable");
                goto finish;
        }
        /* As a client would: by the descriptor that it was given before. A store that failed would be a SIGBUS, which
         * ends this child: also an answer. */
        memory[4096] = 1;
        bool refused = ftruncate(trial->fd, 0) < 0 && errno == EPERM;
        refused = refused && fallocate(trial->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0 &&
                  errno == EPERM;
        refused = refused && pwrite(trial->fd, "x", 1, 0) < 0 && errno == EPERM;
        if (refused)
                facts->flags |= FSDAX_SEAL;
        r = seal_set(trial->fd, false);
finish:
        (void)munmap((void *)memory, JOB_UNIT);
        if (r >= 0)
                r = ftruncate(trial->fd, 0) < 0 || fallocate(trial->fd, 0, 0, (off_t)JOB_UNIT) < 0 ? -errno
                                                                                                   : 0;
        if (r >= 0)
                r = probe_pins(trial, facts);
        (void)munmap(guard, 4096);
        return r;
}

int fsdax_probe(int dir_fd, FsdaxFacts *ret)
{
        _cleanup_(trial_end) Trial trial = {.dir_fd = dir_fd, .fd = -EBADF};
        FsdaxFacts facts = {0};
        struct statfs fs;
        int r;

        r = remove_old(dir_fd);
        if (r < 0)
                return r;
        if (fstatfs(dir_fd, &fs) < 0)
                return -errno;
        trial.bytes = (uint64_t)fs.f_bfree * (uint64_t)fs.f_bsize / 2;
        trial.bytes = trial.bytes > TOUCHED ? TOUCHED : trial.bytes - trial.bytes % JOB_UNIT;
        if (trial.bytes < 4 * JOB_UNIT)
                return -ENOSPC;
        trial.fd =
                openat(dir_fd, FSDAX_PROBE_FILE, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (trial.fd < 0)
                return -errno;
        if (fallocate(trial.fd, 0, 0, (off_t)trial.bytes) < 0)
                return -errno;
        r = probe_pages(&trial, &facts);
        if (r >= 0)
                r = probe_quota(&trial, &facts);
        if (r >= 0)
                r = probe_seal(&trial, &facts);
        if (r < 0)
                return r;
        ret->page_size = facts.page_size;
        ret->flags = facts.flags;
        return 0;
}
