/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long a pool takes to come and to go, beside memkind's pmem kind on the same sort of mount.
 *
 *     lifecycle --memkind-dir DIR [--rounds N] [--size MiB] [--json FILE]
 *
 * Three contenders take turns, one pool each per round, so that whatever the machine does meanwhile hits all of them;
 * what the first rounds show is discarded. A pool is there when the first 64 bytes of it have been written.
 *
 *   connect   pmb_client_connect(), pmb_pool_create(), pmb_malloc(64) and writing to it; pmb_pool_close(), unref
 *   create    the same on a connection that is there already
 *   memkind   memkind_create_pmem(), memkind_malloc(64) and writing to it; memkind_destroy_kind()
 *
 * Pools per second are counted apart, in runs of one contender after the other: what a daemon does after it has
 * answered falls into the next pool's time there.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <memkind.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <pmbroker.h>

#define MIB (UINT64_C(1) << 20)

#define DISCARDED   10 /* rounds at the beginning */
#define RUNS        5  /* of each contender, for pools per second; the first is discarded */
#define RUN_POOLS   100
#define BLOCK       64
#define NSEC_IN_SEC UINT64_C(1000000000)

static size_t arg_size = 32 * MIB;
static size_t arg_rounds = 500;
static const char *arg_memkind_dir;
static const char *arg_json;

/* What each function here times: from nothing to the first bytes written, and back to nothing. */
typedef struct Cycle {
        uint64_t create_nsec;
        uint64_t release_nsec;
} Cycle;

typedef struct Contender {
        const char *name;
        Cycle (*cycle)(void);
        uint64_t *create;
        uint64_t *release;
        double pools_per_sec;
} Contender;

static struct pmb_client *client; /* of the contender that has a connection already */

static uint64_t now_nsec(void)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * NSEC_IN_SEC + (uint64_t)ts.tv_nsec;
}

static _Noreturn void die(const char *what, const char *why)
{
        fprintf(stderr, "lifecycle: %s: %s\n", what, why);
        exit(EXIT_FAILURE);
}

/* ------------------------------------------------------------------------------------------------------ contenders */

static struct pmb_pool *make_pool(struct pmb_client *c)
{
        struct pmb_pool *pool;
        char why[256];
        void *block;
        int r;

        r = pmb_pool_create(c, &(struct pmb_pool_options){.size = arg_size, .name = "lifecycle"}, &pool);
        if (r < 0) {
                (void)pmb_client_explain(c, why, sizeof(why));
                die("pmb_pool_create", why[0] ? why : strerror(-r));
        }
        block = pmb_malloc(pool, BLOCK);
        if (!block)
                die("pmb_malloc", strerror(errno));
        memset(block, 1, BLOCK);
        return pool;
}

static Cycle cycle_connect(void)
{
        uint64_t begin = now_nsec(), made, end;
        struct pmb_client *c;
        struct pmb_pool *pool;
        int r;

        r = pmb_client_connect(NULL, 0, &c);
        if (r < 0)
                die("pmb_client_connect", strerror(-r));
        pool = make_pool(c);
        made = now_nsec();
        pmb_pool_close(pool);
        pmb_client_unref(c);
        end = now_nsec();
        return (Cycle){made - begin, end - made};
}

static Cycle cycle_create(void)
{
        uint64_t begin = now_nsec(), made, end;
        struct pmb_pool *pool = make_pool(client);

        made = now_nsec();
        pmb_pool_close(pool);
        end = now_nsec();
        return (Cycle){made - begin, end - made};
}

static Cycle cycle_memkind(void)
{
        uint64_t begin = now_nsec(), made, end;
        memkind_t kind;
        void *block;
        int r;

        r = memkind_create_pmem(arg_memkind_dir, arg_size, &kind);
        if (r != MEMKIND_SUCCESS)
                die("memkind_create_pmem", "see memkind(3)");
        block = memkind_malloc(kind, BLOCK);
        if (!block)
                die("memkind_malloc", strerror(errno));
        memset(block, 1, BLOCK);
        made = now_nsec();
        r = memkind_destroy_kind(kind);
        if (r != MEMKIND_SUCCESS)
                die("memkind_destroy_kind", "see memkind(3)");
        end = now_nsec();
        return (Cycle){made - begin, end - made};
}

static Contender contenders[] = {
        {.name = "connect", .cycle = cycle_connect},
        {.name = "create", .cycle = cycle_create},
        {.name = "memkind", .cycle = cycle_memkind},
};

#define N_CONTENDERS (sizeof(contenders) / sizeof(contenders[0]))
#define MEMKIND      (N_CONTENDERS - 1)

/* ------------------------------------------------------------------------------------------------------- measuring */

static int compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

static void measure_latency(void)
{
        for (size_t i = 0; i < N_CONTENDERS; i++) {
                contenders[i].create = calloc(arg_rounds, sizeof(uint64_t));
                contenders[i].release = calloc(arg_rounds, sizeof(uint64_t));
                if (!contenders[i].create || !contenders[i].release)
                        die("calloc", strerror(errno));
        }
        for (size_t round = 0; round < DISCARDED + arg_rounds; round++)
                for (size_t i = 0; i < N_CONTENDERS; i++) {
                        Contender *c = &contenders[(i + round) % N_CONTENDERS];
                        Cycle cycle = c->cycle();

                        if (round < DISCARDED)
                                continue;
                        c->create[round - DISCARDED] = cycle.create_nsec;
                        c->release[round - DISCARDED] = cycle.release_nsec;
                }
        for (size_t i = 0; i < N_CONTENDERS; i++) {
                qsort(contenders[i].create, arg_rounds, sizeof(uint64_t), compare);
                qsort(contenders[i].release, arg_rounds, sizeof(uint64_t), compare);
        }
}

