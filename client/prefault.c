/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Public: the memory is there before it is needed.
 *
 * The kernel is asked to do what writing to each page would do, and writes nothing. A page that cannot be had is then
 * an errno, where touching it would be SIGBUS.
 *
 * While it is at work no unit may be given back: what is faulted in behind the daemon's back would come out of the
 * limit a second time. But the lock that sees to that is not held for long, since the daemon may want units, and others
 * may want the pool to grow: it is done slice by slice.
 */

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/pool.h"
#include "client/thread.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define THREADS_MAX      64
#define CHUNK_UNITS      4 /* that one thread takes at a time: some milliseconds */
#define CHUNKS_PER_SLICE 4 /* and thread */

typedef struct Slice {
        uint8_t *base;
        UnitSpan chunks[THREADS_MAX * CHUNKS_PER_SLICE];
        unsigned n;
        atomic_uint next;
        atomic_int error; /* negative */
} Slice;

static int fault(uint8_t *p, size_t size)
{
        while (madvise(p, size, MADV_POPULATE_WRITE) < 0)
                if (errno != EINTR && errno != EAGAIN)
                        return -errno;
        return 0;
}

static void *fault_chunks(void *userdata)
{
        Slice *slice = userdata;
        unsigned i;

        while (atomic_load(&slice->error) == 0 && (i = atomic_fetch_add(&slice->next, 1)) < slice->n) {
                UnitSpan chunk = slice->chunks[i];
                int r = fault(slice->base + chunk.first * UNIT_SIZE, chunk.count * UNIT_SIZE);

                if (r < 0)
                        atomic_store(&slice->error, r);
        }
        return NULL;
}

/* The caller is one of the threads; those that cannot be had are done without. */
static int fault_slice(Slice *slice, unsigned n_threads)
{
        pthread_t threads[THREADS_MAX];
        unsigned n = 0;

        while (n + 1 < n_threads && n + 1 < slice->n && thread_start(&threads[n], fault_chunks, slice) == 0)
                n++;
        (void)fault_chunks(slice);
        while (n > 0)
                (void)pthread_join(threads[--n], NULL);
        return atomic_load(&slice->error);
}

/* The next chunks of up to `n_units` backed units from `*from` on. Returns how many units they have. */
static uint64_t fill_slice(
        struct pmb_pool *pool, Slice *slice, unsigned n_max, uint64_t n_units, uint32_t *from)
{
        uint64_t n = 0;

        arena_lock(&pool->arena);
        while (slice->n < n_max && n < n_units) {
                uint64_t want = n_units - n < CHUNK_UNITS ? n_units - n : CHUNK_UNITS;
                UnitSpan span;

                if (!units_next_backed(&pool->arena.units, *from, (uint32_t)want, &span))
                        break;
                slice->chunks[slice->n++] = span;
                *from = span.first + span.count;
                n += span.count;
        }
        arena_unlock(&pool->arena);
        return n;
}

/* Returns the bytes that are there now, 0 when there are no more units, or a negative errno. */
static int64_t prefault_slice(struct pmb_pool *pool, unsigned n_threads, uint64_t n_units, uint32_t *from)
{
        HOLD_CHANGE_LOCK(pool);
        Slice slice = {.base = pool->mapping.base};
        int r = 0;

        if (pool_is_dead(pool))
                return -ESTALE;
        n_units = fill_slice(pool, &slice, n_threads * CHUNKS_PER_SLICE, n_units, from);
        r = fault_slice(&slice, n_threads);
        return r < 0 ? r : (int64_t)(n_units * UNIT_SIZE);
}

static unsigned n_processors(void)
{
        cpu_set_t set;

        return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

int pmb_pool_prefault(struct pmb_pool *pool, uint64_t bytes, unsigned threads,
        int (*progress)(uint64_t done, uint64_t total, void *userdata), void *userdata)
{
        uint64_t done = 0, total = pool->size;
        uint32_t from = 0;
        int64_t n;

        if (bytes > 0 && bytes < total)
                total = (bytes + UNIT_SIZE - 1) / UNIT_SIZE * UNIT_SIZE;
        if (threads == 0)
                threads = n_processors();
        if (threads > THREADS_MAX)
                threads = THREADS_MAX;

        do {
                n = prefault_slice(pool, threads, (total - done) / UNIT_SIZE, &from);
                if (n < 0)
                        return (int)n;
                done += (uint64_t)n;
                if (progress && n > 0 && progress(done, total, userdata) != 0)
                        return -ECANCELED;
        } while (n > 0 && done < total);
        return 0;
}
