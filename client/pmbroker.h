/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PMBROKER_H
#define PMBROKER_H

/*
 * libpmbroker: volatile memory pools with a limit that the kernel holds.
 *
 *     struct pmb_client *client;
 *     struct pmb_pool *pool;
 *
 *     if (pmb_client_connect(NULL, 0, &client) < 0)
 *             ...
 *     if (pmb_pool_create(client, &(struct pmb_pool_options){ .size = 32 << 20 }, &pool) < 0)
 *             ...
 *     char *p = pmb_malloc(pool, 512);
 *     ...
 *     pmb_free(pool, p);
 *     pmb_pool_close(pool);
 *     pmb_client_unref(client);
 *
 * Conventions. Functions that return int return 0 (or a count) on success and a negative errno on failure,
 * and set their ret_ parameters only on success. The allocation functions behave as their C17 and POSIX
 * namesakes and set errno. All sizes are bytes. Unless said otherwise every function may be called by any
 * thread at any time; a function that frees an object (pmb_pool_close, the last pmb_client_unref) must be
 * the last use of it. Nothing is printed, no signal handler is installed unless pmb_set_fault_handler() asks
 * for it, the application's malloc is not touched.
 *
 * Memory that runs out is always NULL with errno ENOMEM, never a signal; pmb_pool_explain() says why. What
 * makes pool memory raise SIGBUS is a revocation by an administrator, and memory that is broken: see
 * pmb_set_fault_handler().
 *
 * Structures that the program fills in are to be zero where it says nothing, and event types that it does not
 * know are to be ignored: a later version may have more of both.
 *
 * fork: the memory belongs to the process that created the pool. In a child the pool is dead: allocation
 * returns NULL with errno ESTALE, pmb_free() does nothing, closing is safe, touching a block raises SIGSEGV;
 * unless it was created to live on there (PMB_POOL_COPY_ON_FORK, PMB_POOL_SHARE_ON_FORK). The client is dead
 * in any case: a child that wants a pool of its own connects for itself. vfork() and posix_spawn() change
 * nothing. A child that is made by clone() behind libc's back must not touch a pool.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#ifdef __cplusplus /* functions and structures of the same name */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#define PMB_MALLOC_LIKE(...) __attribute__((__malloc__, __warn_unused_result__, __alloc_size__(__VA_ARGS__)))
#define PMB_WARN_UNUSED      __attribute__((__warn_unused_result__))
#else
#define PMB_MALLOC_LIKE(...)
#define PMB_WARN_UNUSED
#endif

/* The library's version; pmb_version() tells that of the library that is loaded. */
#define PMB_VERSION_MAJOR 0
#define PMB_VERSION_MINOR 1
#define PMB_VERSION_PATCH 0

/* Where the daemon listens unless told otherwise. */
#define PMB_DEFAULT_SOCKET "/run/pmbroker/pmbroker.sock"

/* What pools are made of: sizes are multiples of this many bytes. */
#define PMB_UNIT ((uint64_t)2 << 20)

struct pmb_client; /* a connection to the daemon */
struct pmb_pool;   /* one pool of memory and the heap on it */

/* "0.1.0"; a static string. */
const char *pmb_version(void);

/* ------------------------------------------------------------------------------------------------ client */

enum {
        /*
         * No thread of the library's own: the application watches pmb_client_fd() and calls
         * pmb_client_dispatch().
         */
        PMB_CLIENT_NO_THREAD = 1u << 0,
};

/**
 * pmb_client_connect - connect to the daemon
 * @socket_path: NULL for $PMBROKER_SOCKET or, without it, PMB_DEFAULT_SOCKET
 * @flags: 0 or PMB_CLIENT_NO_THREAD
 * @ret: the client, with one reference, to be given up by pmb_client_unref()
 *
 * The connection is made again by itself when the daemon was restarted; pools live on meanwhile.
 *
 * Returns 0 or: -ENOENT, -ECONNREFUSED (no daemon there), -EACCES, -EPROTONOSUPPORT (the daemon speaks
 * another version), -EUSERS (too many sessions), -EINVAL (unknown flag, path too long), -ENOMEM, -EMFILE.
 */
