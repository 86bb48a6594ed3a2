/* SPDX-License-Identifier: BSD-3-Clause */
/* membarrier(), and waiting for those who are busy. */

#include "client/steal.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/cache.h"

bool steal_needs_fence;

static int membarrier(int command)
{
        return (int)syscall(SYS_membarrier, command, 0, 0);
}

static void init(void)
{
        steal_needs_fence = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) < 0;
}

bool steal_init(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void)pthread_once(&once, init);
        return !steal_needs_fence;
}

static void fence_everybody(void)
{
        int saved = errno;

        atomic_thread_fence(memory_order_seq_cst);
        if (!steal_needs_fence && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) < 0) {
                /* A process registers anew when it did not inherit that. */
                (void)membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
                (void)membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
        }
        errno = saved;
}

void steal_stop(Heap *h)
{
        (void)pthread_mutex_lock(&h->caches_lock);
        list_for_each (it, &h->caches)
                atomic_store_explicit(&list_entry(it, Cache, cache_link)->id, 0, memory_order_seq_cst);
        fence_everybody();
        list_for_each (it, &h->caches)
                while (atomic_load_explicit(list_entry(it, Cache, cache_link)->busy, memory_order_acquire))
                        (void)sched_yield();
}

void steal_resume(Heap *h)
{
        list_for_each (it, &h->caches)
                atomic_store_explicit(
                        &list_entry(it, Cache, cache_link)->id, h->cache_id, memory_order_release);
        (void)pthread_mutex_unlock(&h->caches_lock);
}
