/* SPDX-License-Identifier: BSD-3-Clause */
/* A stack of batches for each class. */

#include "client/depot.h"

#include <assert.h>
#include <string.h>

#include "client/internal.h"

Depot *depot_new(void)
{
        Depot *d = internal_alloc(sizeof(*d));

        if (!d)
                return NULL;
        for (unsigned k = 0; k < N_CLASSES; k++)
                (void)pthread_mutex_init(&d->shelves[k].lock, NULL);
        return d;
}

static void free_batches(Batch *b)
{
        while (b) {
                Batch *next = b->next;

                internal_free(b);
                b = next;
        }
}

Depot *depot_free(Depot *d)
{
        if (!d)
                return NULL;
        for (unsigned k = 0; k < N_CLASSES; k++) {
                free_batches(d->shelves[k].full);
                free_batches(d->shelves[k].spare);
                (void)pthread_mutex_destroy(&d->shelves[k].lock);
        }
        internal_free(d);
        return NULL;
}

void depot_change_room(Depot *d, int64_t bytes)
{
        (void)atomic_fetch_add_explicit(
                &d->room, (long)(bytes / DEPOT_BYTES_PER_BLOCK), memory_order_relaxed);
}

/* Shelf locked. */
static Batch *pop(DepotShelf *s)
{
        Batch *b = s->full;

        if (!b)
                return NULL;
        s->full = b->next;
        s->n_blocks -= b->n;
        atomic_store_explicit(&s->n, s->n - 1, memory_order_relaxed);
        if (s->n < s->n_lowest)
                s->n_lowest = s->n;
        return b;
}

void depot_want(Depot *d, unsigned class, unsigned n)
{
        DepotShelf *s = &d->shelves[class];

        (void)atomic_fetch_add_explicit(&s->wanted, n, memory_order_relaxed);
        atomic_store_explicit(&s->asked, true, memory_order_relaxed);
}

bool depot_put(Depot *d, unsigned class, void *const *blocks, unsigned n)
{
        DepotShelf *s = &d->shelves[class];
        Batch *b;

        assert(n > 0 && n <= sizeclass_batch(class));
        if (atomic_load_explicit(&d->room, memory_order_relaxed) < (long)n)
                return false;
        (void)pthread_mutex_lock(&s->lock);
        if (s->n_blocks + n >
                atomic_load_explicit(&s->wanted, memory_order_relaxed) + sizeclass_batch(class)) {
                (void)pthread_mutex_unlock(&s->lock);
                return false;
        }
        b = s->spare;
        if (b)
                s->spare = b->next;
        else {
                b = internal_alloc(sizeof(*b) + sizeclass_batch(class) * sizeof(b->blocks[0]));
                if (!b) {
                        (void)pthread_mutex_unlock(&s->lock);
                        return false;
                }
        }
        memcpy(b->blocks, blocks, n * sizeof(*blocks));
        b->n = n;
        b->next = s->full;
        s->full = b;
        s->n_blocks += n;
        atomic_store_explicit(&s->n, s->n + 1, memory_order_relaxed);
        (void)pthread_mutex_unlock(&s->lock);
        (void)atomic_fetch_sub_explicit(&d->room, (long)n, memory_order_relaxed);
        return true;
}

unsigned depot_take(Depot *d, unsigned class, void **blocks)
{
        DepotShelf *s = &d->shelves[class];
        unsigned n = 0;
        Batch *b;

        if (atomic_load_explicit(&s->n, memory_order_relaxed) == 0)
                return 0;
        (void)pthread_mutex_lock(&s->lock);
        b = pop(s);
        if (b) {
                atomic_store_explicit(&s->asked, true, memory_order_relaxed);
                n = b->n;
                memcpy(blocks, b->blocks, n * sizeof(*blocks));
                b->next = s->spare;
                s->spare = b;
        }
        (void)pthread_mutex_unlock(&s->lock);
        if (n > 0)
                (void)atomic_fetch_add_explicit(&d->room, (long)n, memory_order_relaxed);
        return n;
}

unsigned depot_end_period(Depot *d, unsigned class)
{
        DepotShelf *s = &d->shelves[class];
        unsigned n;
        Batch *spare;

        (void)pthread_mutex_lock(&s->lock);
        n = s->n_lowest;
        s->n_lowest = s->n;
        if (!atomic_exchange_explicit(&s->asked, false, memory_order_relaxed))
                atomic_store_explicit(&s->wanted, atomic_load_explicit(&s->wanted, memory_order_relaxed) / 2,
                        memory_order_relaxed);
        spare = s->spare;
        s->spare = NULL;
        (void)pthread_mutex_unlock(&s->lock);
        free_batches(spare);
        return n;
}

uint64_t depot_count(Depot *d, unsigned class)
{
        DepotShelf *s = &d->shelves[class];
        uint64_t n;

        (void)pthread_mutex_lock(&s->lock);
        n = s->n_blocks;
        (void)pthread_mutex_unlock(&s->lock);
        return n;
}

void depot_forked(Depot *d)
{
        for (unsigned k = 0; k < N_CLASSES; k++) {
                DepotShelf *s = &d->shelves[k];

                (void)pthread_mutex_init(&s->lock, NULL);
                s->full = s->spare = NULL;
                s->n_blocks = 0;
                atomic_store_explicit(&s->wanted, 0, memory_order_relaxed);
                atomic_store_explicit(&s->n, 0, memory_order_relaxed);
        }
}
