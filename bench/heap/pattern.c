/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The patterns. A block is written to at its first byte, since that is what blocks are for; in blocks that are larger
 * than that, what a program does to the rest of them would hide the allocator. What the patterns themselves need comes
 * from mmap(), so that it is not measured with.
 *
 * Time is the processor time of the thread: on a machine that does other things too, the clock on the wall says more
 * about those.
 */

#include "pattern.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MIXED     4096 /* sizes, drawn once */
#define LIKELY(x) __builtin_expect(!!(x), 1)

static const char *const pattern_names[] = {
        [PATTERN_PAIR] = "pair",
        [PATTERN_LIFO] = "lifo",
        [PATTERN_FIFO] = "fifo",
        [PATTERN_RANDOM] = "random",
        [PATTERN_CHURN] = "churn",
        [PATTERN_REALLOC] = "realloc",
        [PATTERN_PRODCONS] = "prodcons",
        [PATTERN_BULK] = "bulk",
        [PATTERN_CALLS] = "calls",
};

/* How much of it makes a round: of batches, how many are live at a time; of the bulk, likewise. */
static const struct {
        const char *name;
        size_t bytes;
        unsigned n_ops, n_batch, n_bulk, n_ring;
        size_t realloc_max;
} sizes[] = {
        [SIZE_MIX] = {"mix", 0, 300000, 1000, 1000000, 256, 4096},
        [SIZE_64] = {"64", 64, 300000, 1000, 1000000, 256, 65536},
        [SIZE_4K] = {"4K", 4096, 150000, 1000, 40000, 256, 1 << 20},
        [SIZE_64K] = {"64K", 65536, 20000, 200, 4000, 64, 0},
        [SIZE_1M] = {"1M", 1 << 20, 8000, 32, 256, 32, 0},
        [SIZE_4M] = {"4M", 4 << 20, 8000, 8, 64, 16, 0},
};

PatternKind pattern_from_string(const char *s)
{
        unsigned i = 0;

        while (i < N_PATTERNS && strcmp(pattern_names[i], s) != 0)
                i++;
        return i;
}

SizeKind size_from_string(const char *s)
{
        unsigned i = 0;

        while (i < N_SIZES && strcmp(sizes[i].name, s) != 0)
                i++;
        return i;
}

/* ------------------------------------------------------------------------------------------------------- tools */

static uint32_t next_random(uint32_t *s)
{
        *s ^= *s << 13;
        *s ^= *s >> 17;
        return *s ^= *s << 5;
}

static double cpu_nsec(void)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
        return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static uint16_t mixed[MIXED];

static void draw_sizes(void)
{
        uint32_t seed = 7;

        for (unsigned i = 0; i < MIXED; i++)
                mixed[i] = (uint16_t)(16 + next_random(&seed) % 497);
}

static inline size_t size_of(SizeKind size, size_t i)
{
        return size == SIZE_MIX ? mixed[i % MIXED] : sizes[size].bytes;
}

typedef struct Live {
        void **blocks;
        uint16_t *drawn; /* the place of each block's size in the list of drawn ones */
        unsigned *order;
        size_t n;
} Live;

