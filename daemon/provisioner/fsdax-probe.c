/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "log.h"
#include "provisioner/fsdax-probe.h"
#include "provisioner/pages.h"

#define TOUCHED   (UINT64_C(64) << 20)
#define WAIT_USEC 200000

#ifndef PRJQUOTA
#define PRJQUOTA 2
#endif
#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif

typedef struct Trial {
        int dir_fd;
        int fd;
        FsdaxFilesystem filesystem;
        uint64_t bytes; /* of the file */
} Trial;

static int set_immutable(int fd, bool on)
{
        struct fsxattr attributes;

        if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
                return -errno;
        if (on)
                attributes.fsx_xflags |= FS_XFLAG_IMMUTABLE;
        else
                attributes.fsx_xflags &= ~(uint32_t)FS_XFLAG_IMMUTABLE;
        return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) < 0 ? -errno : 0;
}

static int remove_old(int dir_fd)
{
        _cleanup_close_ int fd = openat(dir_fd, FSDAX_PROBE_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        (void)set_immutable(fd, false);
        return unlinkat(dir_fd, FSDAX_PROBE_FILE, 0) < 0 ? -errno : 0;
}

static void trial_end(Trial *trial)
{
        if (trial->fd < 0)
                return;
        (void)set_immutable(trial->fd, false);
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

/* 0: no limit. */
static int set_limit(const Trial *trial, uint64_t bytes)
{
        long r;

        if (trial->filesystem == FSDAX_XFS) {
                struct fs_disk_quota quota = {
                        .d_version = FS_DQUOT_VERSION,
                        .d_id = FSDAX_PROBE_PROJECT,
                        .d_flags = FS_PROJ_QUOTA,
                        .d_fieldmask = FS_DQ_BHARD,
                        .d_blk_hardlimit = bytes / 512,
                };
                r = syscall(
                        SYS_quotactl_fd, trial->fd, QCMD(Q_XSETQLIM, PRJQUOTA), FSDAX_PROBE_PROJECT, &quota);
        } else {
                struct dqblk quota = {.dqb_bhardlimit = bytes / 1024, .dqb_valid = QIF_BLIMITS};
                r = syscall(
                        SYS_quotactl_fd, trial->fd, QCMD(Q_SETQUOTA, PRJQUOTA), FSDAX_PROBE_PROJECT, &quota);
        }
        return r < 0 ? -errno : 0;
}

static int probe_quota(Trial *trial, FsdaxFacts *facts)
{
        struct fsxattr attributes;
        int r;

        if (ftruncate(trial->fd, 0) < 0 || ioctl(trial->fd, FS_IOC_FSGETXATTR, &attributes) < 0)
                return -errno;
        attributes.fsx_projid = FSDAX_PROBE_PROJECT;
        if (ioctl(trial->fd, FS_IOC_FSSETXATTR, &attributes) < 0)
                return -errno;
        r = set_limit(trial, JOB_UNIT);
        if (r < 0) {
                (void)log_errno(LOG_DEBUG, r, "quotactl_fd");
                return 0;
        }
        if (fallocate(trial->fd, 0, 0, (off_t)(4 * JOB_UNIT)) < 0 && (errno == EDQUOT || errno == ENOSPC))
                facts->flags |= FSDAX_QUOTA;
        (void)set_limit(trial, 0);
        return ftruncate(trial->fd, 0) < 0 ? -errno : 0;
}

static void on_alarm(int signal)
{
        (void)signal;
}

/* A mapping of ours keeps the kernel asking for pins, also after the client's mapping is gone. */
static int probe_pins(Trial *trial, void *guard, FsdaxFacts *facts)
{
        struct itimerval timer = {.it_value.tv_usec = WAIT_USEC, .it_interval.tv_usec = WAIT_USEC},
                         stop = {};
        struct sigaction action = {.sa_handler = on_alarm}, former; /* without SA_RESTART */
        uint8_t *memory = pages_map(trial->fd, JOB_UNIT);
        int fds[2], r = 0;
        char page[4096];

        (void)guard;
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
        (void)sigaction(SIGALRM, &action, &former);
        (void)setitimer(ITIMER_REAL, &timer, NULL);
        if (pinned > 0 && ftruncate(trial->fd, 0) < 0 && errno == EINTR)
                facts->flags |= FSDAX_PINS;
        (void)setitimer(ITIMER_REAL, &stop, NULL);
        (void)sigaction(SIGALRM, &former, NULL);
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
        r = set_immutable(trial->fd, true);
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
        r = set_immutable(trial->fd, false);
finish:
        (void)munmap((void *)memory, JOB_UNIT);
        if (r >= 0)
                r = ftruncate(trial->fd, 0) < 0 || fallocate(trial->fd, 0, 0, (off_t)JOB_UNIT) < 0 ? -errno
                                                                                                   : 0;
        if (r >= 0)
                r = probe_pins(trial, guard, facts);
        (void)munmap(guard, 4096);
        return r;
}

int fsdax_probe(int dir_fd, FsdaxFilesystem filesystem, FsdaxFacts *ret)
{
        _cleanup_(trial_end) Trial trial = {.dir_fd = dir_fd, .fd = -EBADF, .filesystem = filesystem};
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
