/* SPDX-License-Identifier: BSD-3-Clause */
/* In children: there is no way back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"

/* Exit status of a child that does it. */
static int in_child(int (*fn)(void))
{
        int status = -1;
        pid_t pid = fork();

        if (pid == 0)
                _exit(fn());
        assert_true(pid > 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static char *const arguments[] = {(char[]){"true"}, NULL};

static int run_program(void)
{
        return sandbox_forbid_exec() < 0 ? 1 : execv("/bin/true", arguments) < 0 ? errno : 2;
}

static int run_program_by_fd(void)
{
        int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);

        return sandbox_forbid_exec() < 0 ? 1 : fexecve(fd, arguments, arguments + 1) < 0 ? errno : 2;
}

/* What it starts is no freer. */
static int run_program_in_child(void)
{
        return sandbox_forbid_exec() < 0 ? 1 : in_child(run_program);
}

static int do_other_things(void)
{
        return sandbox_forbid_exec() < 0 || getpid() <= 1 || in_child(sandbox_forbid_exec) != 0;
}

static void test_no_program_is_started(void **state)
{
        (void)state;
        assert_int_equal(in_child(run_program), EPERM);
        assert_int_equal(in_child(run_program_by_fd), EPERM);
        assert_int_equal(in_child(run_program_in_child), EPERM);
}

static void test_all_else_goes_on(void **state)
{
        (void)state;
        assert_int_equal(in_child(do_other_things), 0);
}

#ifdef __x86_64__
/* The same by the numbers of x32, whether or not the kernel has that. */
static int run_program_x32(void)
{
        return sandbox_forbid_exec() < 0                                              ? 1
               : syscall(0x40000000 | 520, "/bin/true", arguments, arguments + 1) < 0 ? errno
                                                                                      : 2;
}

/* And by those of i386: int 0x80 with pointers that fit. */
static int run_program_i386(void)
{
        long r = 11; /* execve */

        if (sandbox_forbid_exec() < 0)
                return 1;
        __asm__ volatile("int $0x80"
                         : "+a"(r)
                         : "b"(0), "c"(0), "d"(0)
                         : "memory", "r8", "r9", "r10", "r11");
        return (int)-r;
}

static void test_other_architectures(void **state)
{
        (void)state;
        assert_int_equal(in_child(run_program_x32), EPERM);
        assert_int_equal(in_child(run_program_i386), EPERM); /* not EFAULT */
}
#endif

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_no_program_is_started),
                cmocka_unit_test(test_all_else_goes_on),
#ifdef __x86_64__
                cmocka_unit_test(test_other_architectures),
#endif
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