int pmb_client_connect(const char *socket_path, unsigned flags, struct pmb_client **ret) PMB_WARN_UNUSED;

/**
 * pmb_client_ref, pmb_client_unref - count references
 *
 * A pool holds a reference on its client. The last unref closes the connection. Both take NULL; ref returns
 * its argument, unref returns NULL.
 */
struct pmb_client *pmb_client_ref(struct pmb_client *client);
struct pmb_client *pmb_client_unref(struct pmb_client *client);

/**
 * pmb_client_fd - the descriptor to poll for POLLIN in a PMB_CLIENT_NO_THREAD client
 *
 * It belongs to the client, never read from it. It stays the same over reconnects. -EINVAL for a client with
 * a thread.
 */
int pmb_client_fd(struct pmb_client *client);

/**
 * pmb_client_dispatch - handle what the daemon has sent
 *
 * Only for PMB_CLIENT_NO_THREAD clients. It does not wait for events; it waits for the daemon where handling
 * one takes an answer: to connect again, or to give back units that were asked for. Returns the number of
 * events that were told to the handler or a negative errno.
 */
int pmb_client_dispatch(struct pmb_client *client);

/* -------------------------------------------------------------------------------------------------- pool */

/* How a pool shall be. Zero fields mean the default. */
struct pmb_pool_options {
        /*
         * Bytes at first, rounded up to PMB_UNIT. 0: the pool grows by itself, as with PMB_POOL_AUTO_GROW,
         * and begins with 8 MiB.
         */
        uint64_t size;
        /*
         * Bytes that it may ever grow to: address space is reserved for it, no memory, and less of it where
         * there is less. Default: 8 times size, 1 GiB to 64 TiB; of a pool that grows by itself what the
         * tenant's quota permits for one pool in that store.
         */
        uint64_t max_size;
        const char *store; /* name of a store; default: any that is permitted, the emptiest first */
        const char *name;  /* a label for lists: [a-z0-9._-]{1,32} */
        uint64_t flags;    /* PMB_POOL_* */
};

enum {
        /*
         * No heap: the program manages the memory at pmb_pool_base() itself. The allocation functions fail
         * with EINVAL. The backed units are 0 .. size / PMB_UNIT - 1 until pmb_pool_give_back() is used.
         */
        PMB_POOL_RAW = 1u << 0,
        /*
         * An allocation for which there is no room makes the pool grow, up to its max_size: by what it needs
         * or by a quarter of the size, at least 8 MiB and at most 256 MiB, whichever is more; if that is
         * refused, by what there is, if that is enough. It waits for the daemon for that, for a second at
         * most; other threads that run out meanwhile wait with it. After a refusal nobody asks again for
         * 0.1 s, then for twice as long, and so on up to 10 s. What has been free for ten seconds goes back
         * to the daemon, but for two such steps; that is looked at while the program allocates and frees.
         * Not with PMB_POOL_RAW.
         */
        PMB_POOL_AUTO_GROW = 1u << 1,
        /*
         * The pool lives on in children, in a copy of their own: ordinary memory, of the size that the pool
         * had, which is not charged to anybody and cannot change its size (-ESTALE). fork() takes as long as
         * copying takes what is in use. What other threads write into their blocks meanwhile may be seen in
         * the copy or not. When there is no memory for the copy, or no descriptor for fork() to wait with,
         * the pool is dead in the child.
         */
        PMB_POOL_COPY_ON_FORK = 1u << 2,
        /*
         * With PMB_POOL_RAW: parent and children have the same memory. It is still the parent's: when that
         * ends or closes the pool, touching the memory raises SIGBUS in the children, and what the parent
         * gives back or lets grow the children do not hear of.
         */
        PMB_POOL_SHARE_ON_FORK = 1u << 3,
};

