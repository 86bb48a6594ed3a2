/* SPDX-License-Identifier: BSD-3-Clause */
/* jemalloc on units: what its settings are, that extents come and go, and that zero means zero. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "client/arena.h"

typedef struct Memory {
        Arena arena;
        uint8_t *base;
        uint64_t size;
} Memory;

static void memory_new(Memory *m, uint64_t size)
{
        uint8_t *p = mmap(NULL, size + UNIT_SIZE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        assert_ptr_not_equal(p, MAP_FAILED);
        m->base = p + (-(uintptr_t)p & (UNIT_SIZE - 1));
        m->size = size;
        assert_int_equal(arena_init(&m->arena, m->base, size, false), 0);
        assert_int_equal(arena_open(&m->arena), 0);
        units_sync(&m->arena.units, size, size);
}

static void memory_free(Memory *m)
{
        arena_deinit(&m->arena);
        (void)munmap(m->base, m->size);
}

/* Any size, back by its class. */
static void put(Memory *m, void *p)
{
        unsigned class = pagemap_get(m->arena.map, (uint64_t)((uint8_t *)p - m->base));

        if (class == CLASS_HUGE)
                assert_true(arena_put_huge(&m->arena, p));
        else
                arena_put(&m->arena, class, &p, 1);
}

static uint64_t count_out(Memory *m)
{
        uint64_t n[N_CLASSES], sum = 0;

        arena_count(&m->arena, n);
        for (unsigned k = 0; k < N_CLASSES; k++)
                sum += n[k];
        return sum;
}

static void test_extents_come_back(void **state)
{
        void *blocks[64];
        Memory m;

        (void)state;
        memory_new(&m, 32 * MIB);
        for (int i = 0; i < 64; i++) {
                blocks[i] = arena_take_one(&m.arena, 100 * KIB + (size_t)i * 4096, 0);
                assert_non_null(blocks[i]);
                assert_true((uint8_t *)blocks[i] >= m.base && (uint8_t *)blocks[i] < m.base + m.size);
        }
        assert_true(m.arena.units.free.total < 26 * MIB);
        assert_int_equal(count_out(&m), 64);
        for (int i = 0; i < 64; i++)
                put(&m, blocks[i]);
        assert_int_equal(count_out(&m), 0);
        arena_purge(&m.arena);

        /* All of it, in one piece: no metadata, nothing retained. */
        assert_int_equal(m.arena.units.free.total, 32 * MIB);
        assert_int_equal(m.arena.units.free.n, 1);
        memory_free(&m);
}

/* Every class in batches: sizes, places, marks, figures. */
static void test_batches(void **state)
{
        Memory m;

        (void)state;
        memory_new(&m, 64 * MIB);
        for (unsigned k = CLASS_FIRST; k <= CLASS_LAST; k++) {
                void *blocks[256];
                uint64_t n_out[N_CLASSES];
                unsigned n = 0, more;

                while (n < 256 && n * class_sizes[k] < 32 * MIB) {
                        more = arena_take(&m.arena, k, blocks + n, 1 + n % 7);
                        assert_in_range(more, 1, 1 + n % 7);
                        n += more;
                        if (n + 8 > 256)
                                break;
                }
                arena_count(&m.arena, n_out);
                assert_int_equal(n_out[k], n);
                for (unsigned i = 0; i < n; i++) {
                        uint64_t offset = (uint64_t)((uint8_t *)blocks[i] - m.base);

                        assert_true(offset + class_sizes[k] <= m.size);
                        assert_int_equal(pagemap_get(m.arena.map, offset), k);
                        assert_int_equal(pmbj_sallocx(blocks[i], 0), class_sizes[k]);
                        memset(blocks[i], (int)i, class_sizes[k]);
                }
                for (unsigned i = 0; i < n; i++)
                        assert_int_equal(*(uint8_t *)blocks[i], i % 256);
                arena_put(&m.arena, k, blocks, n);
                arena_purge(&m.arena);
        }
        assert_int_equal(m.arena.units.free.total, 64 * MIB);
        for (uint64_t offset = 0; offset < m.size; offset += 4096)
                assert_int_equal(pagemap_get(m.arena.map, offset), CLASS_NONE);
        memory_free(&m);
}

