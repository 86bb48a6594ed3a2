/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The sizes that blocks have: jemalloc's, four to each doubling, so that what the front caches hold and what
 * the arena hands out are the same things. Classes have numbers that fit into a byte of the page map. Blocks
 * larger than the largest class are all CLASS_HUGE: nobody caches them.
 */

#include <stddef.h>
#include <stdint.h>

enum {
        CLASS_NONE = 0,
        CLASS_FIRST = 1,
        CLASS_LAST = 73,
        CLASS_HUGE,
        CLASS_PAGE, /* of the page map alone: arena_take_page() */
        N_CLASSES,  /* with all of these */
};

#define CLASS_SIZE_MAX ((size_t)8 << 20) /* of CLASS_LAST */
#define TABLE_SIZE_MAX ((size_t)4096)    /* up to here a table tells the class */
#define SMALL_SIZE_MAX ((size_t)14336)   /* up to here blocks share slabs */
#define LARGE_SIZE_MIN ((size_t)16384)   /* from here on they are whole pages, and can change their size */

#define PAGE_BLOCK_SIZE ((size_t)4096) /* of CLASS_PAGE */

/* By number; 0 for CLASS_NONE and CLASS_HUGE. */
extern const size_t class_sizes[N_CLASSES];

/* By (size + 7) / 8. */
extern uint8_t class_table[TABLE_SIZE_MAX / 8 + 1];

/* Fill the table. Before anything else is asked; may be called again. */
void sizeclass_init(void);

/* The smallest class with room for `size` bytes, which may be 0. */
static inline unsigned sizeclass_of(size_t size)
{
        unsigned lg;

        if (size <= TABLE_SIZE_MAX)
                return class_table[(size + 7) / 8];
        if (size > CLASS_SIZE_MAX)
                return CLASS_HUGE;
        lg = 63 - (unsigned)__builtin_clzl(size - 1);
        return 9 + 4 * (lg - 7) + (unsigned)((size - 1) >> (lg - 2)) - 3;
}

/*
 * How many free blocks of a class a thread keeps ready, in a pool of that size: many small ones, few large
 * ones, and none of which one is a considerable part of the pool. Never more than sizeclass_room().
 */
unsigned sizeclass_capacity(unsigned class, uint64_t pool_size);
unsigned sizeclass_room(unsigned class);

/* How many of them go from and to the depot at once. */
static inline unsigned sizeclass_batch(unsigned class)
{
        unsigned half = sizeclass_room(class) / 2;

        return half > 0 ? half : 1;
}