/**
 * pmb_pool_create - get a pool from the daemon, map it and make a heap on it
 * @options: not NULL; copied
 * @ret: the pool, to be given up by pmb_pool_close()
 *
 * Returns 0 or: -EDQUOT (the tenant's quota: pmb_client_explain() has the numbers), -ENOSPC (the store is
 * full), -ENODEV (the store is not served), -ENOENT (no such store), -EACCES (no tenant for this process),
 * -EINVAL, -EAGAIN (the daemon is busy with itself: try again), -ENOMEM, -EMFILE (no descriptor left, or
 * 4094 heaps in this process), -ENOTCONN (the daemon is away), -ETIMEDOUT, -ESTALE (the client is the
 * parent's).
 */
int pmb_pool_create(struct pmb_client *client, const struct pmb_pool_options *options,
        struct pmb_pool **ret) PMB_WARN_UNUSED;

/**
 * pmb_pool_close - give the pool back
 *
 * All its memory is gone from the address space when this returns, blocks that are still allocated included.
 * Other threads must not be using the pool; they may use any other, and may be ending. NULL is allowed.
 * Returns NULL.
 *
 * Using a pool after that is a mistake. While no more than 64 others have been closed since, it is noticed:
 * allocation returns NULL with errno ESTALE, other functions return -ESTALE, freeing and closing do nothing.
 */
struct pmb_pool *pmb_pool_close(struct pmb_pool *pool);

/**
 * pmb_pool_resize - grow or shrink the pool
 * @size: bytes, rounded up to PMB_UNIT
 *
 * Growing asks the daemon. Shrinking gives back whole units that hold no live data, as many as there are,
 * down to @size. Nothing moves and nothing that is allocated is lost.
 *
 * Returns 0 when @size was reached; -EBUSY when only some (or no) units could be given back (pmb_pool_info()
 * tells the size that was reached), -EDQUOT, -ENOSPC, -EINVAL (0, or a raw pool is to shrink), -EAGAIN,
 * -ENOTCONN, -ESTALE (the pool is dead or revoked).
 */
int pmb_pool_resize(struct pmb_pool *pool, uint64_t size);

/**
 * pmb_pool_trim - give back every 2 MiB unit that holds nothing, but for @keep bytes
 *
 * Returns the number of bytes given back, or a negative errno as for
 * pmb_pool_resize(). At least one unit always stays.
 */
int64_t pmb_pool_trim(struct pmb_pool *pool, uint64_t keep);

/**
 * pmb_pool_give_back - a raw pool's way to shrink: give back @count units from unit @first on
 *
 * Their content is lost; touching them afterwards may raise SIGBUS until they are backed again: growing
 * backs the lowest unbacked units first. Returns 0 or a negative errno (-EINVAL: not a raw pool, or not
 * backed).
 */
int pmb_pool_give_back(struct pmb_pool *pool, uint32_t first, uint32_t count);

/**
 * pmb_pool_prefault - have the memory there before it is used
 * @bytes: how much of it, from the start of the pool, rounded up to PMB_UNIT; 0 for all
 * @threads: how many threads shall do it, the caller being one of them; 0 for as many as there are processors
 *           that the caller may run on; at most 64
 * @progress: NULL, or called by the caller's thread now and then with the bytes that are there and the bytes
 *            that there shall be, and in the end. It may allocate. When it returns anything but 0 no more is
 *            done.
 *
 * The first touch of a page takes a fault, and the kernel has to find and to clear the page: this does it for
 * all pages at once. What is in the pool stays as it is, and it may be used meanwhile. Memory that is given
 * back and taken again later is not prefaulted.
 *
 * Returns 0; -ECANCELED (@progress did not want more), -ESTALE (the pool is dead or revoked), -ENOMEM,
 * -EFAULT (there is no memory behind a page: revoked in this moment, or the file system of a `dir` store is
 * full), -EHWPOISON (a page is broken).
 */
int pmb_pool_prefault(struct pmb_pool *pool, uint64_t bytes, unsigned threads,
        int (*progress)(uint64_t done, uint64_t total, void *userdata), void *userdata);

/* What a pool is. Strings live as long as the pool. */
struct pmb_pool_info {
        uint64_t id; /* as pmbrokerctl prints it, in hexadecimal */
        uint64_t size;
        uint64_t max_size;
        uint64_t page_size; /* bytes, of the memory behind it: 4096 or 2 MiB */
        const char *store;
        const char *tenant;
        const char *name; /* "" when there is none */
};

