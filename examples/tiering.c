/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two tiers of memory in one program: a cache whose index is latency-sensitive and stays in ordinary memory, while
 * the values, which are bulky and touched once per hit, lie in a pool. Two allocators live side by side: malloc()
 * for the index, pmb_malloc() for the values. When the pool is full the cache does what caches do: the value that was
 * used least recently goes.
 *
 *     tiering [POOL-MiB [KEYS]]
 *
 * Ends with 0 when every value that was found was the right one and everything was where it should be, with 1 when
 * not.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pmbroker.h>

#define MIB (UINT64_C(1) << 20)

#define BUCKETS   4096 /* a power of two */
#define VALUE_MIN 1024
#define VALUE_MAX 65536

/* -------------------------------------------------------------------------------------------------------- the cache */

/* In ordinary memory: everything that a lookup walks over. */
struct entry {
        uint64_t key;
        struct entry *next;          /* in the bucket */
        struct entry *newer, *older; /* by last use */
        size_t size;
        unsigned char *value; /* in the pool */
};

struct cache {
        struct pmb_pool *pool;
        struct entry *buckets[BUCKETS];
        struct entry *newest, *oldest;
        uint64_t entries, evictions;
        uint64_t index_bytes, value_bytes;
};

static struct entry **bucket_of(struct cache *cache, uint64_t key)
{
        return &cache->buckets[(key * UINT64_C(0x9e3779b97f4a7c15)) >> 52];
}

static void unlink_use(struct cache *cache, struct entry *e)
{
        *(e->newer ? &e->newer->older : &cache->newest) = e->older;
        *(e->older ? &e->older->newer : &cache->oldest) = e->newer;
}

static void link_newest(struct cache *cache, struct entry *e)
{
        e->newer = NULL;
        e->older = cache->newest;
        *(e->older ? &e->older->newer : &cache->oldest) = e;
        cache->newest = e;
}

static void cache_remove(struct cache *cache, struct entry *e)
{
        struct entry **p = bucket_of(cache, e->key);

        while (*p != e)
                p = &(*p)->next;
        *p = e->next;
        unlink_use(cache, e);
        cache->entries--;
        cache->index_bytes -= sizeof(*e);
        cache->value_bytes -= e->size;
        pmb_free(cache->pool, e->value);
        free(e);
}

/* The value of a key, or NULL. Valid until the next cache_put(). */
static const struct entry *cache_get(struct cache *cache, uint64_t key)
{
        for (struct entry *e = *bucket_of(cache, key); e; e = e->next)
                if (e->key == key) {
                        unlink_use(cache, e);
                        link_newest(cache, e);
                        return e;
                }
        return NULL;
}

/*
 * Room for a value. A full pool is no accident here but the normal state of a cache: NULL with ENOMEM, and something
 * has to go. It ends when nothing is left: then the value is larger than the pool.
 */
static void *make_room(struct cache *cache, size_t size)
{
        void *value;

        while (!(value = pmb_malloc(cache->pool, size))) {
                if (errno != ENOMEM || !cache->oldest)
                        return NULL;
                cache_remove(cache, cache->oldest);
                cache->evictions++;
        }
        return value;
}

/* 0, or -ENOMEM if there is no room for it, even when all else goes. The key must not be there. */
static int cache_put(struct cache *cache, uint64_t key, const void *value, size_t size)
{
        struct entry *e;

        e = malloc(sizeof(*e));
        if (!e)
                return -ENOMEM;
        *e = (struct entry){.key = key, .size = size, .value = make_room(cache, size)};
        if (!e->value) {
                int r = -errno;

                free(e);
                return r;
        }
        memcpy(e->value, value, size);
        e->next = *bucket_of(cache, key);
        *bucket_of(cache, key) = e;
        link_newest(cache, e);
        cache->entries++;
        cache->index_bytes += sizeof(*e);
        cache->value_bytes += size;
        return 0;
}

/* ------------------------------------------------------------------------------------------------------ the program */

/* What belongs to a key: a length, and bytes that nobody else has. */
static size_t make_value(uint64_t key, unsigned char *ret)
{
        uint64_t x = key * UINT64_C(0xbf58476d1ce4e5b9) + 1;
        size_t size = VALUE_MIN + (size_t)(x >> 40) % (VALUE_MAX - VALUE_MIN + 1);

        for (size_t i = 0; i < size; i++) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                ret[i] = (unsigned char)(x >> 32);
        }
        return size;
}

