/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "provisioner/worker.h"

/* What the orders of this test mean, by `bytes`. */
enum {
        DO_ECHO,
        DO_WRITE_FILE,
        DO_COUNT_FDS,
        DO_EXIT,
        DO_KILL_SELF,
        DO_SLEEP_AND_WRITE,
        DO_SUM_RANGES,
        DO_GET_PID,
};

static void work(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result)
{
        switch (order->bytes) {
        case DO_ECHO:
                result->left = order->length;
                result->error = -(int)order->pool;
                break;
        case DO_SLEEP_AND_WRITE:
                (void)usleep(200000);
                /* fallthrough */
        case DO_WRITE_FILE:
                result->error = fds[WORK_FD_FILE] >= 0 ? (int)write(fds[WORK_FD_FILE], "file", 4) : 0;
                if (fds[WORK_FD_STORE] >= 0 && write(fds[WORK_FD_STORE], "store", 5) == 5)
                        result->left = 5;
                break;
        case DO_COUNT_FDS: {
                DIR *dir = opendir("/proc/self/fd");
                while (readdir(dir))
                        result->left++;
                result->left -= 3; /* itself, and the two dots */
                (void)closedir(dir);
                break;
        }
        case DO_EXIT:
                _exit(0);
        case DO_KILL_SELF:
                (void)raise(SIGKILL);
                break;
        case DO_SUM_RANGES:
                for (uint32_t i = 0; i < order->n; i++)
                        result->left += (uint64_t)order->ranges[i].first * order->ranges[i].count;
                break;
        case DO_GET_PID:
                result->left = (uint64_t)getpid();
                break;
        }
}

typedef struct Fixture {
        sd_event *event;
        Worker *worker;
        int called;
        bool gone;
        WorkResult result;
} Fixture;

static void on_done(Worker *worker, const WorkResult *result, void *userdata)
{
        Fixture *f = userdata;

        assert_ptr_equal(worker, f->worker);
        assert_false(worker->busy);
        f->called++;
        f->gone = !result;
        if (result)
                f->result = *result;
}

static Fixture fixture;

