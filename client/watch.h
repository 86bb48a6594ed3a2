/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Tools that watch memory, AddressSanitizer and valgrind's memcheck, take a pool for one mapping, all of which may be
 * touched. So they are told what is in live blocks, up to the bytes that were asked for; everything else is hidden:
 * free blocks, the rest of a block up to the size of its class, and what no block was ever in.
 *
 * Nothing is spent on it when nobody watches: where somebody does, the fast paths are not used, as if there were no
 * membarrier(), and the slow ones tell. Whether somebody does is found out when a heap is opened, so no library of its
 * own is needed: AddressSanitizer is there if the process has its functions, and valgrind if it answers.
 *
 * A block is hidden before anybody else can get it, and shown after it was got. What was asked for is kept by the
 * tools alone: it is as many bytes as may be touched (watch_size()).
 */

#include <stdbool.h>
#include <stddef.h>

typedef struct Heap Heap;

extern bool watch_is_on;

/* Find out; true when somebody watches. */
bool watch_init(void);

/* Blocks are this heap's from now on, and not any more. */
void watch_begin(const Heap *h);
void watch_end(const Heap *h);

/* What the functions below do when there is somebody to be told. */
void watch_tell_hidden(const void *memory, size_t size);
void watch_tell_shown(const void *memory, size_t size);
void watch_tell_taken(const Heap *h, void *block, size_t size);
void watch_tell_given(const Heap *h, void *block, size_t usable);
void watch_tell_resized(const Heap *h, void *block, size_t usable, size_t size);
size_t watch_tell_size(const void *block, size_t usable);

/* Nobody may touch that; whoever wants to may. */
static inline void watch_hide(const void *memory, size_t size)
{
        if (watch_is_on)
                watch_tell_hidden(memory, size);
}

static inline void watch_show(const void *memory, size_t size)
{
        if (watch_is_on)
                watch_tell_shown(memory, size);
}

/* Somebody gets a block, hidden so far, of which `size` bytes were asked for. Returns it; takes NULL. */
static inline void *watch_taken(const Heap *h, void *block, size_t size)
{
        if (watch_is_on && block)
                watch_tell_taken(h, block, size);
        return block;
}

/* A block of `usable` bytes is given back. */
static inline void watch_given(const Heap *h, void *block, size_t usable)
{
        if (watch_is_on)
                watch_tell_given(h, block, usable);
}

/* So many bytes of it are asked for now. Nothing is changed if it is free. */
static inline void watch_resized(const Heap *h, void *block, size_t usable, size_t size)
{
        if (watch_is_on)
                watch_tell_resized(h, block, usable, size);
}

/* How many bytes of it were asked for, 0 if it is free; all of it when nobody knows. */
static inline size_t watch_size(const void *block, size_t usable)
{
        return watch_is_on ? watch_tell_size(block, usable) : usable;
}
