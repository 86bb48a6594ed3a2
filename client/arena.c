/* SPDX-License-Identifier: BSD-3-Clause */
/* The hooks between jemalloc and the units of a pool. */

#include "client/arena.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

/* The argument of experimental.arenas_create_ext, which no header of jemalloc's shows. */
typedef struct ArenaConfig {
        extent_hooks_t *hooks;
        bool metadata_use_hooks;
} ArenaConfig;

static Arena *from_hooks(extent_hooks_t *hooks)
{
        return CONTAINER_OF(hooks, Arena, hooks);
}

static void *on_alloc(extent_hooks_t *hooks, void *new_addr, size_t size, size_t alignment, bool *zero,
        bool *commit, unsigned index)
{
        Arena *a = from_hooks(hooks);
        uint64_t offset = 0;
        bool is_zero = false;
        int r;

        (void)index;
        arena_lock(a);
        if (new_addr) {
                offset = (uint64_t)((uint8_t *)new_addr - a->base);
                r = units_take_at(&a->units, offset, size, &is_zero);
        } else
                r = units_take(&a->units, size, alignment, &offset, &is_zero);
        arena_unlock(a);
        if (r < 0)
                return NULL;

        /* Asked for zeroes jemalloc relies on getting them: it does not look at the answer again. */
        if (*zero && !is_zero)
                memset(a->base + offset, 0, size);
        *zero = *zero || is_zero;
        *commit = true;
        return a->base + offset;
}

/* True means that jemalloc keeps the extent, and uses it again. */
static bool on_dalloc(extent_hooks_t *hooks, void *addr, size_t size, bool committed, unsigned index)
{
        Arena *a = from_hooks(hooks);
        int r;

        (void)committed;
        (void)index;
        if (a->closing)
                return false;
        arena_lock(a);
        r = units_put(&a->units, (uint64_t)((uint8_t *)addr - a->base), size);
        arena_unlock(a);
        return r < 0;
}

/* Extents are nothing but addresses: they can be cut and joined anywhere. */
static bool on_split(extent_hooks_t *hooks, void *addr, size_t size, size_t size_a, size_t size_b,
        bool committed, unsigned index)
{
        (void)hooks, (void)addr, (void)size, (void)size_a, (void)size_b, (void)committed, (void)index;
        return false;
}

static bool on_merge(extent_hooks_t *hooks, void *addr_a, size_t size_a, void *addr_b, size_t size_b,
        bool committed, unsigned index)
{
        (void)hooks, (void)addr_a, (void)size_a, (void)addr_b, (void)size_b, (void)committed, (void)index;
        return false;
}

int arena_init(Arena *a, void *base, uint64_t reserved, bool raw)
{
        int r;

        *a = (Arena){
                .hooks = {.alloc = on_alloc, .dalloc = on_dalloc, .split = on_split, .merge = on_merge},
                .base = base,
        };
        assert(reserved / UNIT_SIZE <= UINT32_MAX);
        r = units_init(&a->units, (uintptr_t)base, (uint32_t)(reserved / UNIT_SIZE), raw);
        if (r < 0)
                return r;
        (void)pthread_mutex_init(&a->lock, NULL);
        return 0;
}

static int look_up(const char *name, size_t *mib, size_t n, size_t at, unsigned index)
{
        size_t got = n;
        int r = pmbj_mallctlnametomib(name, mib, &got);

        if (r != 0)
                return -r;
        assert(got == n);
        mib[at] = index;
        return 0;
}

int arena_open(Arena *a)
{
        ArenaConfig config = {.hooks = &a->hooks};
        size_t size = sizeof(a->index);
        int r;

        r = pmbj_mallctl("experimental.arenas_create_ext", &a->index, &size, &config, sizeof(config));
        if (r != 0)
                return r == EAGAIN ? -EMFILE : -r;
        a->open = true;
        a->flags = MALLOCX_ARENA(a->index) | MALLOCX_TCACHE_NONE;

        r = look_up("arena.0.purge", a->purge, ELEMENTSOF(a->purge), 1, a->index);
        if (r == 0)
                r = look_up("stats.arenas.0.small.allocated", a->small, ELEMENTSOF(a->small), 2, a->index);
        if (r == 0)
                r = look_up("stats.arenas.0.large.allocated", a->large, ELEMENTSOF(a->large), 2, a->index);
        return r;
}

void arena_deinit(Arena *a)
{
        if (a->open) {
                size_t mib[3];

                a->closing = true;
                if (look_up("arena.0.destroy", mib, ELEMENTSOF(mib), 1, a->index) == 0)
                        (void)pmbj_mallctlbymib(mib, ELEMENTSOF(mib), NULL, NULL, NULL, 0);
        }
        units_deinit(&a->units);
        (void)pthread_mutex_destroy(&a->lock);
}

void arena_purge(Arena *a)
{
        if (a->open)
                (void)pmbj_mallctlbymib(a->purge, ELEMENTSOF(a->purge), NULL, NULL, NULL, 0);
}

static uint64_t read_stat(const size_t *mib, size_t n)
{
        size_t value = 0, size = sizeof(value);

        return pmbj_mallctlbymib(mib, n, &value, &size, NULL, 0) == 0 ? value : 0;
}

uint64_t arena_allocated(Arena *a)
{
        uint64_t epoch = 1;

        if (!a->open)
                return 0;
        /* Figures are copies, taken anew by this. */
        (void)pmbj_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
        return read_stat(a->small, ELEMENTSOF(a->small)) + read_stat(a->large, ELEMENTSOF(a->large));
}

void arena_forked(Arena *a)
{
        (void)pthread_mutex_init(&a->lock, NULL);
}
