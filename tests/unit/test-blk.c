/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "provisioner/blk.h"

#define SIZE (UINT64_C(5) << 20)

static int new_file(void)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)SIZE), 0);
        return fd;
}

static void write_at(int fd, const void *bytes, size_t n, off_t at)
{
        assert_int_equal(pwrite(fd, bytes, n, at), (ssize_t)n);
}

static void expect(int fd, BlkContent content, const char *description)
{
        BlkProbe probe;
        char text[256];

        assert_int_equal(blk_probe(fd, &probe), 0);
        blk_describe(&probe, text, sizeof(text));
        assert_string_equal(text, description);
        assert_int_equal(probe.content, content);
}

static void test_nothing(void **state)
{
        _cleanup_close_ int fd = new_file();

        (void)state;
        expect(fd, BLK_NOTHING, "nothing");
        write_at(fd, "just bytes", 10, 4096);
        expect(fd, BLK_NOTHING, "nothing");
}

static void test_partition_table(void **state)
{
        static const unsigned char entry[16] = {0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0};
        _cleanup_close_ int fd = new_file();

        (void)state;
        write_at(fd, entry, sizeof(entry), 446);
        write_at(fd, "\x55\xaa", 2, 510);
        expect(fd, BLK_SIGNATURE, "dos partition table");
}

static void test_swap_with_a_strange_label(void **state)
{
        static const unsigned char header[] = {1, 0, 0, 0, 0xff, 4, 0, 0};
        _cleanup_close_ int fd = new_file();

        (void)state;
        write_at(fd, header, sizeof(header), 1024);
        write_at(fd, "a\x1b[2J", 5, 1024 + 28);
        write_at(fd, "SWAPSPACE2", 10, 4086);
        expect(fd, BLK_SIGNATURE, "swap \"a?[2J\"");
}

static unsigned n_progress;

static void on_progress(uint64_t done, uint64_t all, void *userdata)
{
        n_progress++;
        assert_ptr_equal(userdata, &n_progress);
        assert_int_equal(all, 4 << 20);
        assert_int_equal(done, (uint64_t)n_progress * (2 << 20));
}

static void test_zero(void **state)
{
        _cleanup_close_ int fd = new_file();
        unsigned char bytes[4];

        (void)state;
        write_at(fd, "abcd", 4, 4094);
        write_at(fd, "abcd", 4, 4096 + (4 << 20) - 2);
        assert_int_equal(blk_zero(fd, 4096, 4 << 20, on_progress, &n_progress), 0);
        assert_int_equal(n_progress, 2);
        assert_int_equal(pread(fd, bytes, 4, 4094), 4);
        assert_memory_equal(bytes, "ab\0\0", 4);
        assert_int_equal(pread(fd, bytes, 4, 4096 + (4 << 20) - 2), 4);
        assert_memory_equal(bytes, "\0\0cd", 4);
}

static void test_open(void **state)
{
        (void)state;
        assert_int_equal(blk_open("", false), -ENODEV);
        assert_int_equal(blk_open(NULL, true), -ENODEV);
        assert_int_equal(blk_open("null", false), -ENOTBLK);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nothing),
                cmocka_unit_test(test_partition_table),
                cmocka_unit_test(test_swap_with_a_strange_label),
                cmocka_unit_test(test_zero),
                cmocka_unit_test(test_open),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