/* Fill *ret. Returns 0, or -ESTALE for a pool that is dead or revoked (filled nevertheless). */
int pmb_pool_info(struct pmb_pool *pool, struct pmb_pool_info *ret);

/*
 * Figures of a pool, all of one moment: threads that allocate meanwhile wait for some microseconds. May be
 * called every second.
 */
struct pmb_pool_stats {
        uint64_t limit;         /* bytes that the daemon has granted */
        uint64_t backed;        /* of these, what the heap may use: less while units are on their way back */
        uint64_t max_size;      /* what the pool may ever grow to */
        uint64_t allocated;     /* bytes in live blocks, as usable sizes */
        uint64_t blocks;        /* live blocks */
        uint64_t cached;        /* bytes in free blocks that are kept ready for threads */
        uint64_t free;          /* bytes that no live block needs, in whatever shape */
        uint64_t largest_free;  /* the largest contiguous range that is not in a block, live or cached */
        uint64_t fragmentation; /* per mille of the bytes neither live nor cached that are outside of it */
        uint64_t refusals;      /* allocations that returned NULL; of these: */
        uint64_t refused_full;  /* there were fewer free bytes than were asked for */
        uint64_t refused_shape; /* enough, but not in one piece */
        uint64_t refused_size;  /* more was asked for than the pool may ever have */
        uint64_t refused_misuse; /* EINVAL: a raw pool, an alignment */
        uint64_t refused_dead;   /* ESTALE */
        uint64_t given_back;     /* bytes returned to the daemon so far */
        uint64_t caches;         /* threads that keep free blocks of this pool ready */
        uint64_t steals;         /* times that all of them were emptied for one that found the pool full */
};

/* Returns 0, or -ESTALE for a pool that is dead or revoked (filled nevertheless, with what is known). */
int pmb_pool_stats(struct pmb_pool *pool, struct pmb_pool_stats *ret);

/* One size class of the heap: requests are rounded up to the next one. */
struct pmb_class_stats {
        uint64_t size;      /* bytes of a block; 0 for the last one, blocks larger than any class */
        uint64_t allocated; /* live blocks; bytes for the last one */
        uint64_t cached;    /* free blocks kept ready for threads */
};

/**
 * pmb_pool_stats_classes - the figures by size class, of one moment
 * @classes: receives the first @n, in ascending order; may be NULL when @n is 0
 *
 * Returns how many classes there are, or -ESTALE.
 */
int pmb_pool_stats_classes(struct pmb_pool *pool, struct pmb_class_stats *classes, unsigned n);

enum {
        PMB_STATS_CLASSES = 1u << 0, /* with an array of the classes in use */
};

/**
 * pmb_pool_stats_json - the figures as one JSON object, on one line
 * @flags: 0 or PMB_STATS_CLASSES
 * @buf: receives the text, always terminated when @size > 0
 *
 * The members have the names of the fields of struct pmb_pool_stats, and "id", "store", "tenant" and "name".
 * Returns the length that the whole text has, as snprintf does, or -EINVAL for an unknown flag.
 */
int pmb_pool_stats_json(struct pmb_pool *pool, unsigned flags, char *buf, size_t size);

/* Start of the mapping; blocks and units are relative to it. 2 MiB aligned. */
void *pmb_pool_base(struct pmb_pool *pool);

/**
 * pmb_pool_of - the pool that @ptr points into, or NULL
 *
 * Any address inside the pool's reserved range counts, allocated or not.
 */
struct pmb_pool *pmb_pool_of(const void *ptr);

/**
 * pmb_pool_explain - why the last allocation or resize of this pool was refused, in one sentence with
 * numbers
 * @buf: receives the sentence, always terminated when @size > 0
 *
 * "" when nothing was ever refused. Returns the length that the whole sentence has, as snprintf does.
 */
int pmb_pool_explain(struct pmb_pool *pool, char *buf, size_t size);

/* The same for the last refused request of the client that no pool stands for (pmb_pool_create). */
int pmb_client_explain(struct pmb_client *client, char *buf, size_t size);

