/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trimming, and how many requests it takes. They are counted where they leave the process: this sendmsg() is the one
 * that the library finds first.
 */

#include "trim.h"

#if defined(BENCH_PMBROKER)

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#define BLOCK 4096

static atomic_uint_fast64_t n_sent;

__attribute__((visibility("default"))) ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
        static ssize_t (*_Atomic real)(int fd, const struct msghdr *msg, int flags);

        if (!real)
                real = (ssize_t(*)(int, const struct msghdr *, int))(uintptr_t)dlsym(RTLD_NEXT, "sendmsg");
        n_sent++;
        return real(fd, msg, flags);
}

static double now_usec(void)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

Trimmed trim_run(Heap heap, uint64_t bytes)
{
        size_t n = bytes / BLOCK;
        Trimmed trimmed;
        int64_t given;
        uint64_t sent;
        void **blocks;
        double begin;

        blocks = mmap(NULL, n * sizeof(void *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (blocks == MAP_FAILED)
                die("mmap", strerror(errno));
        for (size_t i = 0; i < n; i++) {
                blocks[i] = heap_alloc(heap, BLOCK);
                if (!blocks[i])
                        die("pmb_malloc", strerror(errno));
                memset(blocks[i], 1, BLOCK);
        }
        for (size_t i = 0; i < n; i++)
                heap_free(heap, blocks[i]);
        (void)munmap(blocks, n * sizeof(void *));

        sent = n_sent;
        begin = now_usec();
        given = pmb_pool_trim(heap, 0);
        trimmed.usec = now_usec() - begin;
        trimmed.requests = n_sent - sent;
        if (given < 0)
                die("pmb_pool_trim", strerror((int)-given));
        if (given > 0 && trimmed.requests == 0)
                die("trim", "requests are not counted");
        trimmed.bytes = (uint64_t)given;
        return trimmed;
}

#else

Trimmed trim_run(Heap heap, uint64_t bytes)
{
        (void)heap;
        (void)bytes;
        die("trim", "a pool's, and nobody else's");
}

#endif
