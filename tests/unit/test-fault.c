/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is told about a SIGBUS, and what becomes of it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "heap-pool.h"

#define SIZE (8 * MIB)

static struct pmb_fault told;
static unsigned n_told, n_before;
static sigjmp_buf out;

static int give_up(const struct pmb_fault *fault, void *userdata)
{
        told = *fault;
        n_told++;
        if (userdata != &told)
                _exit(99);
        siglongjmp(out, 1);
}

/* There is memory from now on. */
static int repair(const struct pmb_fault *fault, void *userdata)
{
        told = *fault;
        n_told++;
        errno = 4711; /* which the program does not see */
        if (userdata != &n_told ||
                mmap((char *)(uintptr_t)fault->address - fault->offset % 4096, 4096, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
                _exit(99);
        return 0;
}

static int refuse(const struct pmb_fault *fault, void *userdata)
{
        (void)fault;
        (void)userdata;
        n_told++;
        return 1;
}

static void earlier(int sig, siginfo_t *si, void *context)
{
        if (sig != SIGBUS || si->si_code != BUS_ADRERR || !context)
                _exit(99);
        n_before++;
        siglongjmp(out, 1);
}

static void earlier_plain(int sig)
{
        if (sig != SIGBUS)
                _exit(99);
        n_before++;
}

/* The page is touched; whether that went well. */
static bool touch(volatile char *p)
{
        if (sigsetjmp(out, 1))
                return false;
        *p = 1;
        return true;
}

/* As a revocation does. */
static void take_away(struct pmb_pool *pool, uint64_t size)
{
        assert_int_equal(ftruncate(pool->mapping.fd, (off_t)size), 0);
}

/* A page of no pool without memory. */
static char *nothing(void)
{
        int fd = memfd_create("nothing", MFD_CLOEXEC);
        char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        assert_true(p != MAP_FAILED);
        assert_int_equal(close(fd), 0);
        return p;
}

/* cmocka has a handler of its own in every test. */
static void begin(void)
{
        n_told = n_before = 0;
        memset(&told, 0, sizeof(told));
        assert_true(signal(SIGBUS, SIG_DFL) != SIG_ERR);
}

static void assert_disposition(void (*handler)(int))
{
        struct sigaction now;

        assert_int_equal(sigaction(SIGBUS, NULL, &now), 0);
        assert_ptr_equal(now.sa_handler, handler);
}

static void test_told(void **state)
{
        struct pmb_pool *other = pool_of_size(SIZE), *pool = pool_of_size(SIZE);
        char *base = pmb_pool_base(pool);

        (void)state;
        begin();
        take_away(pool, 4 * MIB);
        assert_int_equal(pmb_set_fault_handler(give_up, &told), 0);
        assert_true(touch(base + 4 * MIB - 1));
        assert_false(touch(base + 5 * MIB + 4097));
        assert_int_equal(n_told, 1);
        assert_ptr_equal(told.pool, pool);
        assert_int_equal(told.id, pool->id);
        assert_int_equal(told.offset, 5 * MIB + 4097);
        assert_ptr_equal(told.address, base + 5 * MIB + 4097);
        assert_int_equal(told.reason, PMB_FAULT_GONE);
        assert_int_equal(told.length, 0);

        assert_false(touch(base + 4 * MIB)); /* it stays installed */
        assert_int_equal(told.offset, 4 * MIB);
        assert_int_equal(n_told, 2);
        take_away(other, 0);
        assert_false(touch(pmb_pool_base(other)));
        assert_ptr_equal(told.pool, other);
        assert_int_equal(told.offset, 0);

        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0);
        assert_disposition(SIG_DFL);
        pmb_pool_close(pool);
        pmb_pool_close(other);
}

static void test_repaired(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        char *base = pmb_pool_base(pool);

        (void)state;
        begin();
        take_away(pool, 4 * MIB);
        assert_int_equal(pmb_set_fault_handler(repair, &n_told), 0);
        errno = 1;
        assert_true(touch(base + 6 * MIB + 5));
        assert_int_equal(errno, 1);
        assert_int_equal(base[6 * MIB + 5], 1);
        assert_int_equal(n_told, 1);
        assert_true(touch(base + 6 * MIB + 6));
        assert_int_equal(n_told, 1);
        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0);
        pmb_pool_close(pool);
}

static void test_passed_on(void **state)
{
        const struct sigaction action = {.sa_sigaction = earlier, .sa_flags = SA_SIGINFO};
        struct pmb_pool *pool = pool_of_size(SIZE);
        char *foreign = nothing();
        struct sigaction now;

        (void)state;
        begin();
        take_away(pool, 4 * MIB);
        assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
        assert_int_equal(pmb_set_fault_handler(refuse, NULL), 0);

        assert_false(touch(foreign)); /* no pool's */
        assert_int_equal(n_told, 0);
        assert_int_equal(n_before, 1);
        assert_false(touch((char *)pmb_pool_base(pool) + 4 * MIB)); /* not dealt with */
        assert_int_equal(n_told, 1);
        assert_int_equal(n_before, 2);

        /* Another one, without anybody between that and who was there first. */
        assert_int_equal(pmb_set_fault_handler(give_up, &told), 0);
        assert_false(touch((char *)pmb_pool_base(pool) + 4 * MIB));
        assert_int_equal(n_told, 2);
        assert_int_equal(n_before, 2);

        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0);
        assert_int_equal(sigaction(SIGBUS, NULL, &now), 0);
        assert_true(now.sa_sigaction == earlier);
        assert_false(touch((char *)pmb_pool_base(pool) + 4 * MIB));
        assert_int_equal(n_told, 2);
        assert_int_equal(n_before, 3);
        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0); /* once more does nothing */
        assert_int_equal(munmap(foreign, 4096), 0);
        pmb_pool_close(pool);
}

