/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of bad blocks. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "provisioner/media.h"

static void assert_ranges(const Media *m, uint32_t n, const JobRange *wanted, uint64_t bytes)
{
        assert_int_equal(m->n, n);
        for (uint32_t i = 0; i < n; i++) {
                assert_int_equal(m->ranges[i].first, wanted[i].first);
                assert_int_equal(m->ranges[i].count, wanted[i].count);
        }
        assert_int_equal(m->bytes, bytes);
}

static void test_lists(void **state)
{
        Media m = {.n = 77};

        (void)state;
        assert_int_equal(media_parse("", &m), 0);
        assert_ranges(&m, 0, NULL, 0);
        assert_int_equal(media_parse("8 8\n", &m), 0);
        assert_ranges(&m, 1, (JobRange[]){{1, 1}}, 4096);
        /* Parts of blocks are blocks; those side by side are one range. */
        assert_int_equal(media_parse("0 1\n7 1\n15 2\n40 16\n", &m), 0);
        assert_ranges(&m, 2, (JobRange[]){{0, 3}, {5, 2}}, 5 * 4096);
        assert_int_equal(media_parse("34359738344 8\n", &m), 0); /* the last that has a number */
        assert_ranges(&m, 1, (JobRange[]){{4294967293, 1}}, 4096);
}

static void test_what_is_no_list(void **state)
{
        static const char *const wrong[] = {"x", "8", "8\n", "8 \n", "-8 8\n", "8 8", "8 0\n", "8 8 8\n",
                "8 8\n\nx\n", "18446744073709551615 1\n", "18446744073709551616 1\n", "34359738352 8\n"};
        Media m = {.n = 77};

        (void)state;
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
                if (media_parse(wrong[i], &m) != -EBADMSG)
                        fail_msg("\"%s\" was taken for a list", wrong[i]);
                assert_int_equal(m.n, 77);
        }
}

static void test_more_than_there_is_room_for(void **state)
{
        char text[MEDIA_TEXT_MAX] = "";
        size_t used = 0;
        Media m;

        (void)state;
        for (unsigned i = 0; i < MEDIA_RANGES_MAX + 10; i++)
                used += (size_t)snprintf(text + used, sizeof(text) - used, "%u 8\n", i * 16);
        assert_int_equal(media_parse(text, &m), 0);
        assert_int_equal(m.n, MEDIA_RANGES_MAX);
        assert_int_equal(m.ranges[MEDIA_RANGES_MAX - 1].first, (MEDIA_RANGES_MAX - 1) * 2);
        assert_int_equal(m.bytes, (MEDIA_RANGES_MAX + 10) * 4096);
}

static void test_files(void **state)
{
        int fd = memfd_create("badblocks", MFD_CLOEXEC);
        Media m;

        (void)state;
        assert_int_equal(media_read(fd, &m), 0);
        assert_int_equal(m.bytes, 0);
        assert_int_equal(write(fd, "16 8\n", 5), 5);
        assert_int_equal(media_read(fd, &m), 0); /* from the start, however often */
        assert_int_equal(media_read(fd, &m), 0);
        assert_ranges(&m, 1, (JobRange[]){{2, 1}}, 4096);
        assert_int_equal(close(fd), 0);
        assert_int_equal(media_read(fd, &m), -EBADF);
        assert_int_equal(media_open(makedev(4095, 99)), -ENOENT);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lists),
                cmocka_unit_test(test_what_is_no_list),
                cmocka_unit_test(test_more_than_there_is_room_for),
                cmocka_unit_test(test_files),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