/* -------------------------------------------------------------------------------------------- allocation */

/**
 * pmb_malloc, pmb_calloc, pmb_realloc, pmb_free, pmb_aligned_alloc, pmb_posix_memalign, pmb_usable_size
 *
 * As the C17 and POSIX functions without the prefix, in @pool. Size 0 gives a unique pointer that may be
 * freed. errno on failure: ENOMEM (the pool is full), ESTALE (dead after fork, closed, or revoked), EINVAL
 * (raw pool, alignment). pmb_realloc(pool, NULL, n) allocates; pmb_realloc(pool, p, 0) returns a minimal
 * block. pmb_realloc leaves the block alone when it fails, and never fails to make one smaller.
 * pmb_free(NULL, ptr) finds the pool by the address. pmb_free keeps errno.
 *
 * Passing a pointer that is not a live block of the pool is undefined, as in C; some of it is noticed, see
 * pmb_set_misuse_handler().
 */
void *pmb_malloc(struct pmb_pool *pool, size_t size) PMB_MALLOC_LIKE(2);
void *pmb_calloc(struct pmb_pool *pool, size_t n, size_t size) PMB_MALLOC_LIKE(2, 3);
void *pmb_realloc(struct pmb_pool *pool, void *ptr, size_t size) PMB_WARN_UNUSED;
void pmb_free(struct pmb_pool *pool, void *ptr);
void *pmb_aligned_alloc(struct pmb_pool *pool, size_t alignment, size_t size) PMB_MALLOC_LIKE(3);
int pmb_posix_memalign(struct pmb_pool *pool, void **ret, size_t alignment, size_t size);
size_t pmb_usable_size(struct pmb_pool *pool, const void *ptr);

/**
 * pmb_free_sized - pmb_free() by somebody who knows the size
 * @size: as it was asked for, or anything up to pmb_usable_size()
 *
 * Up to a fifth faster where blocks of many sizes are freed soon after they were made, otherwise the same.
 * Not for blocks of pmb_aligned_alloc() and pmb_posix_memalign(), as in C23.
 */
void pmb_free_sized(struct pmb_pool *pool, void *ptr, size_t size);

/**
 * pmb_defrag - move a block to a better place
 *
 * A program that holds many blocks for long calls this for each of them now and then: a block that keeps
 * memory from being used or given back is copied to where it does not, and freed. Returns the new place, or
 * NULL when the old one is as good as any; then nothing has happened. errno stays as it was.
 */
void *pmb_defrag(struct pmb_pool *pool, void *ptr) PMB_WARN_UNUSED;

/* ------------------------------------------------------------------------------------------------ misuse */

/* What was wrong with a pointer that was passed to the library. */
enum pmb_misuse {
        PMB_MISUSE_INVALID = 1, /* not a block of that pool, or not the start of one */
        PMB_MISUSE_DOUBLE = 2,  /* freed twice */
        PMB_MISUSE_SIZE = 3,    /* pmb_free_sized(): the block is smaller than that */
};

/**
 * pmb_set_misuse_handler - be told about invalid pointers
 * @handler: called by the thread that made the mistake, with no lock held; if it returns, the call that was
 *           wrong does nothing. NULL for the default, which names pool and pointer on stderr and aborts.
 *
 * There is one handler for the process. A table of which blocks begin in which page, and what a thread has at
 * hand, tell: a pointer outside of @pool, or of all pools (INVALID, @pool NULL then); one into pages in which
 * no block begins: never used, given back, or inside of a block of 16 KiB and more (INVALID); the block that
 * this thread was the last to free in its size class (DOUBLE); a block of more than 8 MiB that was freed
 * before (DOUBLE, or INVALID); a size that the block does not have (SIZE). Not noticed are other blocks that
 * were freed before, unless AddressSanitizer or valgrind watches, and pointers into pages in which some block
 * begins but not there: telling those would cost more than allocating does. The table is exact for whole pages
 * of larger blocks, and may be of old for pages that small blocks share.
 */
void pmb_set_misuse_handler(
        void (*handler)(enum pmb_misuse what, struct pmb_pool *pool, const void *ptr, void *userdata),
        void *userdata);