static int setup(void **state)
{
        Fixture *f = &fixture;

        memset(f, 0, sizeof(*f));
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(worker_new(f->event, work, on_done, f, &f->worker), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        Fixture *f = *state;

        assert_null(worker_free(f->worker));
        (void)sd_event_unref(f->event);
        return 0;
}

static const int no_fds[WORK_FDS_MAX] = {-EBADF, -EBADF};

static void wait_done(Fixture *f)
{
        int called = f->called;

        while (f->called == called)
                assert_true(sd_event_run(f->event, 5000000) > 0);
}

static const WorkResult *have_done(Fixture *f, const WorkOrder *order, const int fds[static WORK_FDS_MAX])
{
        assert_int_equal(worker_give(f->worker, order, fds), 0);
        assert_true(f->worker->busy);
        wait_done(f);
        assert_false(f->gone);
        return &f->result;
}

static void one_order_after_the_other(void **state)
{
        Fixture *f = *state;

        for (uint64_t i = 0; i < 100; i++) {
                const WorkResult *result =
                        have_done(f, &(WorkOrder){.bytes = DO_ECHO, .pool = i, .length = i * i}, no_fds);
                assert_int_equal(result->error, -(int)i);
                assert_int_equal(result->left, i * i);
        }
}

static void all_ranges_arrive(void **state)
{
        Fixture *f = *state;
        WorkOrder order = {.bytes = DO_SUM_RANGES, .n = JOB_RANGES_MAX};
        uint64_t sum = 0;

        for (uint32_t i = 0; i < JOB_RANGES_MAX; i++) {
                order.ranges[i] = (JobRange){.first = i, .count = UINT32_MAX};
                sum += (uint64_t)i * UINT32_MAX;
        }
        assert_true(have_done(f, &order, no_fds)->left == sum);
}

static void descriptors_arrive_in_their_places(void **state)
{
        Fixture *f = *state;
        _cleanup_close_ int a = memfd_create("a", MFD_CLOEXEC), b = memfd_create("b", MFD_CLOEXEC);
        const WorkOrder order = {.bytes = DO_WRITE_FILE};
        struct stat st;

        assert_int_equal(
                have_done(f, &order, (const int[]){[WORK_FD_FILE] = a, [WORK_FD_STORE] = b})->left, 5);
        assert_int_equal(f->result.error, 4);
        assert_int_equal(
                have_done(f, &order, (const int[]){[WORK_FD_FILE] = -EBADF, [WORK_FD_STORE] = b})->left, 5);
        assert_int_equal(f->result.error, 0);
        assert_int_equal(
                have_done(f, &order, (const int[]){[WORK_FD_FILE] = a, [WORK_FD_STORE] = -EBADF})->left, 0);
        assert_int_equal(f->result.error, 4);
        assert_int_equal(fstat(a, &st), 0);
        assert_int_equal(st.st_size, 8);
        assert_int_equal(fstat(b, &st), 0);
        assert_int_equal(st.st_size, 10);
}

static void it_holds_nothing_of_ours(void **state)
{
        Fixture *f = *state;
        _cleanup_close_ int a = memfd_create("a", MFD_CLOEXEC);

        /* Standard input, output and error, which lead nowhere, the socket, and what an order brings. */
        assert_int_equal(have_done(f, &(WorkOrder){.bytes = DO_COUNT_FDS}, no_fds)->left, 4);
        assert_int_equal(
                have_done(f, &(WorkOrder){.bytes = DO_COUNT_FDS}, (const int[]){a, -EBADF})->left, 5);
        assert_int_equal(have_done(f, &(WorkOrder){.bytes = DO_COUNT_FDS}, no_fds)->left, 4);
}

static void a_worker_that_ends(void **state)
{
        Fixture *f = *state;

        assert_int_equal(have_done(f, &(WorkOrder){.bytes = DO_EXIT}, no_fds)->error, -EIO);
        assert_true(f->worker->dead);
        assert_int_equal(f->called, 1);
}

static void a_worker_that_is_killed(void **state)
{
        Fixture *f = *state;

        assert_int_equal(have_done(f, &(WorkOrder){.bytes = DO_KILL_SELF}, no_fds)->error, -ENOMEM);
        assert_true(f->worker->dead);
}

static void an_idle_worker_that_is_killed(void **state)
{
        Fixture *f = *state;
        pid_t pid = (pid_t)have_done(f, &(WorkOrder){.bytes = DO_GET_PID}, no_fds)->left;

        assert_int_equal(kill(pid, SIGKILL), 0);
        wait_done(f);
        assert_true(f->gone && f->worker->dead);
        assert_int_equal(kill(pid, 0), -1); /* reaped */
}

static void a_worker_that_retires(void **state)
{
        Fixture *f = *state;
        pid_t pid = (pid_t)have_done(f, &(WorkOrder){.bytes = DO_GET_PID}, no_fds)->left;

        worker_retire(f->worker);
        wait_done(f);
        assert_true(f->gone);
        assert_int_equal(kill(pid, 0), -1);
}

static void it_finishes_what_it_does_without_us(void **state)
{
        Fixture *f = *state;
        _cleanup_close_ int a = memfd_create("a", MFD_CLOEXEC);
        pid_t pid = (pid_t)have_done(f, &(WorkOrder){.bytes = DO_GET_PID}, no_fds)->left;
        siginfo_t info = {};
        struct stat st;

        assert_int_equal(
                worker_give(f->worker, &(WorkOrder){.bytes = DO_SLEEP_AND_WRITE}, (const int[]){a, -EBADF}),
                0);
        f->worker = worker_free(f->worker);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
        assert_int_equal(info.si_code, CLD_EXITED);
        assert_int_equal(fstat(a, &st), 0);
        assert_int_equal(st.st_size, 4);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(one_order_after_the_other, setup, teardown),
                cmocka_unit_test_setup_teardown(all_ranges_arrive, setup, teardown),
                cmocka_unit_test_setup_teardown(descriptors_arrive_in_their_places, setup, teardown),
                cmocka_unit_test_setup_teardown(it_holds_nothing_of_ours, setup, teardown),
                cmocka_unit_test_setup_teardown(a_worker_that_ends, setup, teardown),
                cmocka_unit_test_setup_teardown(a_worker_that_is_killed, setup, teardown),
                cmocka_unit_test_setup_teardown(an_idle_worker_that_is_killed, setup, teardown),
                cmocka_unit_test_setup_teardown(a_worker_that_retires, setup, teardown),
                cmocka_unit_test_setup_teardown(it_finishes_what_it_does_without_us, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