static Live live_new(size_t n)
{
        Live live = {.n = n};
        uint32_t seed = 99;
        char *p = mmap(NULL, n * (sizeof(void *) + sizeof(uint16_t) + sizeof(unsigned)),
                PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

        if (p == MAP_FAILED)
                die("mmap", strerror(errno));
        live.blocks = (void **)p;
        live.order = (unsigned *)(p + n * sizeof(void *));
        live.drawn = (uint16_t *)(p + n * (sizeof(void *) + sizeof(unsigned)));
        for (unsigned i = 0; i < n; i++)
                live.order[i] = i;
        for (unsigned i = (unsigned)n - 1; i > 0; i--) {
                unsigned j = next_random(&seed) % (i + 1), other = live.order[i];

                live.order[i] = live.order[j];
                live.order[j] = other;
        }
        return live;
}

static void live_free(Live *live)
{
        (void)munmap(live->blocks, live->n * (sizeof(void *) + sizeof(uint16_t) + sizeof(unsigned)));
}

/* Allocate and write; a block that there is none of is counted. */
static inline void *take(Heap heap, size_t size, size_t *failed)
{
        void *p = heap_alloc(heap, size);

        if (LIKELY(p))
                *(volatile char *)p = 1;
        else
                (*failed)++;
        return p;
}

static inline void give(Heap heap, void *p, bool sized, size_t size)
{
        (void)size;
#if defined(HEAP_HAS_FREE_SIZED)
        if (sized) {
                heap_free_sized(heap, p, size);
                return;
        }
#else
        (void)sized;
#endif
        heap_free(heap, p);
}

/* ---------------------------------------------------------------------------------------------------- patterns */

/*
 * Each takes what of it varies as constants, so that the loop around the two calls is as short as it can be. Returns
 * the number of allocations.
 */
static inline __attribute__((always_inline)) size_t pair(
        const Pattern *p, SizeKind size, bool sized, size_t *failed)
{
        Heap heap = p->heaps[0];
        size_t n = sizes[size].n_ops;

        for (size_t i = 0; i < n; i++) {
                size_t bytes = size_of(size, i);

                give(heap, take(heap, bytes, failed), sized, bytes);
        }
        return n;
}

/* What is left of a pair when the library does nothing: the loop, the block's first byte, and two calls. */
static size_t calls(const Pattern *p)
{
        size_t n = sizes[p->size].n_ops;
        volatile char bytes[512];

        for (size_t i = 0; i < n; i++) {
#if defined(HEAP_HAS_FREE_SIZED)
                heap_call();
                bytes[size_of(p->size, i) % sizeof(bytes)] = 1;
                heap_call();
#else
                bytes[size_of(p->size, i) % sizeof(bytes)] = 1;
#endif
        }
        return n;
}

/* The number of heaps is a power of two. */
static size_t pair_in_turn(const Pattern *p, size_t *failed)
{
        size_t n = sizes[p->size].n_ops, mask = p->n_heaps - 1;

        for (size_t i = 0; i < n; i++) {
                Heap heap = p->heaps[i & mask];
                size_t bytes = size_of(p->size, i);

                heap_free(heap, take(heap, bytes, failed));
        }
        return n;
}

static inline __attribute__((always_inline)) size_t batches(
        const Pattern *p, SizeKind size, bool sized, Live *live, size_t *failed)
{
        Heap heap = p->heaps[0];
        size_t n_batch = live->n, n_batches = sizes[size].n_ops / n_batch;

        for (size_t k = 0; k < n_batches; k++) {
                for (size_t i = 0; i < n_batch; i++)
                        live->blocks[i] = take(heap, size_of(size, i + k * 7), failed);
                switch (p->kind) {
                case PATTERN_LIFO:
                        for (size_t i = n_batch; i-- > 0;)
                                give(heap, live->blocks[i], sized, size_of(size, i + k * 7));
                        break;
                case PATTERN_FIFO:
                        for (size_t i = 0; i < n_batch; i++)
                                give(heap, live->blocks[i], sized, size_of(size, i + k * 7));
                        break;
                default:
                        for (size_t i = 0; i < n_batch; i++) {
                                size_t j = live->order[i];

                                give(heap, live->blocks[j], sized, size_of(size, j + k * 7));
                        }
                        break;
                }
        }
        return n_batches * n_batch;
}

/*
 * No division says which block is next: on the AMD processors where this was tried an address that comes of one costs
 * every allocator 7 to 11 ns more here than if it comes from elsewhere, some of them only in some processes.
 */
static inline __attribute__((always_inline)) size_t churn(
        const Pattern *p, SizeKind size, bool sized, Live *live, size_t *failed)
{
        Heap heap = p->heaps[0];
        size_t n = sizes[size].n_ops;
        uint32_t seed = 12345 + p->thread;

        for (size_t i = 0; i < n; i++) {
                uint32_t r = next_random(&seed);
                size_t j = ((uint64_t)r * live->n) >> 32, draw = (r >> 8) % MIXED;

                if (live->blocks[j])
                        give(heap, live->blocks[j], sized, size_of(size, live->drawn[j]));
                live->drawn[j] = (uint16_t)draw;
                live->blocks[j] = take(heap, size_of(size, draw), failed);
        }
        for (size_t j = 0; j < live->n; j++) {
                if (live->blocks[j])
                        give(heap, live->blocks[j], sized, size_of(size, live->drawn[j]));
                live->blocks[j] = NULL;
        }
        return n;
}

static size_t grow(const Pattern *p, size_t *failed)
{
        size_t n = 0, n_blocks = sizes[p->size].n_ops / 200;
        Heap heap = p->heaps[0];

        for (size_t i = 0; i < n_blocks; i++) {
                char *block = take(heap, 16, failed);

                for (size_t size = 16; block && size < sizes[p->size].realloc_max; n++) {
                        char *larger;

                        size += size / 2;
                        larger = heap_realloc(heap, block, size);
                        if (!larger) {
                                (*failed)++;
                                break;
                        }
                        block = larger;
                        ((volatile char *)block)[size - 1] = 1;
                }
                heap_free(heap, block);
        }
        return n;
}

static size_t bulk(const Pattern *p, Live *live, size_t *failed)
{
        Heap heap = p->heaps[0];

        for (size_t i = 0; i < live->n; i++)
                live->blocks[i] = take(heap, size_of(p->size, i), failed);
        for (size_t i = 0; i < live->n; i++)
                heap_free(heap, live->blocks[i]);
        return live->n;
}

/* -------------------------------------------------------------------------------------------- producer, consumer */

static struct {
        _Alignas(64) atomic_uint head; /* the producer's */
        _Alignas(64) atomic_uint tail; /* the consumer's */
        _Alignas(64) void *_Atomic slots[256];
} ring;

void pattern_prepare(const Pattern *pattern)
{
        if (!mixed[0])
                draw_sizes();
        (void)pattern;
        atomic_store(&ring.head, 0);
        atomic_store(&ring.tail, 0);
}

/*
 * Whoever has to wait for the other waits for half of the ring, and that time is not counted: how long it takes is the
 * other's affair and the scheduler's, and would be all that is measured of an allocator that is quick.
 */
static unsigned blocks_in_ring(void)
{
        return atomic_load_explicit(&ring.head, memory_order_acquire) -
               atomic_load_explicit(&ring.tail, memory_order_acquire);
}

static double wait_for_room(unsigned n_slots)
{
        double begin;

        if (blocks_in_ring() < n_slots)
                return 0;
        begin = cpu_nsec();
        while (blocks_in_ring() > n_slots / 2)
                (void)sched_yield();
        return cpu_nsec() - begin;
}

static double wait_for_blocks(unsigned n_slots, unsigned n_left)
{
        unsigned n = n_left < n_slots / 2 ? n_left : n_slots / 2;
        double begin;

        if (blocks_in_ring() > 0)
                return 0;
        begin = cpu_nsec();
        while (blocks_in_ring() < n)
                (void)sched_yield();
        return cpu_nsec() - begin;
}

static size_t produce(const Pattern *p, size_t *failed, double *waited)
{
        unsigned n_slots = sizes[p->size].n_ring, n = sizes[p->size].n_ops;
        Heap heap = p->heaps[0];

        for (unsigned i = 0; i < n; i++) {
                void *block = take(heap, size_of(p->size, i), failed);

                *waited += wait_for_room(n_slots);
                atomic_store_explicit(&ring.slots[i % n_slots], block, memory_order_relaxed);
                atomic_store_explicit(&ring.head, i + 1, memory_order_release);
        }
        return n;
}

static size_t consume(const Pattern *p, double *waited)
{
        unsigned n_slots = sizes[p->size].n_ring, n = sizes[p->size].n_ops;
        Heap heap = p->heaps[0];

        for (unsigned i = 0; i < n; i++) {
                void *block;

                *waited += wait_for_blocks(n_slots, n - i);
                block = atomic_load_explicit(&ring.slots[i % n_slots], memory_order_relaxed);
                give(heap, block, p->sized, size_of(p->size, i));
                atomic_store_explicit(&ring.tail, i + 1, memory_order_release);
        }
        return n;
}

/* --------------------------------------------------------------------------------------------------------- run */

/* With the size and the way of freeing as constants. */
#define SPECIALIZE(f, ...)                                                     \
        (p->size == SIZE_MIX ? (p->sized ? f(p, SIZE_MIX, true, __VA_ARGS__)   \
                                         : f(p, SIZE_MIX, false, __VA_ARGS__)) \
                : p->sized   ? f(p, p->size, true, __VA_ARGS__)                \
                             : f(p, p->size, false, __VA_ARGS__))

double pattern_run(const Pattern *p, size_t *ret_failed)
{
        size_t n_live = p->kind == PATTERN_BULK ? sizes[p->size].n_bulk : sizes[p->size].n_batch;
        Live live = live_new(n_live);
        size_t n = 0, failed = 0;
        double begin = cpu_nsec(), end, waited = 0;

        switch (p->kind) {
        case PATTERN_PAIR:
                n = p->n_heaps > 1 ? pair_in_turn(p, &failed) : SPECIALIZE(pair, &failed);
                break;
        case PATTERN_LIFO:
        case PATTERN_FIFO:
        case PATTERN_RANDOM:
                n = SPECIALIZE(batches, &live, &failed);
                break;
        case PATTERN_CHURN:
                n = SPECIALIZE(churn, &live, &failed);
                break;
        case PATTERN_REALLOC:
                n = grow(p, &failed);
                break;
        case PATTERN_PRODCONS:
                n = p->thread == 0 ? produce(p, &failed, &waited) : consume(p, &waited);
                break;
        case PATTERN_BULK:
                n = bulk(p, &live, &failed);
                break;
        case PATTERN_CALLS:
                n = calls(p);
                break;
        case N_PATTERNS:
                break;
        }
        end = cpu_nsec();
        live_free(&live);
        *ret_failed = failed;
        return n > 0 ? (end - begin - waited) / (double)n : 0;
}