/* ------------------------------------------------------------------------------------------------ faults */

enum pmb_fault_reason {
        /* There is no memory behind the page: the pool was revoked, the unit was given back, or the store knows
         * that the page cannot be read. */
        PMB_FAULT_GONE = 1,
        PMB_FAULT_BROKEN = 2, /* the hardware has found just now that the memory is broken */
};

/* A SIGBUS in the memory of a pool. */
struct pmb_fault {
        enum pmb_fault_reason reason;
        struct pmb_pool *pool; /* not to be used by the handler, see below */
        uint64_t id;           /* of the pool, as in struct pmb_pool_info */
        uint64_t offset;       /* bytes from pmb_pool_base() to what was touched */
        uint64_t length;       /* BROKEN: bytes that are lost, from @offset rounded down to a multiple of
                                  this; otherwise 0 */
        const void *address;   /* what was touched */
};

/**
 * pmb_set_fault_handler - be told which pool a SIGBUS is of
 * @handler: called on the thread that has touched the memory, as a signal handler is: it may do what
 *           signal-safety(7) allows, and none of the functions of this library is among that. NULL for none:
 *           what handled SIGBUS before does so again
 *
 * The handler returns 0 when there is memory now, for example because it has mapped something there: the
 * access is tried again. It may leave by siglongjmp() when the program itself has touched the memory, not a
 * function of this library on its behalf (pmb_calloc(), pmb_realloc() and pmb_defrag() do). With any other
 * answer, and for every SIGBUS that is of no pool, what was installed before is called, which by default
 * ends the process.
 *
 * There is one handler for the process, and this is the only function that installs a signal handler, with
 * SA_ONSTACK. A program that installs one of its own for SIGBUS later has to call the one before, as this
 * one does. Removing does nothing to such a later handler. Changes must not run at the same time as others
 * of SIGBUS. Children inherit the handler.
 *
 * Returns 0 or a negative errno of sigaction().
 */
int pmb_set_fault_handler(int (*handler)(const struct pmb_fault *fault, void *userdata), void *userdata);

/* ------------------------------------------------------------------------------------------------ events */

enum pmb_event_type {
        PMB_EVENT_RESIZED = 1, /* an administrator changed the size, the limit of the pool */
        /*
         * The daemon wants units back. The library has given back those that hold nothing; if size is still
         * more than target, freeing and pmb_pool_trim() help, and for a raw pool pmb_pool_give_back().
         */
        PMB_EVENT_RECLAIM = 2,
        PMB_EVENT_REVOKED = 3,     /* the memory is gone; allocation fails with ESTALE */
        PMB_EVENT_RECONNECTED = 4, /* the daemon was restarted and has resumed the pools */
        PMB_EVENT_CLOSING = 5,     /* the daemon is going away; the library connects again */
        /*
         * An administrator will revoke the pool; target is how many microseconds are left, to save what is in it
         * and to close it.
         */
        PMB_EVENT_REVOKING = 6,
        /*
         * Some of the pool's memory is broken, and touching it raises SIGBUS: target is the offset of the first such
         * page from pmb_pool_base(). The rest is well. pmb_set_fault_handler() tells of each one that is touched.
         */
        PMB_EVENT_DAMAGED = 7,
};

struct pmb_event {
        enum pmb_event_type type;
        struct pmb_pool *pool; /* NULL for RECONNECTED and CLOSING */
        uint64_t size;         /* of the pool, after the event */
        uint64_t target;       /* RECLAIM: the size that the daemon wants it to have; REVOKING, DAMAGED: see
                                  there; otherwise 0 */
};

/**
 * pmb_client_set_handler - be told what happened
 * @handler: NULL for none; called by the library's thread, or within pmb_client_dispatch(). It may allocate,
 *           free and give back memory, and create pools; it must not close one. As long as it runs no other
 *           event is told.
 *
 * When this returns the handler before it does not run any more, unless it was that which called.
 */
void pmb_client_set_handler(struct pmb_client *client,
        void (*handler)(const struct pmb_event *event, void *userdata), void *userdata);

#if defined(__GNUC__)
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
