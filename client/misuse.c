/* SPDX-License-Identifier: BSD-3-Clause */
/* Public: who is told about invalid pointers. */

#include "client/misuse.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/pool.h"

typedef void Handler(enum pmb_misuse what, struct pmb_pool *pool, const void *ptr, void *userdata);

static pthread_mutex_t handler_lock = PTHREAD_MUTEX_INITIALIZER;
static Handler *handler;
static void *handler_userdata;

void pmb_set_misuse_handler(Handler *new_handler, void *userdata)
{
        (void)pthread_mutex_lock(&handler_lock);
        handler = new_handler;
        handler_userdata = userdata;
        (void)pthread_mutex_unlock(&handler_lock);
}

static const char *misuse_to_string(enum pmb_misuse what)
{
        switch (what) {
        case PMB_MISUSE_INVALID:
                return "not a block of this pool";
        case PMB_MISUSE_DOUBLE:
                return "freed twice";
        case PMB_MISUSE_SIZE:
                return "freed with a size that it does not have";
        }
        return "misused";
}

/* The library is silent but for this: the process is about to end, and has to say why. */
static _Noreturn void die(enum pmb_misuse what, struct pmb_pool *pool, const void *ptr)
{
        char text[256];
        int n = snprintf(text, sizeof(text), "libpmbroker: pool %016" PRIx64 "%s%s: %p: %s\n",
                pool ? pool->id : 0, pool && *pool->name ? " " : "", pool ? pool->name : "", ptr,
                misuse_to_string(what));

        if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
                abort(); /* ignoring that nobody will read it */
        abort();
}

void misuse_report(enum pmb_misuse what, struct pmb_pool *pool, const void *ptr)
{
        int saved = errno;
        void *userdata;
        Handler *fn;

        (void)pthread_mutex_lock(&handler_lock);
        fn = handler;
        userdata = handler_userdata;
        (void)pthread_mutex_unlock(&handler_lock);
        if (!fn)
                die(what, pool, ptr);
        fn(what, pool, ptr, userdata);
        errno = saved;
}