static void test_resize_in_place(void **state)
{
        Memory m;
        void *p, *q;

        (void)state;
        memory_new(&m, 32 * MIB);
        p = arena_take_one(&m.arena, 64 * KIB, 0);
        assert_non_null(p);
        assert_true(arena_resize(&m.arena, p, MIB));
        assert_int_equal(pagemap_get(m.arena.map, 0), sizeclass_of(MIB));
        assert_true(arena_resize(&m.arena, p, 16 * MIB));
        assert_int_equal(pagemap_get(m.arena.map, 0), CLASS_HUGE);
        assert_int_equal(arena_size_huge(&m.arena, p), 16 * MIB);
        assert_false(arena_resize(&m.arena, p, 64 * MIB));
        assert_int_equal(arena_size_huge(&m.arena, p), 16 * MIB);
        assert_true(arena_resize(&m.arena, p, 20 * KIB));
        assert_int_equal(pagemap_get(m.arena.map, 0), sizeclass_of(20 * KIB));
        q = arena_take_one(&m.arena, 16 * KIB, 0);
        assert_ptr_equal(q, (uint8_t *)p + 20 * KIB);
        assert_false(arena_resize(&m.arena, p, 24 * KIB));
        assert_int_equal(count_out(&m), 2);
        put(&m, p);
        put(&m, q);
        assert_int_equal(count_out(&m), 0);
        memory_free(&m);
}

/* A block of whole pages leaves no mark but its own, and a huge one is put back once. */
static void test_marks(void **state)
{
        Memory m;
        void *p;

        (void)state;
        memory_new(&m, 32 * MIB);
        for (int i = 0; i < 1000; i++)
                assert_non_null(arena_take_one(&m.arena, 4096, 0));
        memory_free(&m);

        memory_new(&m, 32 * MIB);
        for (uint64_t offset = 0; offset < m.size; offset += 4096)
                pagemap_set(m.arena.map, offset, CLASS_FIRST);
        p = arena_take_one(&m.arena, 32 * MIB, 0);
        assert_ptr_equal(p, m.base);
        for (uint64_t offset = 4096; offset < m.size; offset += 4096)
                assert_int_equal(pagemap_get(m.arena.map, offset), CLASS_NONE);
        assert_int_equal(arena_size_huge(&m.arena, m.base + 4096), 0);
        assert_true(arena_put_huge(&m.arena, p));
        assert_false(arena_put_huge(&m.arena, p));
        memory_free(&m);
}

static void test_take_lower(void **state)
{
        void *low, *high, *p;
        Memory m;

        (void)state;
        memory_new(&m, 32 * MIB);
        low = arena_take_one(&m.arena, MIB, 0);
        high = arena_take_one(&m.arena, MIB, 0);
        assert_true(low < high);
        assert_null(arena_take_lower(&m.arena, high, MIB));
        put(&m, low);
        arena_purge(&m.arena);
        p = arena_take_lower(&m.arena, high, MIB);
        assert_ptr_equal(p, low);
        assert_null(arena_take_lower(&m.arena, p, MIB));
        assert_int_equal(count_out(&m), 2);
        memory_free(&m);
}

/* Memory that was used, freed and purged comes from the hook again, dirty. */
static void test_zero_is_zero(void **state)
{
        static const size_t sizes[] = {8, 100, 4096, 14336, 16384, 64 << 10, 1 << 20, 5 << 20};
        Memory m;

        (void)state;
        memory_new(&m, 32 * MIB);
        for (unsigned round = 0; round < 6; round++) {
                void *all = arena_take_one(&m.arena, 28 * MIB, 0);

                assert_non_null(all);
                memset(all, 0xff, 28 * MIB);
                put(&m, all);
                if (round % 2)
                        arena_purge(&m.arena);
                for (unsigned i = 0; i < ELEMENTSOF(sizes); i++) {
                        uint8_t *p = arena_take_one(&m.arena, sizes[i], MALLOCX_ZERO);
                        uint8_t *q = arena_take_one(&m.arena, sizes[i], MALLOCX_ZERO | MALLOCX_ALIGN(65536));

                        assert_non_null(p);
                        assert_non_null(q);
                        for (size_t k = 0; k < sizes[i]; k++)
                                if (p[k] || q[k])
                                        fail_msg("byte %zu of %zu is not zero", k, sizes[i]);
                        memset(p, 0xff, sizes[i]);
                        memset(q, 0xff, sizes[i]);
                        put(&m, p);
                        put(&m, q);
                }
                arena_purge(&m.arena);
        }
        memory_free(&m);
}

