/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/parse.h"
#include "provisioner/node.h"

static int parse_meminfo(const char *text, NodeFigures *figures)
{
        FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
        int r;

        assert_non_null(f);
        r = node_parse_meminfo(f, figures);
        assert_int_equal(fclose(f), 0);
        return r;
}

static int parse_zoneinfo(const char *text, int node, NodeFigures *figures)
{
        FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
        int r;

        assert_non_null(f);
        r = node_parse_zoneinfo(f, node, figures);
        assert_int_equal(fclose(f), 0);
        return r;
}

static void test_meminfo(void **state)
{
        static const char text[] = "Node 1 MemTotal:         917504 kB\n"
                                   "Node 1 MemFree:          800000 kB\n"
                                   "Node 1 MemUsed:          117504 kB\n"
                                   "Node 1 Active(file):       3000 kB\n"
                                   "Node 1 Inactive(file):     5000 kB\n"
                                   "Node 1 Dirty:               700 kB\n"
                                   "Node 1 Writeback:           300 kB\n"
                                   "Node 1 Shmem:             65536 kB\n"
                                   "Node 1 WritebackTmp:        999 kB\n"
                                   "Node 1 HugePages_Total:     0\n";
        NodeFigures figures = {0};
        char part[sizeof(text)];

        (void)state;
        assert_int_equal(parse_meminfo(text, &figures), 0);
        assert_int_equal(figures.total, 917504 * KIB);
        assert_int_equal(figures.free, 800000 * KIB);
        assert_int_equal(figures.cache, 7000 * KIB);
        assert_int_equal(figures.shared, 64 * MIB);

        /* What is not all there is not believed. */
        strcpy(part, text);
        *strstr(part, "Node 1 Shmem") = '\0';
        assert_int_equal(parse_meminfo(part, &figures), -EBADMSG);
        assert_int_equal(parse_meminfo("x", &figures), -EBADMSG);
}

static void test_zoneinfo(void **state)
{
        static const char text[] = "Node 0, zone      DMA\n"
                                   "  per-node stats\n"
                                   "      nr_inactive_anon 7\n"
                                   "  pages free     3840\n"
                                   "        boost    0\n"
                                   "        min      67\n"
                                   "        low      83\n"
                                   "        high     99\n"
                                   "Node 0, zone   Normal\n"
                                   "        low      1000\n"
                                   "        high     2000\n"
                                   "Node 1, zone   Normal\n"
                                   "        low      1\n"
                                   "        high     2\n"
                                   "  pagesets\n"
                                   "    cpu: 0\n"
                                   "              count: 2\n"
                                   "              high:  42\n"
                                   "              batch: 14\n"
                                   "Node 1, zone  Movable\n"
                                   "        low      10\n"
                                   "        high     20\n"
                                   "Node 10, zone  Movable\n"
                                   "        low      500\n"
                                   "        high     600\n";
        const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        NodeFigures figures = {0};

        (void)state;
        assert_int_equal(parse_zoneinfo(text, 0, &figures), 0);
        assert_int_equal(figures.low, 1083 * page);
        assert_int_equal(figures.high, 2099 * page);
        assert_int_equal(parse_zoneinfo(text, 1, &figures), 0);
        assert_int_equal(figures.low, 11 * page);
        assert_int_equal(figures.high, 22 * page);
        assert_int_equal(parse_zoneinfo(text, 2, &figures), -ENODEV);
}

static void test_available(void **state)
{
        NodeFigures figures = {.free = 100 * MIB, .low = 8 * MIB, .high = 10 * MIB};

        (void)state;
        assert_int_equal(node_available(&figures), 90 * MIB);
        figures.cache = 6 * MIB; /* half of it is needed all the time */
        assert_int_equal(node_available(&figures), 93 * MIB);
        figures.cache = 50 * MIB;
        assert_int_equal(node_available(&figures), 132 * MIB);
        figures.free = figures.cache = 4 * MIB;
        assert_int_equal(node_available(&figures), 0);
        figures.free = 10 * MIB;
        figures.cache = 0;
        assert_int_equal(node_available(&figures), 0);
}

static void test_usable(void **state)
{
        const uint64_t block = 128 * MIB;

        (void)state;
        assert_int_equal(node_usable(GIB, GIB, block), GIB);
        assert_int_equal(node_usable(GIB + 2 * MIB, GIB - 2 * MIB, block), GIB - block);
        assert_int_equal(node_usable(GIB, block - 1, block), 0);
        assert_int_equal(node_usable(GIB, block, block), block);
        assert_int_equal(node_usable(GIB + 1, 2 * block - 2, block), 0);
        assert_int_equal(node_usable(GIB + 1, 2 * block - 1, block), block);
        assert_int_equal(node_usable(GIB + 1, 1, block), 0);
}

/* Of this machine, whatever that is. */
static void test_node_0(void **state)
{
        uint64_t inside = 0, outside = 0;
        NodeFigures figures;
        int r = node_get_figures(0, &figures);

        (void)state;
        if (r == -ENODEV) /* a kernel without NUMA */
                skip();
        assert_int_equal(r, 0);
        assert_true(figures.total > 0 && figures.free <= figures.total && figures.low <= figures.high);
        assert_int_equal(node_get_figures(1000000, &figures), -ENODEV);
        r = node_get_memory(1000000, 0, GIB, &inside, &outside);
        if (r == -EOPNOTSUPP) /* without memory hotplug */
                skip();
        assert_int_equal(r, 0);
        assert_int_equal(inside + outside, 0);
        assert_int_equal(node_get_memory(0, 0, UINT64_MAX, &inside, &outside), 0);
        assert_true(inside >= figures.total / 2 && outside == 0);
        assert_int_equal(node_get_memory(0, 0, 0, &inside, &outside), 0);
        assert_true(inside == 0 && outside >= figures.total / 2);
}

/* Of the machine that the test runs on, whatever it has. */
static void blocks_of_a_node(void **state)
{
        uint64_t block = 0, all = 0, inside = 0, outside = 0;
        int r = node_get_block_size(&block);

        (void)state;
        if (r == -EOPNOTSUPP) { /* a kernel that cannot add memory while it runs */
                assert_int_equal(node_get_memory(0, 0, 0, &inside, &outside), -EOPNOTSUPP);
                return;
        }
        assert_int_equal(r, 0);
        assert_true(block > 0 && (block & (block - 1)) == 0);
        assert_int_equal(node_get_memory(0, 0, UINT64_MAX, &all, &outside), 0);
        assert_true(all % block == 0 && all < UINT64_C(1) << 52);
        assert_int_equal(outside, 0);
        assert_int_equal(node_get_memory(0, 0, 0, &inside, &outside), 0);
        assert_int_equal(inside, 0);
        assert_int_equal(outside, all);
        assert_int_equal(node_get_memory(0, 0, block, &inside, &outside), 0);
        assert_true(inside <= block);
        assert_int_equal(inside + outside, all);
        assert_int_equal(node_get_memory(1 << 20, 0, UINT64_MAX, &inside, &outside), 0); /* no such node */
        assert_int_equal(inside + outside, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_meminfo),
                cmocka_unit_test(test_zoneinfo),
                cmocka_unit_test(test_available),
                cmocka_unit_test(test_usable),
                cmocka_unit_test(test_node_0),
                cmocka_unit_test(blocks_of_a_node),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
