/* SPDX-License-Identifier: BSD-3-Clause */

#include "ctl/dropin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/parse.h"

#define FILE_MAX 4096

const DropinKind dropin_set_limit = {"set-limit", "Tenant", {"Bytes", "Pools", "PoolBytes"}};
const DropinKind dropin_drain = {"drain", "Store", {"Drained"}};

struct Dropin {
        const DropinKind *kind;
        char *path;
        char *directory;
        char *name;
        char *values[DROPIN_KEYS_MAX]; /* by kind->keys; NULL: not there */
        char *before;                  /* the whole text; NULL: there was no file */
};

static int find_key(const Dropin *d, const char *key, size_t length)
{
        for (int i = 0; i < DROPIN_KEYS_MAX && d->kind->keys[i]; i++)
                if (strlen(d->kind->keys[i]) == length && strncmp(d->kind->keys[i], key, length) == 0)
                        return i;
        return -ENOENT;
}

static int take_line(Dropin *d, const char *line, size_t length)
{
        const char *equals = memchr(line, '=', length);
        int i = equals ? find_key(d, line, (size_t)(equals - line)) : -ENOENT;

        if (i < 0)
                return 0; /* a comment, or the heading */
        free(d->values[i]);
        d->values[i] = strndup(equals + 1, length - (size_t)(equals + 1 - line));
        return d->values[i] ? 0 : -ENOMEM;
}

static int read_it(Dropin *d)
{
        _cleanup_close_ int fd = open(d->path, O_RDONLY | O_CLOEXEC);
        char text[FILE_MAX];
        ssize_t n;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        text[n] = '\0';
        d->before = strdup(text);
        if (!d->before)
                return -ENOMEM;
        for (const char *p = text; *p;) {
                size_t length = strcspn(p, "\n");
                int r = take_line(d, p, length);

                if (r < 0)
                        return r;
                p += length + (p[length] == '\n');
        }
        return 0;
}

int dropin_open(const char *config, const DropinKind *kind, const char *name, Dropin **ret)
{
        _cleanup_(cleanup_dropin_free) Dropin *d = calloc(1, sizeof(*d));
        int r;

        if (!name_is_valid(name))
                return -EINVAL;
        if (!d)
                return -ENOMEM;
        d->kind = kind;
        d->name = strdup(name);
        if (!d->name || asprintf(&d->directory, "%s.d", config) < 0 ||
                asprintf(&d->path, "%s.d/zz-%s-%s.conf", config, kind->verb, name) < 0)
                return -ENOMEM;
        r = read_it(d);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(d);
        return 0;
}

Dropin *dropin_free(Dropin *d)
{
        if (!d)
                return NULL;
        for (size_t i = 0; i < DROPIN_KEYS_MAX; i++)
                free(d->values[i]);
        free(d->path);
        free(d->directory);
        free(d->name);
        free(d->before);
        free(d);
        return NULL;
}

const char *dropin_path(const Dropin *d)
{
        return d->path;
}

int dropin_set(Dropin *d, const char *key, const char *value)
{
        int i = find_key(d, key, strlen(key));

        if (i < 0)
                return i;
        free(d->values[i]);
        d->values[i] = *value ? strdup(value) : NULL;
        return *value && !d->values[i] ? -ENOMEM : 0;
}

static int write_text(const Dropin *d, const char *text)
{
        _cleanup_free_ char *temporary = NULL;
        _cleanup_close_ int fd = -EBADF;
        size_t size = strlen(text);

        if (mkdir(d->directory, 0755) < 0 && errno != EEXIST)
                return -errno;
        /* Not ending in .conf: nobody reads it. */
        if (asprintf(&temporary, "%s.XXXXXX", d->path) < 0) {
                temporary = NULL;
                return -ENOMEM;
        }
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (write(fd, text, size) != (ssize_t)size || fchmod(fd, 0644) < 0 || fsync(fd) < 0 ||
                rename(temporary, d->path) < 0) {
                int r = errno > 0 ? -errno : -EIO;

                (void)unlink(temporary);
                return r;
        }
        return 0;
}

static int remove_it(const Dropin *d)
{
        return unlink(d->path) < 0 && errno != ENOENT ? -errno : 0;
}

int dropin_write(const Dropin *d)
{
        _cleanup_free_ char *text = NULL;
        size_t size;
        bool any = false;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return -ENOMEM;
        (void)fprintf(f,
                "# Written by pmbrokerctl %s --permanent, which keeps nothing else in here.\n"
                "[%s %s]\n",
                d->kind->verb, d->kind->section, d->name);
        for (size_t i = 0; i < DROPIN_KEYS_MAX; i++)
                if (d->values[i]) {
                        (void)fprintf(f, "%s=%s\n", d->kind->keys[i], d->values[i]);
                        any = true;
                }
        if (fclose(f) != 0)
                return -ENOMEM;
        return any ? write_text(d, text) : remove_it(d);
}

int dropin_restore(const Dropin *d)
{
        return d->before ? write_text(d, d->before) : remove_it(d);
}
