/* SPDX-License-Identifier: BSD-3-Clause */
/* Public: the figures of a pool, as structures and as text. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "client/pool.h"

enum {
        CLASSES_MAX = 256
};

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
        struct pmb_class_stats classes[CLASSES_MAX];
        int n = pmb_pool_stats_classes(pool, classes, ELEMENTSOF(classes));
        const char *comma = "";

        text_add(t, ",\"classes\":[");
        for (int i = 0; i < n && i < CLASSES_MAX; i++) {
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
