/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "provisioner/record.h"

#define ID   UINT64_C(0xc0ffee)
#define NAME "ram.0000000000c0ffee"

typedef struct Fixture {
        char path[64];
        int fd;
        Record record;
} Fixture;

static int setup(void **state)
{
        Fixture *f = calloc(1, sizeof(*f));

        (void)snprintf(f->path, sizeof(f->path), "/tmp/test-record-XXXXXX");
        assert_non_null(mkdtemp(f->path));
        f->fd = record_open_dir(f->path);
        assert_true(f->fd >= 0);
        f->record =
                (Record){.pool = ID, .limit = 4 * JOB_UNIT, .length = 8 * JOB_UNIT, .size = JOB_RECORD_MAX};
        for (size_t i = 0; i < JOB_RECORD_MAX; i++)
                f->record.bytes[i] = (uint8_t)i;
        *state = f;
        return 0;
}

static int remove_one(const char *store, uint64_t id, bool releasing, void *userdata)
{
        const int *fd = userdata;

        (void)releasing;
        /* Both names of one pool may have been found. */
        return record_remove(*fd, store, id);
}

static int teardown(void **state)
{
        Fixture *f = *state;
        char command[128];

        assert_int_equal(record_for_each(f->fd, remove_one, &f->fd), 0);
        safe_close(f->fd);
        (void)snprintf(command, sizeof(command), "rm -rf '%s'", f->path);
        assert_int_equal(system(command), 0);
        free(f);
        return 0;
}

static void overwrite(
        const Fixture *f, const char *name, off_t at, const void *bytes, size_t n, off_t length)
{
        _cleanup_close_ int fd = openat(f->fd, name, O_WRONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, bytes, n, at), n);
        if (length >= 0)
                assert_int_equal(ftruncate(fd, length), 0);
}

