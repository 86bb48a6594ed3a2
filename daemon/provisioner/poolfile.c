/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provisioner/fsdax-pool.h"
#include "provisioner/poolfile.h"

#define SUFFIX ".pool"

int poolfile_new(StoreEntry *store, uint64_t id, const void *record, uint32_t record_size, PoolFile **ret)
{
        assert(record_size <= JOB_RECORD_MAX);

        PoolFile *pool = calloc(1, sizeof(*pool) + record_size);
        if (!pool)
                return -ENOMEM;
        pool->store = store;
        pool->id = id;
        pool->fd = -EBADF;
        list_init(&pool->waiting);
        pool->record_size = record_size;
        if (record_size > 0)
                memcpy(pool->record, record, record_size);
        *ret = pool;
        return 0;
}

PoolFile *poolfile_free(PoolFile *pool)
{
        if (!pool)
                return NULL;
        assert(!pool->running);
        assert(list_is_empty(&pool->waiting));
        (void)fsdax_guard_unmap(pool->guard);
        safe_close(pool->fd);
        free(pool);
        return NULL;
}

void pool_table_deinit(PoolTable *table)
{
        assert(table->n == 0);
        free(table->pools);
        *table = (PoolTable){};
}

size_t pool_table_above(const PoolTable *table, uint64_t id)
{
        size_t low = 0, high = table->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (table->pools[middle]->id <= id)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

PoolFile *pool_table_find(const PoolTable *table, uint64_t id)
{
        size_t above = pool_table_above(table, id);

        return above > 0 && table->pools[above - 1]->id == id ? table->pools[above - 1] : NULL;
}

int pool_table_add(PoolTable *table, PoolFile *pool)
{
        size_t at = pool_table_above(table, pool->id);

        if (at > 0 && table->pools[at - 1]->id == pool->id)
                return -EEXIST;
        if (table->n == table->allocated) {
                size_t allocated = table->allocated ? table->allocated * 2 : 64;
                PoolFile **pools = reallocarray(table->pools, allocated, sizeof(PoolFile *));
                if (!pools)
                        return -ENOMEM;
                table->pools = pools;
                table->allocated = allocated;
        }
        memmove(table->pools + at + 1, table->pools + at, (table->n - at) * sizeof(PoolFile *));
        table->pools[at] = pool;
        table->n++;
        return 0;
}

void pool_table_remove(PoolTable *table, PoolFile *pool)
{
        size_t above = pool_table_above(table, pool->id);

        assert(above > 0 && table->pools[above - 1] == pool);
        memmove(table->pools + above - 1, table->pools + above, (table->n - above) * sizeof(PoolFile *));
        table->n--;
}

char *pool_id_format(char buf[static POOL_ID_TEXT_MAX], uint64_t id)
{
        (void)snprintf(buf, POOL_ID_TEXT_MAX, "%016" PRIx64, id);
        return buf;
}

int pool_id_parse(const char *s, size_t n, uint64_t *ret)
{
        uint64_t id = 0;

        if (n != POOL_ID_TEXT_MAX - 1)
                return -EINVAL;
        for (size_t i = 0; i < n; i++) {
                unsigned digit;
                if (s[i] >= '0' && s[i] <= '9')
                        digit = (unsigned)(s[i] - '0');
                else if (s[i] >= 'a' && s[i] <= 'f')
                        digit = (unsigned)(s[i] - 'a') + 10;
                else
                        return -EINVAL;
                id = id << 4 | digit;
        }
        if (id == 0)
                return -EINVAL;
        *ret = id;
        return 0;
}

char *pool_file_name(char buf[static POOL_FILE_NAME_MAX], uint64_t id)
{
        (void)snprintf(buf, POOL_FILE_NAME_MAX, "%016" PRIx64 SUFFIX, id);
        return buf;
}

int pool_file_next(DIR *dir, const char **ret_name, uint64_t *ret_id)
{
        const size_t n_id = POOL_ID_TEXT_MAX - 1;
        const struct dirent *entry;

        for (;;) {
                errno = 0;
                entry = readdir(dir);
                if (!entry)
                        return -errno;
                if (strlen(entry->d_name) == n_id + strlen(SUFFIX) &&
                        strcmp(entry->d_name + n_id, SUFFIX) == 0 &&
                        pool_id_parse(entry->d_name, n_id, ret_id) >= 0)
                        break;
        }
        *ret_name = entry->d_name;
        return 1;
}
