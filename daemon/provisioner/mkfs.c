/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-id128.h>
#include <time.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "log.h"
#include "provisioner/mkfs.h"

#define TIME_USEC  (600 * USEC_PER_SEC)
#define OUTPUT_MAX 4096
#define LINES_MAX  8 /* then comes how the program is to be used */
#define INODES_MIN 4096
#define INODES_MAX 262144

static const struct {
        const char *name;
        size_t label_max;
} filesystems[] = {
        [FSDAX_EXT4] = {"ext4", 16},
        [FSDAX_XFS] = {"xfs", 12},
};

const char *mkfs_name(FsdaxFilesystem filesystem)
{
        return filesystems[filesystem].name;
}

void mkfs_label(char buf[static MKFS_LABEL_MAX], FsdaxFilesystem filesystem, const char *store)
{
        (void)snprintf(buf, filesystems[filesystem].label_max + 1, "pmbroker:%s", store);
}

int mkfs_uuid(char buf[static MKFS_UUID_MAX], const char *store)
{
        sd_id128_t boot;
        uuid_t uuid;
        int r;

        r = sd_id128_get_boot(&boot);
        if (r < 0)
                return r;
        uuid_generate_sha1(uuid, boot.bytes, store, strlen(store));
        uuid_unparse_lower(uuid, buf);
        return 0;
}

bool mkfs_is_ours(const BlkProbe *probe, const char *store, bool *ret_this_boot)
{
        char label[MKFS_LABEL_MAX], uuid[MKFS_UUID_MAX];

        if (probe->content != BLK_SIGNATURE)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(filesystems); i++) {
                mkfs_label(label, (FsdaxFilesystem)i, store);
                if (strcmp(probe->type, filesystems[i].name) != 0 || strcmp(probe->label, label) != 0)
                        continue;
                *ret_this_boot = mkfs_uuid(uuid, store) >= 0 && strcmp(probe->uuid, uuid) == 0;
                return true;
        }
        return false;
}

uint64_t mkfs_inodes(uint64_t bytes)
{
        /* A pool takes an inode, and a unit of 2 MiB at least. */
        uint64_t n = bytes / JOB_UNIT + 16;

        return n < INODES_MIN ? INODES_MIN : n > INODES_MAX ? INODES_MAX : n;
}

/* --------------------------------------------------------------------------------------------------- run */

static _Noreturn void exec_program(int output_fd, pid_t parent, const char *const argv[])
{
        static char path[] = "PATH=/usr/sbin:/sbin:/usr/bin:/bin", locale[] = "LC_ALL=C";
        char *const environment[] = {path, locale, NULL};
        struct sigaction standard = {.sa_handler = SIG_DFL};
        char program[64];
        sigset_t none;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
        (void)sigaction(SIGPIPE, &standard, NULL);
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (null < 0 || dup2(null, 0) < 0 || dup2(output_fd, 1) < 0 || dup2(output_fd, 2) < 0)
                _exit(1);
        (void)snprintf(program, sizeof(program), "/usr/sbin/%s", argv[0]);
        (void)execve(program, (char *const *)(uintptr_t)argv, environment);
        (void)snprintf(program, sizeof(program), "/sbin/%s", argv[0]);
        (void)execve(program, (char *const *)(uintptr_t)argv, environment);
        (void)dprintf(2, "cannot run %s: %s\n", argv[0], strerrordesc_np(errno));
        _exit(127);
}

static uint64_t now_usec(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_nsec / 1000;
}

/* Until the other end is closed; -ETIMEDOUT. What has no room is dropped. */
static int read_output(int fd, char output[static OUTPUT_MAX])
{
        uint64_t until = now_usec() + TIME_USEC;
        size_t used = 0;

        output[0] = '\0';
        for (;;) {
                uint64_t now = now_usec();
                struct pollfd p = {.fd = fd, .events = POLLIN};
                char buf[512];

                if (now >= until)
                        return -ETIMEDOUT;
                if (poll(&p, 1, (int)((until - now) / 1000) + 1) <= 0)
                        continue;
                ssize_t n = read(fd, buf, sizeof(buf));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return 0;
                if ((size_t)n > OUTPUT_MAX - 1 - used)
                        n = (ssize_t)(OUTPUT_MAX - 1 - used);
                memcpy(output + used, buf, (size_t)n);
                used += (size_t)n;
                output[used] = '\0';
        }
}

static int run_program(const char *const argv[], char error[static MKFS_ERROR_MAX])
{
        char output[OUTPUT_MAX];
        _cleanup_close_ int ours = -EBADF, theirs = -EBADF;
        int fds[2], status = 0, r;
        pid_t parent = getpid(), pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        ours = fds[0];
        theirs = fds[1];
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                exec_program(theirs, parent, argv);
        theirs = safe_close(theirs);
        r = read_output(ours, output);
        if (r < 0)
                (void)kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        if (r < 0)
                return log_errno(LOG_ERR, r, "%s took too long and was ended", argv[0]);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        unsigned n = 0;
        for (char *line = output, *end; *line && n < LINES_MAX; line = end) {
                end = line + strcspn(line, "\n");
                if (*end)
                        *end++ = '\0';
                if (!*line)
                        continue;
                if (n++ == 0)
                        (void)snprintf(error, MKFS_ERROR_MAX, "%.*s", MKFS_ERROR_MAX - 1, line);
                log_error("%s: %s", argv[0], line);
        }
        log_error("%s failed with %s %d", argv[0], WIFEXITED(status) ? "status" : "signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        return -EIO;
}

int mkfs_run(const char *block, uint64_t bytes, FsdaxFilesystem filesystem, const char *store,
        char error[static MKFS_ERROR_MAX])
{
        char device[64], label[MKFS_LABEL_MAX], uuid[MKFS_UUID_MAX], uuid_option[MKFS_UUID_MAX + 16],
                inodes[24];
        /* 4K: what dax takes. bigalloc: all memory in aligned units of 2 MiB, so that huge pages never wear out. No
         * journal: nothing outlives the boot. Everything is written now, since a thread that did it later would want
         * the device while pools are in use. */
        const char *const ext4[] = {"mkfs.ext4", "-F", "-q", "-b", "4096", "-O",
                "quota,project,^has_journal,bigalloc", "-C", "2M", "-N", inodes, "-m", "0", "-E",
                "quotatype=prjquota,lazy_itable_init=0,nodiscard", "-L", label, "-U", uuid, device, NULL};
        /* A stripe of 2 MiB is how its extents come to be aligned; the default log would unalign the rest. Two groups, as
         * no extent is larger than a group; one of them is at most 1 TiB. */
        const char *layout = bytes < (UINT64_C(1) << 40) ? "su=2m,sw=1,agcount=2" : "su=2m,sw=1";
        const char *const xfs[] = {"mkfs.xfs", "-f", "-q", "-K", "-b", "size=4096", "-d", layout, "-l",
                "size=64m", "-m", uuid_option, "-L", label, device, NULL};
        int r;

        r = mkfs_uuid(uuid, store);
        if (r < 0)
                return r;
        mkfs_label(label, filesystem, store);
        (void)snprintf(device, sizeof(device), "/dev/%s", block);
        (void)snprintf(inodes, sizeof(inodes), "%" PRIu64, mkfs_inodes(bytes));
        (void)snprintf(uuid_option, sizeof(uuid_option), "reflink=0,uuid=%s", uuid);
        error[0] = '\0';
        return run_program(filesystem == FSDAX_XFS ? xfs : ext4, error);
}
