/* SPDX-License-Identifier: BSD-3-Clause */
/* What reaches stderr, and what stays as it was. The journal itself is out of reach of a unit test. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "log.h"

/* What was written to stderr in between. cmocka writes there itself, so nothing may fail in between. */
typedef struct Capture {
        int stderr_copy;
        int file;
        char text[16384];
} Capture;

static void capture_begin(Capture *c)
{
        c->stderr_copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        c->file = memfd_create("stderr", MFD_CLOEXEC);
        assert_true(c->stderr_copy >= 0 && c->file >= 0);
        assert_true(dup2(c->file, STDERR_FILENO) >= 0);
}

static const char *capture_end(Capture *c)
{
        ssize_t n;

        (void)dup2(c->stderr_copy, STDERR_FILENO);
        (void)close(c->stderr_copy);
        n = pread(c->file, c->text, sizeof(c->text) - 1, 0);
        (void)close(c->file);
        assert_true(n >= 0);
        c->text[n] = '\0';
        return c->text;
}

static int setup(void **state)
{
        (void)state;
        (void)unsetenv("JOURNAL_STREAM");
        (void)unsetenv("PMBROKER_LOG_LEVEL");
        log_set_level(LOG_INFO);
        log_open("tester");
        return 0;
}

static void test_line(void **state)
{
        Capture c;

        (void)state;
        capture_begin(&c);
        log_info("the answer is %d", 42);
        assert_string_equal(capture_end(&c), "tester: the answer is 42\n");
}

static void test_level(void **state)
{
        Capture c;
        int r1, r2;

        (void)state;
        capture_begin(&c);
        log_debug("hidden");
        r1 = log_errno(LOG_DEBUG, EIO, "hidden");
        log_set_level(LOG_DEBUG);
        log_debug("debug");
        log_set_level(LOG_ERR);
        log_warning("hidden");
        r2 = log_errno(LOG_WARNING, -ENOENT, "hidden");
        log_error("error");
        assert_string_equal(capture_end(&c), "tester: debug\ntester: error\n");
        assert_int_equal(r1, -EIO);
        assert_int_equal(r2, -ENOENT);
}

static void test_errno(void **state)
{
        Capture c;
        int r1, r2, e1, e2, e3;

        (void)state;
        capture_begin(&c);
        errno = E2BIG;
        r1 = log_errno(LOG_ERR, EACCES, "cannot open %s", "it");
        e1 = errno;
        r2 = log_errno(LOG_ERR, -EACCES, "%m");
        e2 = errno;
        log_error("%m");
        log_debug("hidden");
        e3 = errno;
        assert_string_equal(capture_end(&c), "tester: cannot open it: Permission denied\n"
                                             "tester: Argument list too long: Permission denied\n"
                                             "tester: Argument list too long\n");
        assert_int_equal(r1, -EACCES);
        assert_int_equal(r2, -EACCES);
        assert_int_equal(e1, E2BIG);
        assert_int_equal(e2, E2BIG);
        assert_int_equal(e3, E2BIG);
}

/* stderr may be closed, or full: nobody notices. */
static void test_broken_stderr(void **state)
{
        Capture c;
        int e;

        (void)state;
        capture_begin(&c);
        (void)close(STDERR_FILENO);
        errno = E2BIG;
        log_error("nobody hears this");
        e = errno;
        (void)log_errno(LOG_ERR, EIO, "nor this");
        e = e == E2BIG ? errno : e;
        assert_string_equal(capture_end(&c), "");
        assert_int_equal(e, E2BIG);
}

static void test_several_lines(void **state)
{
        Capture c;

        (void)state;
        capture_begin(&c);
        log_error("one\ntwo\n\nthree\n");
        log_error("esc\033[2J tab\t del\177 \303\244");
        log_error("%s", "");
        assert_string_equal(capture_end(&c), "tester: one\ntester: two\ntester: three\n"
                                             "tester: esc?[2J tab? del? \303\244\n");
}

