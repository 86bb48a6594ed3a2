/* SPDX-License-Identifier: BSD-3-Clause */
/* The hooks between jemalloc and the units of a pool, and blocks through the one into the other. */

#include "client/arena.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "client/watch.h"

/* The argument of experimental.arenas_create_ext, which no header of jemalloc's shows. */
typedef struct ArenaConfig {
        extent_hooks_t *hooks;
        bool metadata_use_hooks;
} ArenaConfig;

static Arena *from_hooks(extent_hooks_t *hooks)
{
        return CONTAINER_OF(hooks, Arena, hooks);
}

/*
 * Blocks of 2^n bytes at multiples of 2^n, where there is one: so when what is between them is freed, it has
 * the places for others of them.
 */
static int take_tidily(Units *u, uint64_t size, uint64_t alignment, uint64_t *ret_offset, bool *ret_zero)
{
        uint64_t natural = size < UNIT_SIZE ? size : UNIT_SIZE;

        if (size >= LARGE_SIZE_MIN && (size & (size - 1)) == 0 && natural > alignment &&
                units_try(u, size, natural, ret_offset, ret_zero) == 0)
                return 0;
        return units_take(u, size, alignment, ret_offset, ret_zero);
}

/*
 * And what is behind it, if that is free: who writes beyond the last block shall be seen, too. Locked, or it would not
 * be free any more.
 */
static void hide(Arena *a, uint64_t offset, uint64_t size)
{
        const uint64_t page = UINT64_C(1) << MAP_PAGE_SHIFT;

        if (!watch_is_on)
                return;
        if (units_is_free(&a->units, offset + size, page))
                size += page;
        watch_hide(a->base + offset, size);
        if (a->hidden < offset + size)
                a->hidden = offset + size;
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
                r = take_tidily(&a->units, size, alignment, &offset, &is_zero);
        if (r == 0)
                hide(a, offset, size);
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
        uint64_t offset = (uint64_t)((uint8_t *)addr - a->base);
        int r;

        (void)committed;
        (void)index;
        if (a->closing)
                return false;
        pagemap_clear(a->map, offset, size);
        arena_lock(a);
        r = units_put(&a->units, offset, size);
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
                .reserved = reserved,
        };
        assert(reserved / UNIT_SIZE <= UINT32_MAX);
        if (!raw) {
                a->map = pagemap_new(reserved);
                if (!a->map)
                        return -ENOMEM;
        }
        r = units_init(&a->units, (uintptr_t)base, (uint32_t)(reserved / UNIT_SIZE), raw);
        if (r < 0) {
                a->map = pagemap_free(a->map, reserved);
                return r;
        }
        (void)pthread_mutex_init(&a->lock, NULL);
        (void)pthread_mutex_init(&a->heap_lock, NULL);
        return 0;
}

/* ------------------------------------------------------------------------------------------------- blocks */

/* The argument of experimental.batch_alloc, which no header shows either. */
typedef struct BatchArgument {
        void **blocks;
        size_t n;
        size_t size;
        int flags;
} BatchArgument;

/* What is the same for all arenas, looked up with the first. */
static struct {
        size_t batch_alloc[2];
        size_t cache_create[2];
        size_t cache_flush[2];
        size_t cache_destroy[2];
        unsigned batch_max[N_CLASSES];
        int error;
} common;

/*
 * For as many blocks as a slab has, jemalloc would take a slab of its own rather than those that are in use
 * already. That is worth avoiding, unless slabs have one block anyway.
 */
static int look_up_slabs(void)
{
        unsigned n_bins = 0;
        size_t size = sizeof(n_bins), mib[4], n = ELEMENTSOF(mib);
        int r = pmbj_mallctl("arenas.nbins", &n_bins, &size, NULL, 0);

        if (r == 0)
                r = pmbj_mallctlnametomib("arenas.bin.0.nregs", mib, &n);
        for (unsigned k = CLASS_FIRST; r == 0 && k <= CLASS_LAST; k++) {
                uint32_t n_blocks = UINT32_MAX;

                mib[2] = k - CLASS_FIRST;
                size = sizeof(n_blocks);
                if (mib[2] < n_bins)
                        r = pmbj_mallctlbymib(mib, n, &n_blocks, &size, NULL, 0);
                common.batch_max[k] = n_blocks > 1 ? n_blocks - 1 : UINT_MAX;
        }
        return -r;
}

static void init_common(void)
{
        static const struct {
                const char *name;
                size_t *mib;
        } names[] = {
                {"experimental.batch_alloc", common.batch_alloc},
                {"tcache.create", common.cache_create},
                {"tcache.flush", common.cache_flush},
                {"tcache.destroy", common.cache_destroy},
        };

        sizeclass_init();
        for (unsigned i = 0; common.error == 0 && i < ELEMENTSOF(names); i++) {
                size_t n = 2;

                common.error = -pmbj_mallctlnametomib(names[i].name, names[i].mib, &n);
        }
        if (common.error == 0)
                common.error = look_up_slabs();
}

