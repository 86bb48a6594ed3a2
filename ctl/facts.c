/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"

extern char **environ;

static int make_path(char path[static PATH_MAX], const char *root, const char *name)
{
        return snprintf(path, PATH_MAX, "%s%s", root, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Whatever comes, up to the size; the rest is read and dropped, so that the writer can end. */
static int read_all(int fd, char text[static FACT_MAX])
{
        size_t n = 0;

        for (;;) {
                char rest[512];
                ssize_t k = n < FACT_MAX - 1 ? read(fd, text + n, FACT_MAX - 1 - n)
                                             : read(fd, rest, sizeof(rest));

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                if (n < FACT_MAX - 1)
                        n += (size_t)k;
        }
        while (n > 0 && text[n - 1] == '\n')
                n--;
        text[n] = '\0';
        return 0;
}

int fact_read(const char *root, const char *name, char text[static FACT_MAX])
{
        _cleanup_close_ int fd = -EBADF;
        char path[PATH_MAX];
        int r = make_path(path, root, name);

        if (r < 0)
                return r;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? -errno : read_all(fd, text);
}

int fact_read_number(const char *root, const char *path, uint64_t *ret)
{
        char text[FACT_MAX];
        int r = fact_read(root, path, text);

        return r < 0 ? r : parse_u64(text, ret);
}

int fact_stat(const char *root, const char *name, struct stat *ret)
{
        char path[PATH_MAX];
        int r = make_path(path, root, name);

        if (r < 0)
                return r;
        return stat(path, ret) < 0 ? -errno : 0;
}

bool fact_exists(const char *root, const char *path)
{
        struct stat st;

        return fact_stat(root, path, &st) == 0;
}

bool fact_parse_version(const char *text, unsigned *ret_major, unsigned *ret_minor)
{
        return sscanf(text, "%u.%u", ret_major, ret_minor) == 2;
}

const char *fact_find_line(const char *text, const char *word)
{
        const char *at = strstr(text, word);

        while (at && at > text && at[-1] != '\n')
                at--;
        return at;
}

int fact_run(const char *const *argv, char text[static FACT_MAX])
{
        posix_spawn_file_actions_t actions;
        int fds[2], status, r;
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        r = posix_spawn_file_actions_init(&actions);
        if (r == 0) {
                r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
                if (r == 0)
                        r = posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
                if (r == 0)
                        r = posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO);
                if (r == 0)
                        r = posix_spawnp(
                                &pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
                (void)posix_spawn_file_actions_destroy(&actions);
        }
        safe_close(fds[1]);
        if (r == 0)
                r = -read_all(fds[0], text);
        safe_close(fds[0]);
        if (r != 0)
                return -r;
        if (waitpid(pid, &status, 0) < 0)
                return -errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
