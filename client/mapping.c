/* SPDX-License-Identifier: BSD-3-Clause */
/* Address space for one pool. */

#include "client/mapping.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "client/unit.h"
#include "client/watch.h"

static void *reserve(void *at, uint64_t size, int flags)
{
        void *p = mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

        return p == MAP_FAILED ? NULL : p;
}

static int reserve_aligned(Mapping *m, uint64_t size)
{
        uint64_t room;
        uint8_t *p;

        if (__builtin_add_overflow(size, UNIT_SIZE, &room) || room > PTRDIFF_MAX)
                return -ENOMEM;
        p = reserve(NULL, room, 0);
        if (!p)
                return -errno;

        m->head = -(uintptr_t)p & (UNIT_SIZE - 1);
        m->base = p + m->head;
        m->reserved = size;
        return 0;
}

int mapping_reserve(Mapping *m, uint64_t want, uint64_t need)
{
        int r;

        assert(need > 0 && need % UNIT_SIZE == 0 && want % UNIT_SIZE == 0);
        *m = (Mapping){.fd = -EBADF};
        if (want < need)
                want = need;
        for (;;) {
                r = reserve_aligned(m, want);
                if (r != -ENOMEM || want == need)
                        break;
                want = want / 2 / UNIT_SIZE * UNIT_SIZE;
                if (want < need)
                        want = need;
        }
        return r;
}

/* Put back the reservation over what may be half done. */
static void unmap_file(Mapping *m, uint64_t from, uint64_t to)
{
        (void)reserve(m->base + from, to - from, MAP_FIXED);
        (void)madvise(m->base + from, to - from, MADV_DONTFORK);
}

int mapping_extend(Mapping *m, uint64_t length)
{
        uint64_t more, from, until;
        struct stat st;
        int r;

        if (length <= m->mapped)
                return 0;
        if (length > m->reserved)
                return -ENOMEM;
        /* Were the file shorter than it is said to be, touching it would raise SIGBUS. */
        if (fstat(m->fd, &st) < 0)
                return -errno;
        if ((uint64_t)st.st_size < length)
                return -EPROTO;
        more = length - m->mapped;
        if (mmap(m->base + m->mapped, more, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd,
                    (off_t)m->mapped) == MAP_FAILED) {
                r = -errno;
                unmap_file(m, m->mapped, length);
                return r;
        }
        /* With the first of it, also what is only reserved: children put a reservation of their own there. */
        from = m->shared ? length : m->mapped;
        until = m->mapped == 0 ? m->reserved : length;
        if (from < until && madvise(m->base + from, until - from, MADV_DONTFORK) < 0) {
                r = -errno;
                unmap_file(m, m->mapped, length);
                return r;
        }
        m->mapped = length;
        return 0;
}

int mapping_attach(Mapping *m, int fd, uint64_t length)
{
        assert(m->base && m->fd < 0);
        m->fd = fd;
        return mapping_extend(m, length);
}

/*
 * Where the child has nothing since it was not inherited; whatever else may be there by now stays. Valgrind does not
 * know of MADV_DONTFORK, and would look for another place.
 */
static int into_hole(void)
{
        return watch_is_on ? MAP_FIXED : MAP_FIXED_NOREPLACE;
}

void mapping_forked(Mapping *m, bool has_memory)
{
        uint64_t kept = has_memory ? m->mapped : 0;

        m->fd = safe_close(m->fd);
        if (m->base && kept < m->reserved)
                (void)reserve(m->base + kept, m->reserved - kept, into_hole());
}

int mapping_replace(Mapping *m)
{
        if (m->mapped > 0 &&
                mmap(m->base, m->mapped, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | into_hole(), -1, 0) == MAP_FAILED)
                return -errno;
        return 0;
}

void mapping_drop(Mapping *m)
{
        (void)munmap(m->base, m->mapped);
}

/* What nobody has written to is zero already, unless it was taken away just now. */
static int copy_nothing(const Mapping *m, uint64_t end)
{
        struct stat st;

        if (fstat(m->fd, &st) < 0)
                return -errno;
        return (uint64_t)st.st_size < end ? -EIO : 0;
}

int mapping_copy(Mapping *m, uint64_t start, uint64_t end)
{
        while (start < end) {
                off_t data = lseek(m->fd, (off_t)start, SEEK_DATA), hole;

                if (data < 0)
                        return errno == ENXIO ? copy_nothing(m, end) : -errno;
                hole = lseek(m->fd, data, SEEK_HOLE);
                if (hole < 0)
                        return -errno;
                if ((uint64_t)data >= end)
                        return 0;
                start = (uint64_t)data;
                for (uint64_t stop = (uint64_t)hole < end ? (uint64_t)hole : end; start < stop;) {
                        ssize_t n = pread(m->fd, m->base + start, stop - start, (off_t)start);

                        if (n <= 0)
                                return n < 0 ? -errno : -EIO;
                        start += (uint64_t)n;
                }
        }
        return 0;
}

void mapping_deinit(Mapping *m)
{
        m->fd = safe_close(m->fd);
        if (m->base)
                (void)munmap(m->base - m->head, m->reserved + UNIT_SIZE);
        *m = (Mapping){.fd = -EBADF};
}
