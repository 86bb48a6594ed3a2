/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provisioner/poolfile.h"

static void ids_as_text(void **state)
{
        char text[POOL_ID_TEXT_MAX];
        uint64_t id = 7;

        (void)state;
        assert_string_equal(pool_id_format(text, 0xc0ffee), "0000000000c0ffee");
        assert_string_equal(pool_id_format(text, UINT64_MAX), "ffffffffffffffff");
        assert_int_equal(pool_id_parse("0000000000c0ffee", 16, &id), 0);
        assert_int_equal(id, 0xc0ffee);
        assert_int_equal(pool_id_parse("ffffffffffffffff.pool", 16, &id), 0);
        assert_true(id == UINT64_MAX);
        assert_int_equal(pool_id_parse("0000000000000001", 16, &id), 0);
        assert_int_equal(id, 1);

        static const char *const bad[] = {"0000000000000000", "0000000000C0FFEE", "000000000c0ffee ",
                "-00000000000c0ff", "0x00000000c0ffee"};
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(pool_id_parse(bad[i], 16, &id), -EINVAL);
        assert_int_equal(pool_id_parse("0000000000c0ffee", 15, &id), -EINVAL);
        assert_int_equal(pool_id_parse("0000000000c0ffee0", 17, &id), -EINVAL);
        assert_int_equal(pool_id_parse("", 0, &id), -EINVAL);
        assert_int_equal(id, 1);
}

static void names_of_files(void **state)
{
        static const char *const others[] = {"probe", ".closed", ".lost.0000000000c0ffee",
                "0000000000c0ffee", "0000000000c0ffee.pool2", "0000000000c0ffe.pool",
                "0000000000C0FFEE.pool", "0000000000000000.pool"};
        char path[] = "/tmp/pmb-poolfile-XXXXXX", name[POOL_FILE_NAME_MAX];
        const char *found;
        uint64_t id = 0, sum = 0;
        unsigned n = 0;
        DIR *dir;

        (void)state;
        assert_string_equal(pool_file_name(name, 0xc0ffee), "0000000000c0ffee.pool");
        assert_string_equal(pool_file_name(name, UINT64_MAX), "ffffffffffffffff.pool");
        assert_non_null(mkdtemp(path));
        dir = opendir(path);
        assert_non_null(dir);
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                assert_int_equal(mknodat(dirfd(dir), others[i], S_IFREG | 0600, 0), 0);
        assert_int_equal(pool_file_next(dir, &found, &id), 0);

        for (uint64_t i = 1; i <= 2; i++)
                assert_int_equal(mknodat(dirfd(dir), pool_file_name(name, i), S_IFREG | 0600, 0), 0);
        rewinddir(dir);
        while (pool_file_next(dir, &found, &id) > 0) {
                assert_string_equal(found, pool_file_name(name, id));
                sum += id;
                n++;
        }
        assert_int_equal(n, 2);
        assert_int_equal(sum, 1 + 2);

        for (uint64_t i = 1; i <= 2; i++)
                assert_int_equal(unlinkat(dirfd(dir), pool_file_name(name, i), 0), 0);
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                assert_int_equal(unlinkat(dirfd(dir), others[i], 0), 0);
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(closedir(dir), 0);
}

static void entries_keep_their_record(void **state)
{
        uint8_t record[JOB_RECORD_MAX];
        PoolFile *pool;

        (void)state;
        memset(record, 0xa5, sizeof(record));
        assert_int_equal(poolfile_new(NULL, 1, record, sizeof(record), &pool), 0);
        assert_int_equal(pool->fd, -EBADF);
        assert_int_equal(pool->record_size, JOB_RECORD_MAX);
        assert_memory_equal(pool->record, record, sizeof(record));
        assert_null(poolfile_free(pool));
        assert_int_equal(poolfile_new(NULL, 1, NULL, 0, &pool), 0);
        assert_null(poolfile_free(pool));
        assert_null(poolfile_free(NULL));
}

static void entries_close_their_file(void **state)
{
        PoolFile *pool;
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

        (void)state;
        assert_int_equal(poolfile_new(NULL, 1, NULL, 0, &pool), 0);
        pool->fd = fd;
        (void)poolfile_free(pool);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void tables_are_sorted(void **state)
{
        PoolTable table = {};
        PoolFile *pools[1000];
        uint64_t id = 1;

        (void)state;
        assert_null(pool_table_find(&table, 1));
        assert_int_equal(pool_table_above(&table, 0), 0);
        for (size_t i = 0; i < ELEMENTSOF(pools); i++) {
                id = id * 6364136223846793005 + 1442695040888963407;
                assert_int_equal(poolfile_new(NULL, id, NULL, 0, &pools[i]), 0);
                assert_int_equal(pool_table_add(&table, pools[i]), 0);
                assert_int_equal(pool_table_add(&table, pools[i]), -EEXIST);
        }
        assert_int_equal(table.n, ELEMENTSOF(pools));
        for (size_t i = 0; i < table.n; i++) {
                if (i > 0)
                        assert_true(table.pools[i - 1]->id < table.pools[i]->id);
                assert_ptr_equal(pool_table_find(&table, table.pools[i]->id), table.pools[i]);
                assert_int_equal(pool_table_above(&table, table.pools[i]->id), i + 1);
                assert_int_equal(pool_table_above(&table, table.pools[i]->id - 1), i);
                assert_null(pool_table_find(&table, table.pools[i]->id + 1));
        }
        assert_int_equal(pool_table_above(&table, UINT64_MAX), table.n);
        for (size_t i = 0; i < ELEMENTSOF(pools); i++) {
                pool_table_remove(&table, pools[i]);
                assert_null(pool_table_find(&table, pools[i]->id));
                (void)poolfile_free(pools[i]);
        }
        pool_table_deinit(&table);
        assert_null(table.pools);
}

static void the_ends_of_the_range(void **state)
{
        PoolTable table = {};
        PoolFile *first, *last;

        (void)state;
        assert_int_equal(poolfile_new(NULL, UINT64_MAX, NULL, 0, &last), 0);
        assert_int_equal(poolfile_new(NULL, 1, NULL, 0, &first), 0);
        assert_int_equal(pool_table_add(&table, last), 0);
        assert_int_equal(pool_table_add(&table, first), 0);
        assert_int_equal(pool_table_above(&table, 0), 0);
        assert_int_equal(pool_table_above(&table, 1), 1);
        assert_int_equal(pool_table_above(&table, UINT64_MAX), 2);
        assert_ptr_equal(pool_table_find(&table, UINT64_MAX), last);
        pool_table_remove(&table, first);
        pool_table_remove(&table, last);
        pool_table_deinit(&table);
        (void)poolfile_free(first);
        (void)poolfile_free(last);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(ids_as_text),
                cmocka_unit_test(names_of_files),
                cmocka_unit_test(entries_keep_their_record),
                cmocka_unit_test(entries_close_their_file),
                cmocka_unit_test(tables_are_sorted),
                cmocka_unit_test(the_ends_of_the_range),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
