/* SPDX-License-Identifier: BSD-3-Clause */
/* One reservation, one file in it, nothing for children. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/mapping.h"
#include "client/unit.h"

#define U UNIT_SIZE

static int file_of(uint64_t size)
{
        int fd = memfd_create("pool", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        return fd;
}

/* Mappings of this process that lie in the range, and how many of them can be accessed. */
static unsigned count_mappings(const Mapping *m, unsigned *ret_accessible)
{
        FILE *f = fopen("/proc/self/maps", "re");
        char line[512], perms[5];
        unsigned n = 0, accessible = 0;
        unsigned long from, to;

        assert_non_null(f);
        while (fgets(line, sizeof(line), f)) {
                assert_int_equal(sscanf(line, "%lx-%lx %4s", &from, &to, perms), 3);
                if (to <= (uintptr_t)m->base || from >= (uintptr_t)m->base + m->reserved)
                        continue;
                n++;
                accessible += perms[0] == 'r';
        }
        (void)fclose(f);
        *ret_accessible = accessible;
        return n;
}

static void test_reserve_and_extend(void **state)
{
        unsigned accessible;
        Mapping m;

        (void)state;
        assert_int_equal(mapping_reserve(&m, 64 * U, 2 * U), 0);
        assert_int_equal(m.reserved, 64 * U);
        assert_int_equal((uintptr_t)m.base % U, 0);
        count_mappings(&m, &accessible);
        assert_int_equal(accessible, 0);

        int fd = file_of(3 * U);

        assert_int_equal(mapping_attach(&m, fd, 2 * U), 0);
        assert_int_equal(m.mapped, 2 * U);
        memset(m.base, 0x55, 2 * U);

        uint8_t *base = m.base;

        assert_int_equal(mapping_extend(&m, 4 * U), -EPROTO); /* the file is not that long */
        assert_int_equal(mapping_extend(&m, 3 * U), 0);
        assert_int_equal(mapping_extend(&m, U), 0); /* never less */
        assert_int_equal(m.mapped, 3 * U);
        assert_ptr_equal(m.base, base);
        memset(m.base + 2 * U, 0xaa, U);

        /* It is one piece, of one file. */
        count_mappings(&m, &accessible);
        assert_int_equal(accessible, 1);

        uint8_t byte;

        assert_int_equal(pread(m.fd, &byte, 1, 2 * U), 1);
        assert_int_equal(byte, 0xaa);
        assert_int_equal(mapping_extend(&m, 65 * U), -ENOMEM);
        assert_int_equal(m.mapped, 3 * U);

        mapping_deinit(&m);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        assert_null(m.base);
        mapping_deinit(&m);
}

static void test_halved_until_it_fits(void **state)
{
        Mapping m;

        (void)state;
        /* More than any process can address. */
        assert_int_equal(mapping_reserve(&m, UINT64_C(1) << 60, 2 * U), 0);
        assert_true(m.reserved < UINT64_C(1) << 48);
        assert_true(m.reserved >= UINT64_C(1) << 40);
        assert_int_equal(m.reserved % U, 0);
        mapping_deinit(&m);

        assert_int_equal(mapping_reserve(&m, 0, UINT64_C(1) << 60), -ENOMEM);
        assert_int_equal(mapping_reserve(&m, UINT64_MAX / U * U, UINT64_MAX / U * U), -ENOMEM);
        mapping_deinit(&m);
        assert_int_equal(mapping_reserve(&m, U, 2 * U), 0); /* never less than is needed */
        assert_int_equal(m.reserved, 2 * U);
        mapping_deinit(&m);
}

/* A descriptor that cannot be mapped is closed nevertheless, and the reservation stays whole. */
static void test_attach_fails(void **state)
{
        unsigned accessible;
        Mapping m;
        int fd;

        (void)state;
        assert_int_equal(mapping_reserve(&m, 64 * U, 2 * U), 0);
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_true(mapping_attach(&m, fd, U) < 0);
        assert_int_equal(m.mapped, 0);
        count_mappings(&m, &accessible);
        assert_int_equal(accessible, 0);
        mapping_deinit(&m);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static int in_child(void (*fn)(Mapping *m), Mapping *m)
{
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
                (void)signal(SIGSEGV, SIG_DFL);
                fn(m);
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void look(Mapping *m)
{
        unsigned accessible;

        /* Nothing at all is there, neither file nor reservation. */
        _exit((int)count_mappings(m, &accessible));
}

static void look_forked(Mapping *m)
{
        unsigned accessible, n;

        mapping_forked(m, /* has_memory= */ false);
        n = count_mappings(m, &accessible);
        if (n != 1 || accessible != 0 || m->fd >= 0)
                _exit(1);
        mapping_deinit(m);
        _exit((int)count_mappings(m, &accessible));
}

static void touch_forked(Mapping *m)
{
        mapping_forked(m, /* has_memory= */ false);
        *(volatile uint8_t *)m->base = 1;
}

static void test_children_get_nothing(void **state)
{
        Mapping m;

        (void)state;
        assert_int_equal(mapping_reserve(&m, 64 * U, 2 * U), 0);
        assert_int_equal(mapping_attach(&m, file_of(4 * U), 2 * U), 0);
        assert_int_equal(mapping_extend(&m, 4 * U), 0);
        m.base[0] = 7;

        assert_int_equal(in_child(look, &m), 0);
        assert_int_equal(in_child(look_forked, &m), 0);
        assert_int_equal(in_child(touch_forked, &m), -SIGSEGV);
        assert_int_equal(m.base[0], 7);
        mapping_deinit(&m);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reserve_and_extend),
                cmocka_unit_test(test_halved_until_it_fits),
                cmocka_unit_test(test_attach_fails),
                cmocka_unit_test(test_children_get_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
