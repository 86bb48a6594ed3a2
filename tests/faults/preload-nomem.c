/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into a daemon: its allocations are counted in a file that a test has mapped, too ($NOMEM_FILE, two numbers of
 * 64 bits: how many there were, and the one that is to fail; 0: none).
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct Shared {
        _Atomic uint64_t count;
        _Atomic uint64_t fails;
} Shared;

static Shared *shared;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *malloc(size_t size);
void *calloc(size_t n, size_t size);
void *realloc(void *p, size_t size);

__attribute__((constructor)) static void open_shared(void)
{
        const char *path = getenv("NOMEM_FILE");
        int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
        void *p;

        if (fd < 0)
                return;
        p = mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        (void)close(fd);
        if (p != MAP_FAILED)
                shared = p;
}

static bool fails(void)
{
        uint64_t n;

        if (!shared)
                return false;
        n = atomic_fetch_add(&shared->count, 1) + 1;
        if (n != atomic_load(&shared->fails))
                return false;
        errno = ENOMEM;
        return true;
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
        return fails() ? NULL : __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
        return fails() ? NULL : __libc_calloc(n, size);
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t size)
{
        return fails() ? NULL : __libc_realloc(p, size);
}
