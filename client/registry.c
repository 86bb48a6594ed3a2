/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sorted array under a sequence counter. A reader takes no lock and repeats when a writer was at work
 * meanwhile. An array that has become too small is never freed, since a reader may still be in it; all of
 * them together are no larger than the one in use.
 */

#include "client/registry.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct Entry {
        _Atomic uintptr_t start;
        _Atomic uintptr_t end;
        struct pmb_pool *_Atomic pool;
} Entry;

typedef struct Table Table;
struct Table {
        Table *older; /* keeps what readers may see reachable */
        size_t room;
        _Atomic size_t n;
        Entry entries[];
};

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static Table *_Atomic table;
static atomic_uint sequence; /* odd: being changed */

/*
 * No fences: entries are stored with release, so that whoever sees one also sees the odd number before it,
 * and loaded with acquire, so that the second look at the number is not taken before them.
 */
static uintptr_t get(const _Atomic uintptr_t *p)
{
        return atomic_load_explicit(p, memory_order_acquire);
}

static void put(Entry *e, uintptr_t start, uintptr_t end, struct pmb_pool *pool)
{
        atomic_store_explicit(&e->start, start, memory_order_release);
        atomic_store_explicit(&e->end, end, memory_order_release);
        atomic_store_explicit(&e->pool, pool, memory_order_release);
}

static void copy(Entry *to, const Entry *from)
{
        put(to, get(&from->start), get(&from->end), atomic_load(&from->pool));
}

static void begin_change(sigset_t *ret_mask)
{
        sigset_t bus;

        (void)sigemptyset(&bus);
        (void)sigaddset(&bus, SIGBUS);
        (void)pthread_sigmask(SIG_BLOCK, &bus, ret_mask);
        atomic_fetch_add(&sequence, 1);
}

static void end_change(const sigset_t *mask)
{
        atomic_fetch_add(&sequence, 1);
        (void)pthread_sigmask(SIG_SETMASK, mask, NULL);
}

void registry_lock(void)
{
        (void)pthread_mutex_lock(&table_lock);
}

void registry_unlock(void)
{
        (void)pthread_mutex_unlock(&table_lock);
}

/* The table, with room for one more. */
static Table *table_with_room(void)
{
        Table *t = atomic_load(&table), *larger;
        size_t n = t ? atomic_load(&t->n) : 0, room = t ? t->room : 0;

        if (n < room)
                return t;
        room = room ? 2 * room : 16;
        larger = calloc(1, sizeof(*larger) + room * sizeof(larger->entries[0]));
        if (!larger)
                return NULL;
        larger->older = t;
        larger->room = room;
        for (size_t i = 0; i < n; i++)
                copy(&larger->entries[i], &t->entries[i]);
        atomic_store(&larger->n, n);
        atomic_store(&table, larger);
        return larger;
}

static int add(struct pmb_pool *pool, uintptr_t start, uintptr_t end)
{
        Table *t = table_with_room();
        sigset_t mask;
        size_t n, i;

        if (!t)
                return -ENOMEM;
        n = atomic_load(&t->n);
        begin_change(&mask);
        for (i = n; i > 0 && get(&t->entries[i - 1].start) > start; i--)
                copy(&t->entries[i], &t->entries[i - 1]);
        put(&t->entries[i], start, end, pool);
        atomic_store(&t->n, n + 1);
        end_change(&mask);
        return 0;
}

int registry_add(struct pmb_pool *pool, const void *base, uint64_t size)
{
        int r;

        registry_lock();
        r = add(pool, (uintptr_t)base, (uintptr_t)base + size);
        registry_unlock();
        return r;
}

void registry_remove(struct pmb_pool *pool)
{
        sigset_t mask;
        Table *t;
        size_t n, i = 0;

        registry_lock();
        t = atomic_load(&table);
        n = t ? atomic_load(&t->n) : 0;
        while (i < n && atomic_load(&t->entries[i].pool) != pool)
                i++;
        if (i < n) {
                begin_change(&mask);
                for (; i + 1 < n; i++)
                        copy(&t->entries[i], &t->entries[i + 1]);
                atomic_store(&t->n, n - 1);
                end_change(&mask);
        }
        registry_unlock();
}

/* What is read during a change may be nonsense, but never leads out of the table. */
static struct pmb_pool *find(uintptr_t address)
{
        Table *t = atomic_load_explicit(&table, memory_order_acquire);
        size_t low = 0, high = t ? atomic_load_explicit(&t->n, memory_order_acquire) : 0;

        while (low < high) {
                size_t mid = low + (high - low) / 2;

                if (address < get(&t->entries[mid].start))
                        high = mid;
                else if (address >= get(&t->entries[mid].end))
                        low = mid + 1;
                else
                        return atomic_load_explicit(&t->entries[mid].pool, memory_order_acquire);
        }
        return NULL;
}

/* False if somebody was changing the table. */
static bool try_to_find(const void *ptr, struct pmb_pool **ret)
{
        unsigned before = atomic_load_explicit(&sequence, memory_order_acquire);

        if (before & 1)
                return false;
        *ret = find((uintptr_t)ptr);
        return atomic_load_explicit(&sequence, memory_order_relaxed) == before;
}

struct pmb_pool *registry_find(const void *ptr)
{
        struct pmb_pool *pool;

        while (!try_to_find(ptr, &pool)) {
                registry_lock(); /* sleeps until the writer is done */
                registry_unlock();
        }
        return pool;
}

struct pmb_pool *registry_find_in_handler(const void *ptr)
{
        struct pmb_pool *pool;

        while (!try_to_find(ptr, &pool))
                (void)sched_yield();
        return pool;
}

void registry_for_each(void (*fn)(struct pmb_pool *pool))
{
        Table *t = atomic_load(&table);

        for (size_t i = 0; t && i < atomic_load(&t->n); i++)
                fn(atomic_load(&t->entries[i].pool));
}
