/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words of the two tools. AddressSanitizer's functions are weak symbols, whoever brings them: the program, or the
 * library when it is built with it. Valgrind's are instructions that do nothing elsewhere, from a header that need not
 * be there when this is compiled.
 */

#include "client/watch.h"

#include <pthread.h>
#include <stdint.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND                          0
#define VALGRIND_CREATE_MEMPOOL(h, redzone, zero)    ((void)(h))
#define VALGRIND_DESTROY_MEMPOOL(h)                  ((void)(h))
#define VALGRIND_MEMPOOL_ALLOC(h, block, size)       ((void)(h))
#define VALGRIND_MEMPOOL_FREE(h, block)              ((void)(h))
#define VALGRIND_MEMPOOL_CHANGE(h, block, now, size) ((void)(h))
#define VALGRIND_MAKE_MEM_NOACCESS(memory, size)     0
#define VALGRIND_MAKE_MEM_UNDEFINED(memory, size)    0
#define VALGRIND_GET_VBITS(memory, bits, size)       0
#endif

#define HIDDEN_VBITS 3 /* what VALGRIND_GET_VBITS() returns of memory that must not be touched */

extern void __asan_poison_memory_region(const volatile void *memory, size_t size) __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *memory, size_t size) __attribute__((weak));
extern void *__asan_region_is_poisoned(void *memory, size_t size) __attribute__((weak));

bool watch_is_on;

static bool has_asan(void)
{
        return __asan_poison_memory_region && __asan_unpoison_memory_region && __asan_region_is_poisoned;
}

static void init(void)
{
        watch_is_on = has_asan() || RUNNING_ON_VALGRIND;
}

bool watch_init(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void)pthread_once(&once, init);
        return watch_is_on;
}

void watch_begin(const Heap *h)
{
        if (watch_is_on)
                VALGRIND_CREATE_MEMPOOL(h, 0, 0);
}

void watch_end(const Heap *h)
{
        if (watch_is_on)
                VALGRIND_DESTROY_MEMPOOL(h);
}

void watch_tell_hidden(const void *memory, size_t size)
{
        if (has_asan())
                __asan_poison_memory_region(memory, size);
        (void)VALGRIND_MAKE_MEM_NOACCESS(memory, size);
}

void watch_tell_shown(const void *memory, size_t size)
{
        if (has_asan())
                __asan_unpoison_memory_region(memory, size);
        (void)VALGRIND_MAKE_MEM_UNDEFINED(memory, size);
}

/* Of no bytes at all there is one, or it would seem to be free. */
static size_t at_least_one(size_t size)
{
        return size ?: 1;
}

void watch_tell_taken(const Heap *h, void *block, size_t size)
{
        size = at_least_one(size);
        watch_tell_shown(block, size);
        VALGRIND_MEMPOOL_ALLOC(h, block, size);
}

void watch_tell_given(const Heap *h, void *block, size_t usable)
{
        VALGRIND_MEMPOOL_FREE(h, block);
        watch_tell_hidden(block, usable);
}

void watch_tell_resized(const Heap *h, void *block, size_t usable, size_t size)
{
        size_t before = watch_tell_size(block, usable);

        size = at_least_one(size);
        if (before == 0)
                return;
        if (size < before)
                watch_tell_hidden((uint8_t *)block + size, before - size);
        else
                watch_tell_shown((uint8_t *)block + before, size - before);
        VALGRIND_MEMPOOL_CHANGE(h, block, block, size);
}

/* What may be touched is one piece. */
static size_t search_end(const uint8_t *block, size_t usable)
{
        size_t least = 0, most = usable;

        while (least < most) {
                size_t middle = least + (most - least) / 2;
                uint8_t bits;

                if (VALGRIND_GET_VBITS(block + middle, &bits, 1) == HIDDEN_VBITS)
                        most = middle;
                else
                        least = middle + 1;
        }
        return least;
}

size_t watch_tell_size(const void *block, size_t usable)
{
        if (has_asan()) {
                const uint8_t *end = __asan_region_is_poisoned((void *)(uintptr_t)block, usable);

                return end ? (size_t)(end - (const uint8_t *)block) : usable;
        }
        return search_end(block, usable);
}