static void test_long(void **state)
{
        char *s = malloc(10001);
        Capture c;
        size_t n;

        (void)state;
        assert_non_null(s);
        memset(s, 'x', 10000);
        s[10000] = '\0';
        capture_begin(&c);
        log_error("%s", s);
        (void)log_errno(LOG_ERR, EIO, "%s", s);
        n = strlen(capture_end(&c));
        free(s);
        assert_int_equal(n, strlen("tester: ") + 4095 + 1 + strlen("tester: ") + 3967 +
                                    strlen(": Input/output error\n"));
        assert_string_equal(c.text + n - 22, "x: Input/output error\n");
}

static void test_level_from_string(void **state)
{
        int level = 77;

        (void)state;
        assert_int_equal(log_level_from_string("debug", &level), 0);
        assert_int_equal(level, LOG_DEBUG);
        assert_int_equal(log_level_from_string("error", &level), 0);
        assert_int_equal(level, LOG_ERR);
        assert_int_equal(log_level_from_string("emerg", &level), 0);
        assert_int_equal(level, LOG_EMERG);
        assert_int_equal(log_level_from_string("0", &level), 0);
        assert_int_equal(level, LOG_EMERG);
        assert_int_equal(log_level_from_string("7", &level), 0);
        assert_int_equal(level, LOG_DEBUG);
        level = 77;
        assert_int_equal(log_level_from_string("8", &level), -EINVAL);
        assert_int_equal(log_level_from_string("-1", &level), -EINVAL);
        assert_int_equal(log_level_from_string("", &level), -EINVAL);
        assert_int_equal(log_level_from_string("70", &level), -EINVAL);
        assert_int_equal(log_level_from_string("loud", &level), -EINVAL);
        assert_int_equal(level, 77);
}

/* Runs first: what is set once is set. */
static void test_environment(void **state)
{
        Capture c;
        int e;

        (void)state;
        capture_begin(&c);
        (void)setenv("PMBROKER_LOG_LEVEL", "warning", 1);
        errno = E2BIG;
        log_open("other");
        log_notice("hidden");
        log_warning("seen");
        (void)setenv("PMBROKER_LOG_LEVEL", "loud", 1);
        log_open("third");
        log_set_level(LOG_INFO);
        (void)setenv("PMBROKER_LOG_LEVEL", "error", 1);
        log_open("fourth");
        log_info("the command line counts more");
        e = errno;
        assert_string_equal(capture_end(&c), "other: seen\n"
                                             "third: PMBROKER_LOG_LEVEL=loud is not a level, ignoring\n"
                                             "fourth: the command line counts more\n");
        assert_int_equal(e, E2BIG);
}

/* Only if stderr is the very file that $JOURNAL_STREAM names do messages go to the journal. */
static void test_journal_stream(void **state)
{
        Capture c;
        struct stat st;
        char name[64];

        (void)state;
        capture_begin(&c);
        (void)fstat(STDERR_FILENO, &st);
        (void)snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + 1);
        (void)setenv("JOURNAL_STREAM", name, 1);
        log_open("a");
        log_error("another file");
        (void)snprintf(name, sizeof(name), "%ju:%jux", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
        (void)setenv("JOURNAL_STREAM", name, 1);
        log_open("b");
        log_error("malformed");
        (void)setenv("JOURNAL_STREAM", "", 1);
        log_open("c");
        log_error("empty");
        /* The file it is, but behind it no journal in the test: then the stream gets the line after all. */
        if (access("/run/systemd/journal/socket", F_OK) != 0) {
                (void)snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
                (void)setenv("JOURNAL_STREAM", name, 1);
                log_open("d");
                errno = E2BIG;
                log_error("journal");
                (void)log_errno(LOG_WARNING, EIO, "journal");
                (void)capture_end(&c);
                /* Where there is no journald at all, sd_journal_send() calls that a success. */
                assert_int_equal(errno, E2BIG);
        } else
                (void)capture_end(&c);
        assert_true(strncmp(c.text, "a: another file\nb: malformed\nc: empty\n", 37) == 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_environment),
                cmocka_unit_test_setup(test_line, setup),
                cmocka_unit_test_setup(test_level, setup),
                cmocka_unit_test_setup(test_errno, setup),
                cmocka_unit_test_setup(test_broken_stderr, setup),
                cmocka_unit_test_setup(test_several_lines, setup),
                cmocka_unit_test_setup(test_long, setup),
                cmocka_unit_test_setup(test_level_from_string, setup),
                cmocka_unit_test_setup(test_journal_stream, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
