/* SPDX-License-Identifier: BSD-3-Clause */
/* What is not done for every block. */

#include "client/pagemap.h"

#include <string.h>
#include <sys/mman.h>

#include "client/internal.h"
#include "client/sizeclass.h"

#define STAGGER_MAX ((size_t)4096)

static size_t mapped_size(uint64_t size)
{
        return (size >> MAP_PAGE_SHIFT) + STAGGER_MAX;
}

PageClass *pagemap_new(uint64_t size)
{
        void *map = mmap(NULL, mapped_size(size), PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        return map == MAP_FAILED ? NULL : (PageClass *)((uint8_t *)map + internal_stagger());
}

PageClass *pagemap_free(PageClass *map, uint64_t size)
{
        if (map)
                (void)munmap((void *)((uintptr_t)map & ~(uintptr_t)(STAGGER_MAX - 1)), mapped_size(size));
        return NULL;
}

void pagemap_clear(PageClass *map, uint64_t offset, uint64_t size)
{
        /* Nobody has a block there, so nobody who is right looks. */
        memset((void *)&map[offset >> MAP_PAGE_SHIFT], CLASS_NONE, size >> MAP_PAGE_SHIFT);
}
