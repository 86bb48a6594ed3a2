/* SPDX-License-Identifier: BSD-3-Clause */
/* Public: the figures of a pool, as structures and as text. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "client/cache.h"
#include "client/pool.h"
#include "client/steal.h"

static const struct {
        const char *name;
        size_t offset;
} fields[] = {
#define FIELD(name)                                          \
        {                                                    \
#name, offsetof(struct pmb_pool_stats, name) \
        }
        FIELD(limit),
        FIELD(backed),
        FIELD(max_size),
        FIELD(allocated),
        FIELD(blocks),
        FIELD(cached),
        FIELD(free),
        FIELD(largest_free),
        FIELD(fragmentation),
        FIELD(refusals),
        FIELD(refused_full),
        FIELD(refused_shape),
        FIELD(refused_size),
        FIELD(refused_misuse),
        FIELD(refused_dead),
        FIELD(given_back),
        FIELD(caches),
        FIELD(steals),
#undef FIELD
};

_Static_assert(sizeof(struct pmb_pool_stats) == ELEMENTSOF(fields) * sizeof(uint64_t),
        "every field of struct pmb_pool_stats has its name here");

/* ------------------------------------------------------------------------------------------------ figures */

typedef struct Count {
        uint64_t out[N_CLASSES];    /* blocks that the arena has handed out; bytes for CLASS_HUGE */
        uint64_t cached[N_CLASSES]; /* of these, those that nobody asked for yet, or any more */
} Count;

/* The caches are stopped. */
static void count(struct pmb_pool *pool, Count *ret)
{
        Heap *h = &pool->heap;

        arena_count(&pool->arena, ret->out);
        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++) {
                ret->cached[k] = depot_count(h->depot, k);
                list_for_each (it, &h->caches)
                        ret->cached[k] += cache_count(list_entry(it, Cache, cache_link), k);
        }
}

/* What does not need anybody to stop. */
static struct pmb_pool_stats describe(struct pmb_pool *pool)
{
        struct pmb_pool_stats s = {
                .limit = pool->size,
                .max_size = pool->max_size,
                .refused_full = pool->refused.full,
                .refused_shape = pool->refused.shape,
                .refused_size = pool->refused.size,
                .refused_misuse = pool->refused.misuse,
                .refused_dead = pool->refused.dead,
                .given_back = pool->given_back,
                .steals = pool->heap.n_steals,
        };

        s.refusals = s.refused_full + s.refused_shape + s.refused_size + s.refused_misuse + s.refused_dead;
        return s;
}

int pmb_pool_stats(struct pmb_pool *pool, struct pmb_pool_stats *ret)
{
        struct pmb_pool_stats s = describe(pool);
        uint64_t unused;
        Count n = {};

        if (pool_is_dead(pool) || pool->raw) {
                s.backed = pool->raw && !pool_is_dead(pool) ? pool->size : 0;
                *ret = s;
                return pool_is_dead(pool) ? -ESTALE : 0;
        }

        steal_stop(&pool->heap);
        count(pool, &n);
        /* What is free shows its shape when it is merged. */
        arena_purge(&pool->arena);
        arena_lock(&pool->arena);
        s.backed = pool->arena.units.n_backed * UNIT_SIZE;
        s.largest_free = ranges_largest(&pool->arena.units.free);
        arena_unlock(&pool->arena);
        s.caches = pool->heap.n_caches;
        steal_resume(&pool->heap);

        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++) {
                s.blocks += n.out[k] - n.cached[k];
                s.allocated += (n.out[k] - n.cached[k]) * class_sizes[k];
                s.cached += n.cached[k] * class_sizes[k];
        }
        s.allocated += n.out[CLASS_HUGE];
        s.blocks += n.out[CLASS_NONE];
        s.free = s.backed > s.allocated ? s.backed - s.allocated : 0;
        unused = s.free > s.cached ? s.free - s.cached : 0;
        if (unused > s.largest_free)
                s.fragmentation = 1000 - s.largest_free * 1000 / unused;
        *ret = s;
        return 0;
}

int pmb_pool_stats_classes(struct pmb_pool *pool, struct pmb_class_stats *classes, unsigned n)
{
        Count c = {};

        if (pool_is_dead(pool))
                return -ESTALE;
        if (!pool->raw) {
                steal_stop(&pool->heap);
                count(pool, &c);
                steal_resume(&pool->heap);
        }
        for (unsigned k = CLASS_FIRST; k <= CLASS_HUGE && k - CLASS_FIRST < n; k++)
                classes[k - CLASS_FIRST] = (struct pmb_class_stats){
                        .size = class_sizes[k],
                        .allocated = c.out[k] - c.cached[k],
                        .cached = c.cached[k],
                };
        return CLASS_HUGE - CLASS_FIRST + 1;
}

/* --------------------------------------------------------------------------------------------------- text */

/* A buffer that may be too small: what does not fit is counted only. */
typedef struct Text {
        char *buf;
        size_t size;
        size_t length;
} Text;

static __attribute__((format(printf, 2, 3))) void text_add(Text *t, const char *format, ...)
{
        size_t at = t->length < t->size ? t->length : t->size;
        va_list args;
        int n;

        va_start(args, format);
        n = vsnprintf(t->buf ? t->buf + at : NULL, t->size - at, format, args);
        va_end(args);
        t->length += n > 0 ? (size_t)n : 0;
}

/* Names come from the daemon: whatever they are, the text stays JSON. */
static void text_add_string(Text *t, const char *name, const char *value)
{
        text_add(t, "\"%s\":\"", name);
        for (const char *p = value; *p; p++) {
                unsigned char c = (unsigned char)*p;

                if (c == '"' || c == '\\')
                        text_add(t, "\\%c", c);
                else if (c < 0x20)
                        text_add(t, "\\u%04x", c);
                else
                        text_add(t, "%c", c);
        }
        text_add(t, "\",");
}

static void text_add_classes(Text *t, struct pmb_pool *pool)
{
        struct pmb_class_stats classes[N_CLASSES];
        int n = pmb_pool_stats_classes(pool, classes, ELEMENTSOF(classes));
        const char *comma = "";

        text_add(t, ",\"classes\":[");
        for (int i = 0; i < n; i++) {
                const struct pmb_class_stats *c = &classes[i];

                if (c->allocated == 0 && c->cached == 0)
                        continue;
                text_add(t, "%s{\"size\":%" PRIu64 ",\"allocated\":%" PRIu64 ",\"cached\":%" PRIu64 "}",
                        comma, c->size, c->allocated, c->cached);
                comma = ",";
        }
        text_add(t, "]");
}

int pmb_pool_stats_json(struct pmb_pool *pool, unsigned flags, char *buf, size_t size)
{
        Text t = {.buf = buf, .size = size};
        struct pmb_pool_stats stats;

        if (flags & ~(unsigned)PMB_STATS_CLASSES)
                return -EINVAL;
        (void)pmb_pool_stats(pool, &stats); /* of one that is dead: ignoring that these are its last */
        text_add(&t, "{\"id\":\"%016" PRIx64 "\",", pool->id);
        text_add_string(&t, "store", pool->store);
        text_add_string(&t, "tenant", pool->tenant);
        text_add_string(&t, "name", pool->name);
        for (unsigned i = 0; i < ELEMENTSOF(fields); i++)
                text_add(&t, "%s\"%s\":%" PRIu64, i > 0 ? "," : "", fields[i].name,
                        *(const uint64_t *)(const void *)((const char *)&stats + fields[i].offset));
        if (flags & PMB_STATS_CLASSES)
                text_add_classes(&t, pool);
        text_add(&t, "}");
        return (int)t.length;
}
