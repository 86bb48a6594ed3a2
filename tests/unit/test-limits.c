/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of set-limit, and the drop-in that they end up in. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ctl/dropin.h"
#include "ctl/limits.h"

static int parse(const char *word, Pmbroker__V1__SetLimit *ret)
{
        char error[LIMITS_ERROR_MAX] = "";
        int r;

        pmbroker__v1__set_limit__init(ret);
        r = limits_parse(word, ret, error);
        assert_int_equal(r < 0, error[0] != '\0');
        return r;
}

static void test_bytes(void **state)
{
        Pmbroker__V1__SetLimit m;

        (void)state;
        assert_int_equal(parse("Bytes=64M", &m), 0);
        assert_int_equal(m.set, PMBROKER__V1__LIMIT_FIELD__LIMIT_BYTES);
        assert_int_equal(m.bytes_max, 64 << 20);
        assert_int_equal(m.percent, 0);
        assert_int_equal(parse("bytes=25%", &m), 0);
        assert_int_equal(m.bytes_max, UINT64_MAX);
        assert_int_equal(m.percent, 25);
        assert_int_equal(parse("Bytes=25% 0", &m), 0);
        assert_int_equal(m.bytes_max, 0);
        assert_int_equal(m.percent, 25);
        assert_int_equal(parse("Bytes=INFINITY", &m), 0);
        assert_int_equal(m.bytes_max, UINT64_MAX);
        assert_int_equal(parse("Bytes=1M 1M", &m), -EINVAL);
        assert_int_equal(parse("Bytes=1% 1%", &m), -EINVAL);
        assert_int_equal(parse("Bytes=0%", &m), -EINVAL);
        assert_int_equal(parse("Bytes= ", &m), -EINVAL);
        assert_int_equal(parse("Bytes=x", &m), -EINVAL);
        assert_int_equal(parse("Bytes=1111111111111111111111111111111111111111111111111111111111111111", &m),
                -EINVAL);
}

static void test_clear(void **state)
{
        Pmbroker__V1__SetLimit m = PMBROKER__V1__SET_LIMIT__INIT;
        char error[LIMITS_ERROR_MAX];

        (void)state;
        assert_int_equal(limits_parse("Pools=", &m, error), 0);
        assert_int_equal(limits_parse("PoolBytes=infinity", &m, error), 0);
        assert_int_equal(m.clear, PMBROKER__V1__LIMIT_FIELD__LIMIT_POOLS);
        assert_int_equal(m.set, PMBROKER__V1__LIMIT_FIELD__LIMIT_POOL_BYTES);
        /* Neither twice, nor set and cleared. */
        assert_int_equal(limits_parse("Pools=3", &m, error), -EINVAL);
        assert_string_equal(error, "Pools= is there twice");
        assert_int_equal(limits_parse("poolbytes=", &m, error), -EINVAL);
}

static void test_words(void **state)
{
        Pmbroker__V1__SetLimit m;

        (void)state;
        assert_int_equal(parse("", &m), -EINVAL);
        assert_int_equal(parse("=", &m), -EINVAL);
        assert_int_equal(parse("Pool=1", &m), -EINVAL);
        assert_int_equal(parse("Poolss=1", &m), -EINVAL);
        assert_int_equal(parse("Pools", &m), -EINVAL);
        assert_int_equal(parse("Pools=4294967295", &m), 0);
        assert_int_equal(parse("Pools=4294967296", &m), -EINVAL);
        assert_int_equal(parse("Pools=1=2", &m), -EINVAL);
}

/* ----------------------------------------------------------------------------------------------- drop-ins */

static char *read_file(const char *path)
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = fopen(path, "re");
        ssize_t n;

        if (!f)
                return NULL;
        n = getdelim(&text, &size, EOF, f);
        (void)fclose(f);
        assert_true(n >= 0);
        return text;
}

static int setup(void **state)
{
        char template[] = "/tmp/test-limits.XXXXXX";

        *state = mkdtemp(template) ? strdup(template) : NULL;
        return *state ? 0 : -1;
}

static int teardown(void **state)
{
        _cleanup_free_ char *dir = *state, *sub = NULL;

        assert_true(asprintf(&sub, "%s/c.conf.d", dir) > 0);
        (void)rmdir(sub);
        return rmdir(dir); /* nothing else is left */
}

static Dropin *reopen(const char *dir)
{
        _cleanup_free_ char *config = NULL;
        Dropin *d;

        assert_true(asprintf(&config, "%s/c.conf", dir) > 0);
        assert_int_equal(dropin_open(config, &dropin_set_limit, "a-1", &d), 0);
        return d;
}

#define HEAD \
        "# Written by pmbrokerctl set-limit --permanent, which keeps nothing else in here.\n[Tenant a-1]\n"

static void test_dropin(void **state)
{
        _cleanup_(cleanup_dropin_free) Dropin *d = reopen(*state);
        struct stat st;

        /* Empty: no file, and removing none is no failure. */
        assert_int_equal(dropin_write(d), 0);
        assert_int_equal(stat(dropin_path(d), &st), -1);
        assert_int_equal(dropin_set(d, "Pools", "7"), 0);
        assert_int_equal(dropin_set(d, "Nix", "7"), -ENOENT);
        assert_int_equal(dropin_write(d), 0);
        assert_int_equal(stat(dropin_path(d), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0644);
        {
                _cleanup_free_ char *text = read_file(dropin_path(d));

                assert_string_equal(text, HEAD "Pools=7\n");
        }
        /* What is there stays when something else is set. */
        {
                _cleanup_(cleanup_dropin_free) Dropin *again = reopen(*state);
                _cleanup_free_ char *text = NULL;

                assert_int_equal(dropin_set(again, "Bytes", "8G 25%"), 0);
                assert_int_equal(dropin_write(again), 0);
                text = read_file(dropin_path(again));
                assert_string_equal(text, HEAD "Bytes=8G 25%\nPools=7\n");
                free(text);
                /* As it was before. */
                assert_int_equal(dropin_restore(again), 0);
                text = read_file(dropin_path(again));
                assert_string_equal(text, HEAD "Pools=7\n");
        }
        assert_int_equal(dropin_restore(d), 0);
        assert_int_equal(stat(dropin_path(d), &st), -1);
}

static void test_dropin_name(void **state)
{
        Dropin *d;

        (void)state;
        assert_int_equal(dropin_open("/nonexistent/c", &dropin_drain, "../x", &d), -EINVAL);
        assert_int_equal(dropin_open("/nonexistent/c", &dropin_drain, "", &d), -EINVAL);
        assert_int_equal(dropin_open("/nonexistent/c", &dropin_drain, "a/b", &d), -EINVAL);
        assert_int_equal(dropin_open("/nonexistent/c", &dropin_drain, "ok", &d), 0);
        assert_int_equal(dropin_set(d, "Pools", "1"), -ENOENT);
        assert_int_equal(dropin_set(d, "Drained", "yes"), 0);
        assert_string_equal(dropin_path(d), "/nonexistent/c.d/zz-drain-ok.conf");
        assert_int_equal(dropin_write(d), -ENOENT);
        dropin_free(d);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bytes),
                cmocka_unit_test(test_clear),
                cmocka_unit_test(test_words),
                cmocka_unit_test_setup_teardown(test_dropin, setup, teardown),
                cmocka_unit_test(test_dropin_name),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