/* What somebody has sent is no fault, wherever it comes from. */
static void test_sent(void **state)
{
        (void)state;
        begin();
        assert_true(signal(SIGBUS, earlier_plain) != SIG_ERR);
        assert_int_equal(pmb_set_fault_handler(refuse, NULL), 0);
        assert_int_equal(raise(SIGBUS), 0);
        assert_int_equal(n_before, 1);
        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0);
        assert_disposition(earlier_plain);

        assert_true(signal(SIGBUS, SIG_IGN) != SIG_ERR);
        assert_int_equal(pmb_set_fault_handler(refuse, NULL), 0);
        assert_int_equal(raise(SIGBUS), 0);
        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0);
        assert_disposition(SIG_IGN);
        assert_int_equal(n_told, 0);
}

/* The number of the signal that ends a child that does this. */
static int ends_by(void (*what)(char *), char *p)
{
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                what(p);
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void do_touch(char *p)
{
        *(volatile char *)p = 1;
}

static void do_raise(char *p)
{
        (void)p;
        (void)raise(SIGBUS);
}

static void test_end(void **state)
{
        char *foreign = nothing();

        (void)state;
        begin();
        assert_int_equal(pmb_set_fault_handler(refuse, NULL), 0);
        assert_int_equal(ends_by(do_touch, foreign), SIGBUS);
        assert_int_equal(ends_by(do_raise, NULL), SIGBUS);
        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0);

        assert_true(signal(SIGBUS, SIG_IGN) != SIG_ERR); /* of which the kernel takes no notice */
        assert_int_equal(pmb_set_fault_handler(refuse, NULL), 0);
        assert_int_equal(ends_by(do_touch, foreign), SIGBUS);
        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0);
        assert_int_equal(munmap(foreign, 4096), 0);
}

/* Somebody who came later stays, and what he passes on to us goes on to who was there before. */
static void test_later(void **state)
{
        struct sigaction ours, later = {.sa_handler = earlier_plain};

        (void)state;
        begin();
        assert_int_equal(pmb_set_fault_handler(give_up, &told), 0);
        assert_int_equal(sigaction(SIGBUS, &later, &ours), 0);
        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0);
        assert_disposition(earlier_plain);
        assert_int_equal(sigaction(SIGBUS, &ours, NULL), 0);
        assert_int_equal(ends_by(do_raise, NULL), SIGBUS);
        assert_int_equal(pmb_set_fault_handler(give_up, &told), 0);
        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0);
        assert_disposition(SIG_DFL);

        /* Somebody took it away: it comes back. */
        assert_int_equal(pmb_set_fault_handler(give_up, &told), 0);
        assert_int_equal(sigaction(SIGBUS, NULL, &ours), 0);
        assert_true(signal(SIGBUS, SIG_DFL) != SIG_ERR);
        assert_int_equal(pmb_set_fault_handler(give_up, &told), 0);
        assert_int_equal(sigaction(SIGBUS, NULL, &later), 0);
        assert_ptr_equal(later.sa_sigaction, ours.sa_sigaction);
        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0);
        assert_disposition(SIG_DFL);
}

/* Faults while pools come and go beside them. */
static void *come_and_go(void *arg)
{
        atomic_bool *stop = arg;

        while (!atomic_load(stop))
                pmb_pool_close(pool_with_max(2 * MIB, 2 * MIB));
        return NULL;
}

static void test_beside_changes(void **state)
{
        struct pmb_pool *pool = pool_of_size(SIZE);
        atomic_bool stop = false;
        pthread_t thread;

        (void)state;
        begin();
        take_away(pool, 4 * MIB);
        assert_int_equal(pmb_set_fault_handler(give_up, &told), 0);
        assert_int_equal(pthread_create(&thread, NULL, come_and_go, &stop), 0);
        for (unsigned i = 0; i < 1000; i++) {
                assert_false(touch((char *)pmb_pool_base(pool) + 4 * MIB + i * 4096));
                assert_ptr_equal(told.pool, pool);
                assert_int_equal(told.offset, 4 * MIB + i * 4096);
        }
        atomic_store(&stop, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(n_told, 1000);
        assert_int_equal(pmb_set_fault_handler(NULL, NULL), 0);
        pmb_pool_close(pool);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_told),
                cmocka_unit_test(test_repaired),
                cmocka_unit_test(test_passed_on),
                cmocka_unit_test(test_sent),
                cmocka_unit_test(test_end),
                cmocka_unit_test(test_later),
                cmocka_unit_test(test_beside_changes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
