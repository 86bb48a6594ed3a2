/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that holds a pool and trusts nobody. It keeps half of the pool filled with blocks of mixed sizes, reads
 * every byte of them all the time, replaces some now and then, and watches what an administrator does to the pool:
 *
 *   - grown or shrunk: says the new size, and takes all that can be taken for a moment, to see that the size is true;
 *   - revoked: says so and ends with 3.
 *
 *     holder [--size MiB] [--max MiB] [--store NAME] [--name NAME] [--seconds N]
 *
 * SIGTERM, SIGINT or the end of the seconds ask for the verdict: 0 when every byte was always as it was written, 1
 * when not. 2: no pool was to be had.
 */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pmbroker.h>

#define MIB (UINT64_C(1) << 20)

enum {
        EXIT_INTACT = 0,
        EXIT_DAMAGED = 1,
        EXIT_NO_POOL = 2,
        EXIT_REVOKED = 3,
};

#define BLOCKS_MAX 65536
#define PROBE      (64 * 1024) /* bytes of the blocks that probe how much there is */

struct block {
        uint64_t *words;
        uint32_t n; /* words */
        uint64_t seed;
};

static struct block blocks[BLOCKS_MAX];
static unsigned n_blocks;

/* Set by a signal or by the library's thread, read by the main loop. */
static atomic_bool stop;
static atomic_bool revoked;
static atomic_ullong new_size; /* 0: nothing new */

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
        va_list ap;

        printf("holder: ");
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        putchar('\n');
        fflush(stdout);
}

/* --------------------------------------------------------------------------------------------------- what happens */

static void on_stop(int signo)
{
        (void)signo;
        atomic_store(&stop, true);
}

/*
 * Memory that an administrator has revoked cannot be read: the kernel raises SIGBUS where it is touched. Nothing else
 * ever makes pool memory do that. A program that wants to live on would siglongjmp() out of here; this one ends.
 */
static void on_sigbus(int signo)
{
        static const char text[] = "holder: SIGBUS: the memory is gone, the pool was revoked\n";
        ssize_t n = write(STDOUT_FILENO, text, sizeof(text) - 1);

        (void)signo;
        (void)n;
        _exit(EXIT_REVOKED);
}

/* In the library's thread: leave a note, no more. */
static void on_event(const struct pmb_event *event, void *userdata)
{
        (void)userdata;
        switch (event->type) {
        case PMB_EVENT_RESIZED:
        case PMB_EVENT_RECLAIM:
                atomic_store(&new_size, event->size);
                break;
        case PMB_EVENT_REVOKED:
                atomic_store(&revoked, true);
                break;
        case PMB_EVENT_RECONNECTED:
                say("the daemon was restarted, the pool is still here");
                break;
        default:
                break;
        }
}

/* ------------------------------------------------------------------------------------------------------ the blocks */