static void measure_rate(void)
{
        uint64_t spent[N_CONTENDERS] = {0};

        for (size_t run = 0; run < RUNS; run++)
                for (size_t i = 0; i < N_CONTENDERS; i++) {
                        uint64_t begin = now_nsec();

                        for (size_t n = 0; n < RUN_POOLS; n++)
                                (void)contenders[i].cycle();
                        if (run > 0)
                                spent[i] += now_nsec() - begin;
                }
        for (size_t i = 0; i < N_CONTENDERS; i++)
                contenders[i].pools_per_sec =
                        (double)((RUNS - 1) * RUN_POOLS) * (double)NSEC_IN_SEC / (double)spent[i];
}

/* --------------------------------------------------------------------------------------------------------- reporting */

static double usec_at(const uint64_t *sorted, unsigned percent)
{
        return (double)sorted[(arg_rounds - 1) * percent / 100] / 1000;
}

static void print_table(void)
{
        const Contender *m = &contenders[MEMKIND];

        printf("%-9s %30s %30s %18s\n", "", "create, us (x memkind)", "release, us (x memkind)", "pools/s");
        printf("%-9s %14s %15s %14s %15s\n", "", "p50", "p99", "p50", "p99");
        for (size_t i = 0; i < N_CONTENDERS; i++) {
                const Contender *c = &contenders[i];

                printf("%-9s %7.1f (%4.2f) %8.1f (%4.2f) %7.1f (%4.2f) %8.1f (%4.2f) %8.0f (x %4.2f)\n",
                        c->name, usec_at(c->create, 50), usec_at(c->create, 50) / usec_at(m->create, 50),
                        usec_at(c->create, 99), usec_at(c->create, 99) / usec_at(m->create, 99),
                        usec_at(c->release, 50), usec_at(c->release, 50) / usec_at(m->release, 50),
                        usec_at(c->release, 99), usec_at(c->release, 99) / usec_at(m->release, 99),
                        c->pools_per_sec, c->pools_per_sec / m->pools_per_sec);
        }
}

static int write_json(const char *path)
{
        const Contender *m = &contenders[MEMKIND];
        struct utsname un;
        FILE *f = fopen(path, "we");

        if (!f || uname(&un) < 0)
                return -errno;
        fprintf(f,
                "{\n  \"bench\": \"lifecycle\",\n  \"version\": \"%s\",\n  \"kernel\": \"%s\",\n  \"cpus\": "
                "%ld,\n"
                "  \"size\": %zu,\n  \"rounds\": %zu,\n  \"contenders\": [\n",
                pmb_version(), un.release, sysconf(_SC_NPROCESSORS_ONLN), arg_size, arg_rounds);
        for (size_t i = 0; i < N_CONTENDERS; i++) {
                const Contender *c = &contenders[i];

                fprintf(f,
                        "    {\"name\": \"%s\", \"create_p50_us\": %.1f, \"create_p99_us\": %.1f, "
                        "\"release_p50_us\": %.1f, \"release_p99_us\": %.1f, \"pools_per_sec\": %.0f, "
                        "\"create_p50_ratio\": %.3f, \"release_p50_ratio\": %.3f, \"rate_ratio\": %.3f}%s\n",
                        c->name, usec_at(c->create, 50), usec_at(c->create, 99), usec_at(c->release, 50),
                        usec_at(c->release, 99), c->pools_per_sec,
                        usec_at(c->create, 50) / usec_at(m->create, 50),
                        usec_at(c->release, 50) / usec_at(m->release, 50),
                        c->pools_per_sec / m->pools_per_sec, i + 1 < N_CONTENDERS ? "," : "");
        }
        fprintf(f, "  ]\n}\n");
        return fclose(f) == 0 ? 0 : -errno;
}

static size_t parse_number(const char *s)
{
        char *end;
        size_t v = strtoull(s, &end, 10);

        if (*s < '1' || *s > '9' || *end != '\0')
                die("not a number", s);
        return v;
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"memkind-dir", required_argument, NULL, 'd'},
                {"rounds", required_argument, NULL, 'r'},
                {"size", required_argument, NULL, 's'},
                {"json", required_argument, NULL, 'j'},
                {0},
        };
        int c, r;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                switch (c) {
                case 'd':
                        arg_memkind_dir = optarg;
                        break;
                case 'r':
                        arg_rounds = parse_number(optarg);
                        break;
                case 's':
                        arg_size = parse_number(optarg) * MIB;
                        break;
                case 'j':
                        arg_json = optarg;
                        break;
                default:
                        return 64;
                }
        }
        if (!arg_memkind_dir) {
                fprintf(stderr, "lifecycle: --memkind-dir is missing\n");
                return 64;
        }
        if (arg_size < MEMKIND_PMEM_MIN_SIZE)
                die("--size", "memkind wants at least 16 MiB");

        r = pmb_client_connect(NULL, 0, &client);
        if (r < 0)
                die("pmb_client_connect", strerror(-r));
        measure_latency();
        measure_rate();
        pmb_client_unref(client);

        print_table();
        if (arg_json) {
                r = write_json(arg_json);
                if (r < 0)
                        die(arg_json, strerror(-r));
        }
        for (size_t i = 0; i < N_CONTENDERS; i++) {
                free(contenders[i].create);
                free(contenders[i].release);
        }
        return EXIT_SUCCESS;
}
