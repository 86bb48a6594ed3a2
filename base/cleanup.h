/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Scope-bound resources. A resource is born in a variable that cleans up after itself and leaves it only
 * through TAKE_PTR() or TAKE_FD(), so that an early return can never leak it.
 */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Close without touching errno; always -EBADF ("closed") as a value to assign. */
static inline int safe_close(int fd)
{
        if (fd >= 0) {
                int saved = errno;
                (void)close(fd); /* Linux frees the descriptor even on error: nothing to repeat */
                errno = saved;
        }
        return -EBADF;
}

static inline void cleanup_close(int *fd)
{
        *fd = safe_close(*fd);
}

static inline void cleanup_free(void *p)
{
        free(*(void **)p);
}

#define _cleanup_close_ _cleanup_(cleanup_close)
#define _cleanup_free_  _cleanup_(cleanup_free)

/* Define cleanup_<fn>() for a destructor `type *fn(type *)` or `void fn(type *)` that takes NULL. */
#define DEFINE_CLEANUP(type, fn)                  \
        static inline void cleanup_##fn(type **p) \
        {                                         \
                if (*p)                           \
                        (void)fn(*p);             \
        }                                         \
        struct cleanup_semicolon_swallower_##fn

#define TAKE_PTR(p)                            \
        __extension__({                        \
                __typeof__(p) take_tmp_ = (p); \
                (p) = NULL;                    \
                take_tmp_;                     \
        })

#define TAKE_FD(fd)                   \
        __extension__({               \
                int take_tmp_ = (fd); \
                (fd) = -EBADF;        \
                take_tmp_;            \
        })

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