/* Every entry: index in ordinary memory, value in the pool, and the right one. */
static int inspect(struct cache *cache)
{
        static unsigned char expected[VALUE_MAX];

        for (struct entry *e = cache->oldest; e; e = e->newer) {
                if (pmb_pool_of(e) || pmb_pool_of(e->value) != cache->pool) {
                        fprintf(stderr, "key %llu is not where it should be\n", (unsigned long long)e->key);
                        return -EFAULT;
                }
                if (make_value(e->key, expected) != e->size || memcmp(expected, e->value, e->size) != 0) {
                        fprintf(stderr, "key %llu has another value\n", (unsigned long long)e->key);
                        return -EIO;
                }
        }
        return 0;
}

static int run(struct cache *cache, uint64_t keys)
{
        static unsigned char value[VALUE_MAX];
        const struct entry *hit = NULL;
        struct pmb_pool_stats stats;
        struct pmb_pool_info info;
        uint64_t hits = 0, lookups = 0;
        char why[256];
        int r;

        for (uint64_t key = 0; key < keys; key++) {
                r = cache_put(cache, key, value, make_value(key, value));
                if (r < 0) {
                        fprintf(stderr, "cannot put key %llu: %s\n", (unsigned long long)key, strerror(-r));
                        return r;
                }
                /* A popular key is used again and again, and therefore never the one that goes. */
                hit = cache_get(cache, 0);
                if (!hit) {
                        fprintf(stderr, "the popular key was evicted\n");
                        return -ENOENT;
                }
        }
        if (!hit)
                return -ENOENT; /* nothing was put */
        for (uint64_t key = 0; key < keys; key++, lookups++)
                hits += cache_get(cache, key) != NULL;
        r = inspect(cache);
        if (r < 0)
                return r;

        if (pmb_pool_info(cache->pool, &info) < 0 || pmb_pool_stats(cache->pool, &stats) < 0)
                return -ESTALE;
        printf("index    %8.1f KiB in ordinary memory, e.g. at %p: %llu entries\n",
                (double)(cache->index_bytes + sizeof(cache->buckets)) / 1024, (const void *)hit,
                (unsigned long long)cache->entries);
        printf("values   %8.1f MiB in store %s, e.g. at %p: %.1f %% of the pool's %llu MiB\n",
                (double)cache->value_bytes / (double)MIB, info.store, (const void *)hit->value,
                100 * (double)cache->value_bytes / (double)info.size, (unsigned long long)(info.size / MIB));
        printf("lookups  %llu hits of %llu, every byte as it was put\n", (unsigned long long)hits,
                (unsigned long long)lookups);
        if (cache->evictions > 0) {
                (void)pmb_pool_explain(cache->pool, why, sizeof(why));
                printf("evicted  %llu values; the last time because: %s\n",
                        (unsigned long long)cache->evictions, why);
        }
        if (hits != cache->entries || cache->entries + cache->evictions != keys ||
                stats.allocated < cache->value_bytes || stats.allocated > info.size) {
                fprintf(stderr, "the figures do not add up\n");
                return -EDOM;
        }
        return 0;
}

int main(int argc, char **argv)
{
        uint64_t size = (argc > 1 ? strtoull(argv[1], NULL, 10) : 32) * MIB;
        uint64_t keys = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000;
        struct pmb_client *client;
        struct cache *cache;
        char why[256];
        int r;

        cache = calloc(1, sizeof(*cache));
        if (!cache)
                return EXIT_FAILURE;
        r = pmb_client_connect(NULL, 0, &client);
        if (r < 0) {
                fprintf(stderr, "cannot connect to pmbrokerd: %s\n", strerror(-r));
                free(cache);
                return EXIT_FAILURE;
        }
        r = pmb_pool_create(
                client, &(struct pmb_pool_options){.size = size, .name = "values"}, &cache->pool);
        if (r < 0) {
                (void)pmb_client_explain(client, why, sizeof(why));
                fprintf(stderr, "cannot create the pool: %s: %s\n", strerror(-r), why);
        } else
                r = run(cache, keys);

        /* Closing the pool frees all values at once; the index goes entry by entry, as it came. */
        pmb_pool_close(cache->pool);
        for (struct entry *e = cache->oldest, *newer; e; e = newer) {
                newer = e->newer;
                free(e);
        }
        pmb_client_unref(client);
        free(cache);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