static void written_and_read(void **state)
{
        Fixture *f = *state;
        Record record;
        struct stat st;

        static const uint32_t sizes[] = {0, 1, JOB_RECORD_MAX - 1, JOB_RECORD_MAX};
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                memset(&record, 0xff, sizeof(record));
                f->record.size = sizes[i];
                assert_int_equal(record_write(f->fd, "ram", &f->record), 0); /* replaces the one before */
                assert_int_equal(record_read(f->fd, "ram", ID, false, &record), 0);
                assert_int_equal(record.pool, ID);
                assert_int_equal(record.limit, 4 * JOB_UNIT);
                assert_int_equal(record.length, 8 * JOB_UNIT);
                assert_int_equal(record.size, sizes[i]);
                assert_memory_equal(record.bytes, f->record.bytes, sizes[i]);
        }
        assert_int_equal(fstatat(f->fd, NAME, &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(fstatat(f->fd, ".new", &st, 0), -1);
        assert_int_equal(fstat(f->fd, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);

        assert_int_equal(record_read(f->fd, "ram", ID, true, &record), -ENOENT);
        assert_int_equal(record_read(f->fd, "ram", ID + 1, false, &record), -ENOENT);
        assert_int_equal(record_read(f->fd, "rom", ID, false, &record), -ENOENT);
}

static void a_release(void **state)
{
        Fixture *f = *state;
        Record record;

        assert_int_equal(record_set_releasing(f->fd, "ram", ID), 0);
        assert_int_equal(record_write(f->fd, "ram", &f->record), 0);
        assert_int_equal(record_set_releasing(f->fd, "ram", ID), 0);
        assert_int_equal(record_set_releasing(f->fd, "ram", ID), 0);
        assert_int_equal(record_read(f->fd, "ram", ID, false, &record), -ENOENT);
        assert_int_equal(record_read(f->fd, "ram", ID, true, &record), 0);
        assert_int_equal(record.size, JOB_RECORD_MAX);
        assert_int_equal(record_remove(f->fd, "ram", ID), 0);
        assert_int_equal(record_read(f->fd, "ram", ID, true, &record), -ENOENT);
        assert_int_equal(record_remove(f->fd, "ram", ID), 0);
        assert_int_equal(record_write(f->fd, "ram", &f->record), 0);
        assert_int_equal(record_remove(f->fd, "ram", ID), 0);
        assert_int_equal(record_read(f->fd, "ram", ID, false, &record), -ENOENT);
}

static void every_bit_counts(void **state)
{
        Fixture *f = *state;
        Record record;
        struct stat st;

        f->record.size = 20;
        assert_int_equal(record_write(f->fd, "ram", &f->record), 0);
        assert_int_equal(fstatat(f->fd, NAME, &st, 0), 0);
        for (off_t at = 0; at < st.st_size; at++)
                for (int bit = 0; bit < 8; bit++) {
                        _cleanup_close_ int fd = openat(f->fd, NAME, O_RDONLY | O_CLOEXEC);
                        uint8_t good, bad;
                        assert_int_equal(pread(fd, &good, 1, at), 1);
                        bad = (uint8_t)(good ^ 1 << bit);
                        overwrite(f, NAME, at, &bad, 1, -1);
                        assert_int_equal(record_read(f->fd, "ram", ID, false, &record),
                                at >= 8 && at < 12 ? -EPROTONOSUPPORT : -EBADMSG);
                        overwrite(f, NAME, at, &good, 1, -1);
                }
        assert_int_equal(record_read(f->fd, "ram", ID, false, &record), 0);
        overwrite(f, NAME, 0, "", 0, st.st_size + 1);
        assert_int_equal(record_read(f->fd, "ram", ID, false, &record), -EBADMSG);
        for (off_t length = st.st_size - 1; length >= 0; length--) {
                overwrite(f, NAME, 0, "", 0, length);
                assert_int_equal(record_read(f->fd, "ram", ID, false, &record), -EBADMSG);
        }
}

static void another_pools_record(void **state)
{
        Fixture *f = *state;
        Record record;

        assert_int_equal(record_write(f->fd, "ram", &f->record), 0);
        assert_int_equal(renameat(f->fd, NAME, f->fd, "ram.0000000000c0ffef"), 0);
        assert_int_equal(record_read(f->fd, "ram", ID + 1, false, &record), -EBADMSG);
}

static void a_newer_version(void **state)
{
        Fixture *f = *state;
        uint32_t version = RECORD_VERSION + 1;
        Record record;

        assert_int_equal(record_write(f->fd, "ram", &f->record), 0);
        /* Of any length: only magic and version are known to stay where they are. */
        static const off_t lengths[] = {12, 13, 47, 48, 4096};
        for (size_t i = 0; i < ELEMENTSOF(lengths); i++) {
                overwrite(f, NAME, 8, &version, sizeof(version), lengths[i]);
                assert_int_equal(record_read(f->fd, "ram", ID, false, &record), -EPROTONOSUPPORT);
        }
}

static void names(void **state)
{
        char store[JOB_NAME_MAX];
        uint64_t id;
        bool releasing;

        (void)state;
        assert_int_equal(record_parse_name(NAME, store, &id, &releasing), 0);
        assert_string_equal(store, "ram");
        assert_int_equal(id, ID);
        assert_false(releasing);
        assert_int_equal(record_parse_name(NAME ".releasing", store, &id, &releasing), 0);
        assert_string_equal(store, "ram");
        assert_int_equal(id, ID);
        assert_true(releasing);
        /* Dots in names, even such. */
        assert_int_equal(record_parse_name("a.b.releasing.0000000000000001", store, &id, &releasing), 0);
        assert_string_equal(store, "a.b.releasing");
        assert_false(releasing);
        assert_int_equal(
                record_parse_name("a.0000000000000001.0000000000000002", store, &id, &releasing), 0);
        assert_string_equal(store, "a.0000000000000001");
        assert_int_equal(id, 2);
        assert_int_equal(record_parse_name("abcdefghijklmnopqrstuvwxyz012345.0000000000000001.releasing",
                                 store, &id, &releasing),
                0);
        assert_string_equal(store, "abcdefghijklmnopqrstuvwxyz012345");

        static const char *const bad[] = {
                "",
                ".",
                "..",
                ".new",
                ".releasing",
                "ram",
                "ram.",
                ".0000000000c0ffee",
                "..0000000000c0ffee",
                "0000000000c0ffee",
                "ram.0000000000C0FFEE",
                "ram.000000000c0ffee",
                "ram.00000000000c0ffee",
                "ram.0000000000000000",
                "ram-0000000000c0ffee",
                NAME ".",
                NAME ".new",
                NAME "releasing",
                NAME ".releasing.releasing",
                "abcdefghijklmnopqrstuvwxyz0123456.0000000000000001",
                "abcdefghijklmnopqrstuvwxyz0123456abcdefghijklmnopqrstuvwxyz0123456789.0000000000000001."
                "releasing",
        };
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(record_parse_name(bad[i], store, &id, &releasing), -EINVAL);
}

static int count(const char *store, uint64_t id, bool releasing, void *userdata)
{
        int *counts = userdata;

        assert_string_equal(store, "ram");
        assert_true(id >= 1 && id <= 100);
        counts[releasing]++;
        return counts[2]-- > 0 ? 0 : -ECANCELED;
}

static void all_of_them(void **state)
{
        Fixture *f = *state;
        int counts[] = {0, 0, 1000};
        _cleanup_close_ int other = openat(f->fd, "README", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

        for (uint64_t id = 1; id <= 100; id++) {
                f->record.pool = id;
                assert_int_equal(record_write(f->fd, "ram", &f->record), 0);
                if (id % 4 == 0)
                        assert_int_equal(record_set_releasing(f->fd, "ram", id), 0);
        }
        for (int i = 0; i < 2; i++) /* from the start each time */
                assert_int_equal(record_for_each(f->fd, count, counts), 0);
        assert_int_equal(counts[0], 150);
        assert_int_equal(counts[1], 50);
        counts[2] = 10;
        assert_int_equal(record_for_each(f->fd, count, counts), -ECANCELED);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(written_and_read, setup, teardown),
                cmocka_unit_test_setup_teardown(a_release, setup, teardown),
                cmocka_unit_test_setup_teardown(every_bit_counts, setup, teardown),
                cmocka_unit_test_setup_teardown(another_pools_record, setup, teardown),
                cmocka_unit_test_setup_teardown(a_newer_version, setup, teardown),
                cmocka_unit_test(names),
                cmocka_unit_test_setup_teardown(all_of_them, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