static uint64_t next_random(uint64_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

/* 64 bytes to 256 KiB, every magnitude as likely as the next. */
static size_t random_size(uint64_t *state)
{
        unsigned magnitude = 6 + (unsigned)(next_random(state) >> 32) % 12;

        return (((size_t)1 << magnitude) + (size_t)(next_random(state) % ((uint64_t)1 << magnitude))) &
               ~(size_t)7;
}

static void fill(struct block *b)
{
        uint64_t x = b->seed;

        for (uint32_t i = 0; i < b->n; i++)
                b->words[i] = next_random(&x);
}

/* The number of words that are not as they were written. */
static uint64_t count_wrong(const struct block *b)
{
        uint64_t x = b->seed, wrong = 0;

        for (uint32_t i = 0; i < b->n; i++)
                wrong += b->words[i] != next_random(&x);
        return wrong;
}

/* False when the pool gives nothing. */
static bool take_block(struct pmb_pool *pool, struct block *ret, uint64_t *state)
{
        size_t size = random_size(state);
        uint64_t *words = pmb_malloc(pool, size);

        if (!words)
                return false;
        *ret = (struct block){.words = words, .n = (uint32_t)(size / 8), .seed = next_random(state)};
        fill(ret);
        return true;
}

/* All bytes of all blocks, once. Returns how many words were wrong. */
static uint64_t check_all(uint64_t *checked)
{
        uint64_t wrong = 0;

        for (unsigned i = 0; i < n_blocks && !atomic_load(&revoked); i++) {
                wrong += count_wrong(&blocks[i]);
                *checked += blocks[i].n * sizeof(uint64_t);
        }
        return wrong;
}

/* Every sixteenth block goes and another one comes: a pool that is used, not a picture of one. */
static void replace_some(struct pmb_pool *pool, uint64_t *state)
{
        for (unsigned i = (unsigned)(next_random(state) % 16); i < n_blocks; i += 16) {
                struct block fresh;

                if (!take_block(pool, &fresh, state))
                        return;
                pmb_free(pool, blocks[i].words);
                blocks[i] = fresh;
        }
}

/* Take all that is there for a moment, write to it, and give it back. Returns how much it was, with the blocks. */
static uint64_t probe(struct pmb_pool *pool)
{
        struct pmb_pool_stats stats = {0};
        char *chain = NULL, *block;

        while ((block = pmb_malloc(pool, PROBE))) {
                memset(block, 0xa5, PROBE);
                memcpy(block, &chain, sizeof(chain));
                chain = block;
        }
        (void)pmb_pool_stats(pool, &stats);
        while (chain) {
                block = chain;
                memcpy(&chain, block, sizeof(chain));
                pmb_free(pool, block);
        }
        return stats.allocated;
}

/* -------------------------------------------------------------------------------------------------------- main loop */

static int hold(struct pmb_pool *pool, uint64_t seconds)
{
        uint64_t state = UINT64_C(0x2545f4914f6cdd1d) ^ (uint64_t)getpid();
        uint64_t filled = 0, passes = 0, checked = 0, wrong = 0, known_size;
        struct pmb_pool_info info;
        struct timespec now, end;

        if (pmb_pool_info(pool, &info) < 0)
                return EXIT_REVOKED;
        while (filled < info.size / 2 && n_blocks < BLOCKS_MAX &&
                take_block(pool, &blocks[n_blocks], &state))
                filled += blocks[n_blocks++].n * sizeof(uint64_t);
        say("pool %016llx of %llu MiB, %.1f MiB of it in %u blocks", (unsigned long long)info.id,
                (unsigned long long)(info.size / MIB), (double)filled / (double)MIB, n_blocks);
        if (filled < info.size / 2 && n_blocks < BLOCKS_MAX) {
                say("half of the pool cannot be filled");
                return EXIT_DAMAGED;
        }

        known_size = info.size;
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_sec += (time_t)seconds;
        while (!atomic_load(&stop) && !atomic_load(&revoked)) {
                uint64_t size = atomic_exchange(&new_size, 0);

                if (size > 0 && size != known_size) {
                        say("the pool has %llu MiB now, %llu MiB of it can be taken; %llu passes so far, "
                            "all intact",
                                (unsigned long long)(size / MIB), (unsigned long long)(probe(pool) / MIB),
                                (unsigned long long)passes);
                        known_size = size;
                }
                wrong += check_all(&checked);
                if (wrong > 0)
                        break;
                passes++;
                replace_some(pool, &state);
                (void)clock_gettime(CLOCK_MONOTONIC, &now);
                if (seconds > 0 && (now.tv_sec > end.tv_sec ||
                                           (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec)))
                        break;
        }
        if (atomic_load(&revoked)) {
                say("told that the pool was revoked");
                return EXIT_REVOKED;
        }
        say("%llu passes, %.1f GiB read, %llu words wrong: %s", (unsigned long long)passes,
                (double)checked / (1024 * (double)MIB), (unsigned long long)wrong,
                wrong ? "DAMAGED" : "intact");
        return wrong ? EXIT_DAMAGED : EXIT_INTACT;
}

static uint64_t parse_number(const char *s)
{
        char *end;
        uint64_t v = strtoull(s, &end, 10);

        if (*s < '0' || *s > '9' || *end != '\0') {
                fprintf(stderr, "holder: not a number: %s\n", s);
                exit(64);
        }
        return v;
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"size", required_argument, NULL, 's'},
                {"max", required_argument, NULL, 'm'},
                {"store", required_argument, NULL, 'S'},
                {"name", required_argument, NULL, 'n'},
                {"seconds", required_argument, NULL, 't'},
                {0},
        };
        struct pmb_pool_options wish = {.size = 64 * MIB, .name = "holder"};
        struct pmb_client *client;
        struct pmb_pool *pool;
        uint64_t seconds = 0;
        char why[256];
        int c, r;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                switch (c) {
                case 's':
                        wish.size = parse_number(optarg) * MIB;
                        break;
                case 'm':
                        wish.max_size = parse_number(optarg) * MIB;
                        break;
                case 'S':
                        wish.store = optarg;
                        break;
                case 'n':
                        wish.name = optarg;
                        break;
                case 't':
                        seconds = parse_number(optarg);
                        break;
                default:
                        return 64;
                }
        }
        (void)signal(SIGTERM, on_stop);
        (void)signal(SIGINT, on_stop);
        (void)signal(SIGBUS, on_sigbus);

        r = pmb_client_connect(NULL, 0, &client);
        if (r < 0) {
                fprintf(stderr, "holder: cannot connect to pmbrokerd: %s\n", strerror(-r));
                return EXIT_NO_POOL;
        }
        pmb_client_set_handler(client, on_event, NULL);
        r = pmb_pool_create(client, &wish, &pool);
        if (r < 0) {
                (void)pmb_client_explain(client, why, sizeof(why));
                fprintf(stderr, "holder: cannot create a pool: %s: %s\n", strerror(-r), why);
                pmb_client_unref(client);
                return EXIT_NO_POOL;
        }
        r = hold(pool, seconds);
        pmb_pool_close(pool);
        pmb_client_unref(client);
        return r;
}