static int cache_command(const size_t *mib, Arena *a)
{
        return pmbj_mallctlbymib(mib, 2, NULL, NULL, &a->cache, sizeof(a->cache));
}

static void heap_lock(Arena *a)
{
        (void)pthread_mutex_lock(&a->heap_lock);
}

static void heap_unlock(Arena *a)
{
        (void)pthread_mutex_unlock(&a->heap_lock);
}

static uint64_t offset_of(const Arena *a, const void *block)
{
        return (uint64_t)((const uint8_t *)block - a->base);
}

/* MALLOCX_ARENA() and MALLOCX_TCACHE() as they are meant: of a number beyond 2047, they overflow an int. */
static int cache_flags(const Arena *a)
{
        return (int)((a->cache + 2) << 8);
}

static int arena_flags(const Arena *a)
{
        return (int)((a->index + 1) << 20);
}

static int flags_of(const Arena *a)
{
        return arena_flags(a) | cache_flags(a);
}

int arena_open(Arena *a)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        ArenaConfig config = {.hooks = &a->hooks};
        size_t size = sizeof(a->index), n = ELEMENTSOF(a->purge);
        int r;

        (void)pthread_once(&once, init_common);
        if (common.error < 0)
                return common.error;

        r = pmbj_mallctlbymib(common.cache_create, 2, &a->cache, &size, NULL, 0);
        if (r != 0)
                return r == EAGAIN || r == EFAULT ? -EMFILE : -r;
        r = pmbj_mallctl("experimental.arenas_create_ext", &a->index, &size, &config, sizeof(config));
        if (r == 0) {
                assert(a->index < ARENAS_MAX);
                a->open = true;
                r = pmbj_mallctlnametomib("arena.0.purge", a->purge, &n);
                a->purge[1] = a->index;
        }
        if (r != 0 && !a->open)
                (void)cache_command(common.cache_destroy, a);
        return r == EAGAIN ? -EMFILE : -r;
}

void arena_deinit(Arena *a)
{
        if (a->open) {
                size_t mib[3], n = ELEMENTSOF(mib);

                /* In this order: the cache would give its blocks to an arena that is no more. */
                a->closing = true;
                (void)cache_command(common.cache_destroy, a);
                if (pmbj_mallctlnametomib("arena.0.destroy", mib, &n) == 0) {
                        mib[1] = a->index;
                        (void)pmbj_mallctlbymib(mib, n, NULL, NULL, NULL, 0);
                }
                a->open = false;
        }
        arena_show(a);
        units_deinit(&a->units);
        a->map = pagemap_free(a->map, a->reserved);
        (void)pthread_mutex_destroy(&a->lock);
        (void)pthread_mutex_destroy(&a->heap_lock);
}

/*
 * The block is whole pages: that none but the first begins a block is known, whatever has been there before.
 */
static void mark(Arena *a, const void *block, size_t size, unsigned class)
{
        uint64_t offset = offset_of(a, block), page = UINT64_C(1) << MAP_PAGE_SHIFT;

        assert(offset < a->reserved);

        pagemap_set(a->map, offset, class);
        if (size >= LARGE_SIZE_MIN)
                pagemap_clear(a->map, offset + page, size - page);
}

unsigned arena_take(Arena *a, unsigned class, void **blocks, unsigned n)
{
        BatchArgument argument = {
                .blocks = blocks,
                .n = n < common.batch_max[class] ? n : common.batch_max[class],
                .size = class_sizes[class],
                .flags = flags_of(a),
        };
        size_t got = 0, size = sizeof(got);

        heap_lock(a);
        (void)pmbj_mallctlbymib(common.batch_alloc, 2, &got, &size, &argument, sizeof(argument));
        a->n_out[class] += got;
        heap_unlock(a);
        for (size_t i = 0; i < got; i++)
                mark(a, blocks[i], class_sizes[class], class);
        return (unsigned)got;
}

void arena_put(Arena *a, unsigned class, void *const *blocks, unsigned n)
{
        int flags = cache_flags(a);

        heap_lock(a);
        for (unsigned i = 0; i < n; i++)
                pmbj_sdallocx(blocks[i], class_sizes[class], flags);
        a->n_out[class] -= n;
        heap_unlock(a);
}

