/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One allocator in one process, which does as it is told (by bench.py) and tells how long it took:
 *
 *     worker [--place DIR] [--heaps N] [--size MiB]
 *
 * A line in, a line out; "failed N" when N allocations failed.
 *
 *     time PATTERN SIZE THREADS HEAPS SIZED   ->  ns TIME       per allocation; one thread's part of it, or, of producer
 *                                                               and consumer, both
 *     fill WHAT MiB                           ->  bytes FIRST ALL                                        (see fill.h)
 *     trim MiB                                ->  trim BYTES REQUESTS USEC                               (see trim.h)
 */

#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocator.h"
#include "fill.h"
#include "pattern.h"
#include "trim.h"

#define MIB         (UINT64_C(1) << 20)
#define HEAPS_MAX   16
#define THREADS_MAX 2

static const char *arg_place;
static unsigned arg_heaps = 1;
static uint64_t arg_size = 512 * MIB;

/* -------------------------------------------------------------------------------------------------------- time */

/* The second thread stays, and its caches with it. */
typedef struct Team {
        pthread_barrier_t begin, end;
        Pattern pattern[THREADS_MAX];
        double ns[THREADS_MAX];
        size_t failed[THREADS_MAX];
        bool two;
} Team;

static void *team_member(void *userdata)
{
        Team *team = userdata;

        for (;;) {
                (void)pthread_barrier_wait(&team->begin);
                team->ns[1] = pattern_run(&team->pattern[1], &team->failed[1]);
                (void)pthread_barrier_wait(&team->end);
        }
        return NULL;
}

static void team_start(Team *team)
{
        pthread_t thread;

        (void)pthread_barrier_init(&team->begin, NULL, 2);
        (void)pthread_barrier_init(&team->end, NULL, 2);
        if (pthread_create(&thread, NULL, team_member, team) != 0)
                die("pthread_create", "no thread");
        (void)pthread_detach(thread);
        team->two = true;
}

static void run_time(Team *team, Pattern pattern)
{
        size_t failed;
        double ns;

        pattern_prepare(&pattern);
        if (pattern.n_threads == 1) {
                ns = pattern_run(&pattern, &failed);
        } else {
                if (!team->two)
                        team_start(team);
                for (unsigned i = 0; i < THREADS_MAX; i++) {
                        team->pattern[i] = pattern;
                        team->pattern[i].thread = i;
                }
                (void)pthread_barrier_wait(&team->begin);
                team->ns[0] = pattern_run(&team->pattern[0], &team->failed[0]);
                (void)pthread_barrier_wait(&team->end);
                ns = team->ns[0] + team->ns[1];
                if (pattern.kind != PATTERN_PRODCONS)
                        ns /= 2;
                failed = team->failed[0] + team->failed[1];
        }
        if (failed > 0)
                printf("failed %zu\n", failed);
        else
                printf("ns %.3f\n", ns);
}

static void do_time(Team *team, Heap *heaps, char *args)
{
        char kind[16], size[16];
        unsigned sized;
        Pattern p = {.heaps = heaps};

        if (sscanf(args, "%15s %15s %u %u %u", kind, size, &p.n_threads, &p.n_heaps, &sized) != 5)
                die("time", args);
        p.kind = pattern_from_string(kind);
        p.size = size_from_string(size);
        p.sized = sized != 0;
        if (p.kind == N_PATTERNS || p.size == N_SIZES || p.n_threads < 1 || p.n_threads > THREADS_MAX ||
                p.n_heaps < 1 || p.n_heaps > arg_heaps || (p.n_heaps & (p.n_heaps - 1)))
                die("time", args);
        run_time(team, p);
}

/* ------------------------------------------------------------------------------------------------------- others */

static void do_fill(char *args)
{
        char what[16];
        uint64_t mib;
        Filled filled;
        FillKind kind;
        Heap heap;

        if (sscanf(args, "%15s %" SCNu64, what, &mib) != 2)
                die("fill", args);
        kind = fill_from_string(what);
        if (kind == N_FILLS)
                die("fill", args);
        heap = heap_open(arg_place, mib * MIB, /* roomy= */ false);
        filled = fill_run(kind, heap, mib * MIB);
        heap_close(heap);
        printf("bytes %" PRIu64 " %" PRIu64 "\n", filled.first, filled.all);
}

static void do_trim(char *args)
{
        uint64_t mib = strtoull(args, NULL, 10);
        Heap heap = heap_open(arg_place, 2 * mib * MIB, /* roomy= */ true);
        Trimmed trimmed = trim_run(heap, mib * MIB);

        heap_close(heap);
        printf("trim %" PRIu64 " %" PRIu64 " %.1f\n", trimmed.bytes, trimmed.requests, trimmed.usec);
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"place", required_argument, NULL, 'p'},
                {"heaps", required_argument, NULL, 'n'},
                {"size", required_argument, NULL, 's'},
                {0},
        };
        static Heap heaps[HEAPS_MAX];
        static Team team;
        char line[128], *args;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                switch (c) {
                case 'p':
                        arg_place = optarg;
                        break;
                case 'n':
                        arg_heaps = (unsigned)strtoul(optarg, NULL, 10);
                        break;
                case 's':
                        arg_size = strtoull(optarg, NULL, 10) * MIB;
                        break;
                default:
                        return 64;
                }
        }
        if (arg_heaps > HEAPS_MAX)
                die("--heaps", "too many");
        for (unsigned i = 0; i < arg_heaps; i++)
                heaps[i] = heap_open(arg_place, arg_size, /* roomy= */ true);

        while (fgets(line, sizeof(line), stdin)) {
                line[strcspn(line, "\n")] = '\0';
                args = strchr(line, ' ');
                if (!args)
                        die("what?", line);
                *args++ = '\0';
                if (strcmp(line, "time") == 0)
                        do_time(&team, heaps, args);
                else if (strcmp(line, "fill") == 0)
                        do_fill(args);
                else if (strcmp(line, "trim") == 0)
                        do_trim(args);
                else
                        die("what?", line);
                (void)fflush(stdout);
        }
        /* The second thread is waiting, and the memory goes with the process. */
        exit(EXIT_SUCCESS);
}
