/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "provisioner/poolfile.h"
#include "provisioner/record.h"
#include "provisioner/walk.h"

#define RELEASING ".releasing"
/* One process writes, one record at a time: one temporary name is enough, and cleans up after itself. */
#define TEMPORARY ".new"

#define NAME_BUFFER (JOB_NAME_MAX + POOL_ID_TEXT_MAX + sizeof(RELEASING))

static const char magic[8] = "pmbpool";

/* What a file begins with; the broker's bytes follow. `magic` and `version` stay where they are for ever. */
typedef struct Header {
        char magic[8];
        uint32_t version;
        uint32_t size;
        uint64_t pool;
        uint64_t limit;
        uint64_t length;
        uint64_t checksum; /* of header and bytes, itself taken as 0 */
} Header;

_Static_assert(sizeof(Header) == 48, "no padding");

/* FNV-1a: against a file cut short or scribbled over, not against forgery. */
static uint64_t checksum(uint64_t sum, const void *data, size_t n)
{
        for (const uint8_t *p = data; n > 0; p++, n--)
                sum = (sum ^ *p) * UINT64_C(0x100000001b3);
        return sum;
}

static uint64_t record_checksum(const Header *header, const uint8_t *bytes)
{
        Header copy = *header;

        copy.checksum = 0;
        return checksum(checksum(UINT64_C(0xcbf29ce484222325), &copy, sizeof(copy)), bytes, copy.size);
}

static const char *record_name(
        char buf[static NAME_BUFFER], const char *store, uint64_t pool, bool releasing)
{
        (void)snprintf(buf, NAME_BUFFER, "%s.%016" PRIx64 "%s", store, pool, releasing ? RELEASING : "");
        return buf;
}

int record_open_dir(const char *runtime_dir)
{
        _cleanup_close_ int runtime_fd = open(runtime_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (runtime_fd < 0)
                return -errno;
        if (mkdirat(runtime_fd, "records", 0700) < 0 && errno != EEXIST)
                return -errno;
        int fd = openat(runtime_fd, "records", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int record_write(int dir_fd, const char *store, const Record *record)
{
        _cleanup_close_ int fd = -EBADF;
        char name[NAME_BUFFER];
        struct {
                Header header;
                uint8_t bytes[JOB_RECORD_MAX];
        } file = {
                .header =
                        {
                                .version = RECORD_VERSION,
                                .size = record->size,
                                .pool = record->pool,
                                .limit = record->limit,
                                .length = record->length,
                        },
        };

        assert(record->size <= JOB_RECORD_MAX);
        memcpy(file.header.magic, magic, sizeof(magic));
        memcpy(file.bytes, record->bytes, record->size);
        file.header.checksum = record_checksum(&file.header, file.bytes);

        fd = openat(dir_fd, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        size_t n = sizeof(Header) + record->size;
        ssize_t written = write(fd, &file, n);
        if (written != (ssize_t)n)
                return written < 0 ? -errno : -ENOSPC;
        /* Not synced: neither the record nor the pool outlives the boot. */
        if (renameat(dir_fd, TEMPORARY, dir_fd,
                    record_name(name, store, record->pool, /* releasing= */ false)) < 0)
                return -errno;
        return 0;
}

int record_set_releasing(int dir_fd, const char *store, uint64_t pool)
{
        char from[NAME_BUFFER], to[NAME_BUFFER];

        if (renameat(dir_fd, record_name(from, store, pool, false), dir_fd,
                    record_name(to, store, pool, true)) < 0 &&
                errno != ENOENT)
                return -errno;
        return 0;
}

int record_remove(int dir_fd, const char *store, uint64_t pool)
{
        char name[NAME_BUFFER];

        if (unlinkat(dir_fd, record_name(name, store, pool, /* releasing= */ true), 0) == 0)
                return 0;
        if (errno != ENOENT)
                return -errno;
        if (unlinkat(dir_fd, record_name(name, store, pool, /* releasing= */ false), 0) < 0 &&
                errno != ENOENT)
                return -errno;
        return 0;
}

int record_read(int dir_fd, const char *store, uint64_t pool, bool releasing, Record *ret)
{
        _cleanup_close_ int fd = -EBADF;
        char name[NAME_BUFFER];
        struct {
                Header header;
                uint8_t bytes[JOB_RECORD_MAX + 1]; /* one more: a longer file is noticed */
        } file;

        fd = openat(dir_fd, record_name(name, store, pool, releasing), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        ssize_t n = read(fd, &file, sizeof(file));
        if (n < 0)
                return -errno;
        const Header *header = &file.header;
        if ((size_t)n < offsetof(Header, size) || memcmp(header->magic, magic, sizeof(magic)) != 0)
                return -EBADMSG;
        if (header->version != RECORD_VERSION)
                return -EPROTONOSUPPORT;
        if ((size_t)n < sizeof(Header) || header->size > JOB_RECORD_MAX ||
                (size_t)n != sizeof(Header) + header->size || header->pool != pool ||
                header->checksum != record_checksum(header, file.bytes))
                return -EBADMSG;
        *ret = (Record){
                .pool = pool,
                .limit = header->limit,
                .length = header->length,
                .size = header->size,
        };
        memcpy(ret->bytes, file.bytes, header->size);
        return 0;
}

int record_parse_name(
        const char *name, char store[static JOB_NAME_MAX], uint64_t *ret_pool, bool *ret_releasing)
{
        const size_t id = POOL_ID_TEXT_MAX - 1, suffix = strlen(RELEASING);
        size_t n = strnlen(name, NAME_BUFFER);
        bool releasing = false;
        int r;

        if (n > suffix && n < NAME_BUFFER && strcmp(name + n - suffix, RELEASING) == 0) {
                releasing = true;
                n -= suffix;
        }
        /* From the end: a store's name may have dots. */
        if (n < 1 + 1 + id || n - 1 - id >= JOB_NAME_MAX || name[n - id - 1] != '.' || name[0] == '.')
                return -EINVAL;
        r = pool_id_parse(name + n - id, id, ret_pool);
        if (r < 0)
                return r;
        memcpy(store, name, n - 1 - id);
        store[n - 1 - id] = '\0';
        *ret_releasing = releasing;
        return 0;
}

int record_for_each(int dir_fd, RecordFn fn, void *userdata)
{
        _cleanup_(cleanup_walk) DIR *dir = walk_open(dir_fd);
        int r;

        if (!dir)
                return -errno;
        for (;;) {
                char store[JOB_NAME_MAX];
                uint64_t pool;
                bool releasing;

                errno = 0;
                const struct dirent *entry = readdir(dir);
                if (!entry)
                        return -errno;
                if (record_parse_name(entry->d_name, store, &pool, &releasing) < 0)
                        continue;
                r = fn(store, pool, releasing, userdata);
                if (r < 0)
                        return r;
        }
}