/* One more block is out, or one less. Locked. */
static void count(Arena *a, size_t size, int by)
{
        unsigned class = sizeclass_of(size);

        if (class == CLASS_HUGE) {
                a->n_out[CLASS_HUGE] += by > 0 ? size : -size;
                class = CLASS_NONE;
        }
        a->n_out[class] += (uint64_t)by;
}

void *arena_take_one(Arena *a, size_t size, int flags)
{
        size_t usable = 0;
        void *p;

        heap_lock(a);
        p = pmbj_mallocx(size ?: 1, flags | flags_of(a));
        if (p) {
                usable = pmbj_sallocx(p, 0);
                count(a, usable, 1);
        }
        heap_unlock(a);
        if (p)
                mark(a, p, usable, sizeclass_of(usable));
        return p;
}

void *arena_take_lower(Arena *a, const void *than, size_t size)
{
        int flags = arena_flags(a) | (int)MALLOCX_TCACHE_NONE;
        void *p;

        heap_lock(a);
        p = pmbj_mallocx(size, flags);
        if (p && p > than) {
                pmbj_dallocx(p, MALLOCX_TCACHE_NONE);
                p = NULL;
        }
        if (p)
                count(a, size, 1);
        heap_unlock(a);
        if (p)
                mark(a, p, size, sizeclass_of(size));
        return p;
}

bool arena_put_huge(Arena *a, void *block)
{
        bool found;

        heap_lock(a);
        found = pagemap_get(a->map, offset_of(a, block)) == CLASS_HUGE;
        if (found) {
                count(a, pmbj_sallocx(block, 0), -1);
                pagemap_set(a->map, offset_of(a, block), CLASS_NONE);
                pmbj_dallocx(block, MALLOCX_TCACHE_NONE);
        }
        heap_unlock(a);
        return found;
}

void *arena_take_page(Arena *a)
{
        uint64_t offset;
        bool zero;
        int r;

        heap_lock(a);
        arena_lock(a);
        r = units_take(&a->units, PAGE_BLOCK_SIZE, PAGE_BLOCK_SIZE, &offset, &zero);
        if (r == 0)
                hide(a, offset, PAGE_BLOCK_SIZE);
        arena_unlock(a);
        if (r == 0) {
                pagemap_set(a->map, offset, CLASS_PAGE);
                count(a, PAGE_BLOCK_SIZE, 1);
        }
        heap_unlock(a);
        return r < 0 ? NULL : a->base + offset;
}

bool arena_put_page(Arena *a, void *block)
{
        uint64_t offset = offset_of(a, block);
        bool found;

        heap_lock(a);
        found = offset % PAGE_BLOCK_SIZE == 0 && pagemap_get(a->map, offset) == CLASS_PAGE;
        if (found) {
                int r;

                arena_lock(a);
                r = units_put(&a->units, offset, PAGE_BLOCK_SIZE);
                arena_unlock(a);
                /* Without memory for the node it stays out until the end. */
                if (r == 0) {
                        pagemap_set(a->map, offset, CLASS_NONE);
                        count(a, PAGE_BLOCK_SIZE, -1);
                }
        }
        heap_unlock(a);
        return found;
}

bool arena_resize(Arena *a, void *block, size_t size)
{
        size_t usable, before;

        heap_lock(a);
        before = pmbj_sallocx(block, 0);
        usable = pmbj_xallocx(block, size, 0, flags_of(a));
        count(a, before, -1);
        count(a, usable, 1);
        heap_unlock(a);
        if (usable != before)
                mark(a, block, usable, sizeclass_of(usable));
        return usable >= size;
}

void arena_show(Arena *a)
{
        watch_show(a->base, a->hidden);
        a->hidden = 0;
}

void arena_count(Arena *a, uint64_t n_out[N_CLASSES])
{
        heap_lock(a);
        memcpy(n_out, a->n_out, sizeof(a->n_out));
        heap_unlock(a);
}

size_t arena_size_huge(Arena *a, const void *block)
{
        size_t size = 0;

        heap_lock(a);
        if (pagemap_get(a->map, offset_of(a, block)) == CLASS_HUGE)
                size = pmbj_sallocx(block, 0);
        heap_unlock(a);
        return size;
}

void arena_purge(Arena *a)
{
        if (!a->open)
                return;
        heap_lock(a);
        (void)cache_command(common.cache_flush, a);
        (void)pmbj_mallctlbymib(a->purge, ELEMENTSOF(a->purge), NULL, NULL, NULL, 0);
        heap_unlock(a);
}

void arena_before_fork(Arena *a)
{
        heap_lock(a);
}

void arena_after_fork(Arena *a)
{
        heap_unlock(a);
}

void arena_forked(Arena *a)
{
        (void)pthread_mutex_init(&a->lock, NULL);
        (void)pthread_mutex_init(&a->heap_lock, NULL);
}
