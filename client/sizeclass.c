/* SPDX-License-Identifier: BSD-3-Clause */
/* Size classes, and how many blocks of each are worth keeping. */

#include "client/sizeclass.h"

#define DOUBLING(shift) \
        (size_t)5 << (shift), (size_t)6 << (shift), (size_t)7 << (shift), (size_t)8 << (shift)

const size_t class_sizes[N_CLASSES] = {
        0, 8, 16, 32, 48, 64, 80, 96, 112, 128,                                        /* */
        DOUBLING(5), DOUBLING(6), DOUBLING(7), DOUBLING(8), DOUBLING(9), DOUBLING(10), /* to 8 KiB */
        DOUBLING(11), DOUBLING(12), DOUBLING(13), DOUBLING(14), DOUBLING(15),          /* to 256 KiB */
        DOUBLING(16), DOUBLING(17), DOUBLING(18), DOUBLING(19), DOUBLING(20),          /* to 8 MiB */
        0, PAGE_BLOCK_SIZE, /* CLASS_HUGE, CLASS_PAGE */
};

uint8_t class_table[TABLE_SIZE_MAX / 8 + 1];

void sizeclass_init(void)
{
        uint8_t class = CLASS_FIRST;

        for (size_t i = 0; i <= TABLE_SIZE_MAX / 8; i++) {
                if (i * 8 > class_sizes[class])
                        class ++;
                class_table[i] = class;
        }
}

unsigned sizeclass_room(unsigned class)
{
        static const struct {
                size_t size;
                unsigned room;
        } steps[] = {
                {512, 128},
                {2048, 64},
                {8192, 32},
                {16384, 16},
                {65536, 8},
                {262144, 4},
                {CLASS_SIZE_MAX, 2},
        };
        unsigned i = 0;

        if (class < CLASS_FIRST || class > CLASS_LAST)
                return 0;
        while (class_sizes[class] > steps[i].size)
                i++;
        return steps[i].room;
}

unsigned sizeclass_capacity(unsigned class, uint64_t pool_size)
{
        unsigned n = sizeclass_room(class);

        if (n == 0 || class_sizes[class] > pool_size / 32)
                return 0;
        while (n > 2 && n * class_sizes[class] > pool_size / 512)
                n /= 2;
        return n;
}
