/* SPDX-License-Identifier: BSD-3-Clause */
/* What is not done for every block. */

#include "client/pagemap.h"

#include <string.h>
#include <sys/mman.h>

#include "client/sizeclass.h"

PageClass *pagemap_new(uint64_t size)
{
        void *map = mmap(NULL, size >> MAP_PAGE_SHIFT, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        return map == MAP_FAILED ? NULL : map;
}

PageClass *pagemap_free(PageClass *map, uint64_t size)
{
        if (map)
                (void)munmap((void *)map, size >> MAP_PAGE_SHIFT);
        return NULL;
}

void pagemap_clear(PageClass *map, uint64_t offset, uint64_t size)
{
        /* Nobody has a block there, so nobody who is right looks. */
        memset((void *)&map[offset >> MAP_PAGE_SHIFT], CLASS_NONE, size >> MAP_PAGE_SHIFT);
}