static void test_two_arenas_do_not_mix(void **state)
{
        Memory a, b;

        (void)state;
        memory_new(&a, 16 * MIB);
        memory_new(&b, 16 * MIB);
        for (int i = 0; i < 10000; i++) {
                size_t size = (size_t)(i % 300) * 16 + 8;
                uint8_t *p = arena_take_one(&a.arena, size, 0), *q = arena_take_one(&b.arena, size, 0);

                assert_true(p >= a.base && p < a.base + a.size);
                assert_true(q >= b.base && q < b.base + b.size);
                put(&a, p);
                put(&b, q);
        }
        memory_free(&a);
        memory_free(&b);
}

/* Arenas come and go with whatever is in them; their numbers are used again. */
static void test_many_arenas_in_turn(void **state)
{
        (void)state;
        for (int i = 0; i < 6000; i++) {
                Memory m;

                memory_new(&m, 4 * MIB);
                for (int k = 0; k < 20; k++)
                        assert_non_null(arena_take_one(&m.arena, (size_t)k * 1000 + 1, 0));
                memory_free(&m);
        }
}

/* ---------------------------------------------------------------------------------------------- settings */

static bool get_bool(const char *name)
{
        size_t size = sizeof(bool);
        bool value;

        assert_int_equal(pmbj_mallctl(name, &value, &size, NULL, 0), 0);
        return value;
}

static ssize_t get_ssize(const char *name)
{
        size_t size = sizeof(ssize_t);
        ssize_t value;

        assert_int_equal(pmbj_mallctl(name, &value, &size, NULL, 0), 0);
        return value;
}

static void test_settings(void **state)
{
        size_t size = sizeof(unsigned);
        unsigned n;

        (void)state;
        assert_int_equal(pmbj_mallctl("opt.narenas", &n, &size, NULL, 0), 0);
        assert_int_equal(n, 1);
        assert_false(get_bool("config.cache_oblivious"));
        assert_false(get_bool("opt.cache_oblivious"));
        assert_false(get_bool("config.fill"));
        assert_false(get_bool("config.prof"));
        assert_false(get_bool("opt.retain"));
        assert_false(get_bool("opt.tcache"));
        assert_false(get_bool("opt.hpa"));
        assert_false(get_bool("config.xmalloc"));
        assert_false(get_bool("opt.stats_print"));
        assert_false(get_bool("opt.background_thread"));
        assert_int_equal(get_ssize("opt.oversize_threshold"), 0);
        assert_int_equal(get_ssize("opt.dirty_decay_ms"), -1);
        assert_int_equal(get_ssize("opt.muzzy_decay_ms"), 0);
}

/*
 * What is meant for the application's allocator, or for ours by its prefix, changes nothing and says
 * nothing.
 */
static void test_environment_is_ignored(void **state)
{
        static const char *const names[] = {"MALLOC_CONF", "PMBJ_MALLOC_CONF", "pmbj_MALLOC_CONF"};

        (void)state;
        for (unsigned i = 0; i < ELEMENTSOF(names); i++) {
                char buf[1024] = "";
                pid_t pid;
                int status, fds[2];

                assert_int_equal(setenv(names[i],
                                         "narenas:3,retain:true,tcache:true,dirty_decay_ms:55,xmalloc:true,"
                                         "stats_print:true,nonsense:1,abort_conf:true,confirm_conf:true",
                                         1),
                        0);
                assert_int_equal(pipe(fds), 0);
                pid = fork();
                assert_true(pid >= 0);
                if (pid == 0) {
                        (void)dup2(fds[1], 2);
                        (void)close(fds[0]);
                        (void)execl("/proc/self/exe", "test-arena", "settings", (char *)NULL);
                        _exit(127);
                }
                (void)close(fds[1]);
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(read(fds[0], buf, sizeof(buf) - 1) >= 0);
                (void)close(fds[0]);
                assert_null(strstr(buf, "jemalloc"));
                assert_int_equal(status, 0);
                assert_int_equal(unsetenv(names[i]), 0);
        }
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_settings),
                cmocka_unit_test(test_environment_is_ignored),
                cmocka_unit_test(test_extents_come_back),
                cmocka_unit_test(test_batches),
                cmocka_unit_test(test_resize_in_place),
                cmocka_unit_test(test_marks),
                cmocka_unit_test(test_take_lower),
                cmocka_unit_test(test_zero_is_zero),
                cmocka_unit_test(test_two_arenas_do_not_mix),
                cmocka_unit_test(test_many_arenas_in_turn),
        };
        const struct CMUnitTest settings[] = {cmocka_unit_test(test_settings)};

        if (argc > 1 && strcmp(argv[1], "settings") == 0) {
                /* What cmocka prints is not what this is about. */
                if (!freopen("/dev/null", "w", stdout))
                        return 1;
                return cmocka_run_group_tests(settings, NULL, NULL);
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
