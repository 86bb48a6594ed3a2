/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "provisioner/crew.h"

#define MSEC UINT64_C(1000)

/* An order hangs until its file can be read from or is hung up, if there is one; `length` comes back. */
static void work(const WorkOrder *order, const int fds[static WORK_FDS_MAX], WorkResult *result)
{
        struct pollfd p = {.fd = fds[WORK_FD_FILE], .events = POLLIN};

        if (p.fd >= 0)
                (void)poll(&p, 1, -1);
        result->left = order->op == WORK_TRUNCATE ? (uint64_t)getpid() : order->length;
}

typedef struct Told {
        int done;
        int late;
        WorkResult result;
} Told;

typedef struct Fixture {
        sd_event *event;
        Crew *crew;
        int gate[2]; /* closing gate[1] ends everything that hangs */
} Fixture;

static Fixture fixture;

static void on_done(void *userdata, const WorkResult *result)
{
        Told *told = userdata;

        told->done++;
        told->result = *result;
}

static void on_late(void *userdata)
{
        ((Told *)userdata)->late++;
}

static int setup(void **state)
{
        Fixture *f = &fixture;

        assert_int_equal(pipe2(f->gate, O_CLOEXEC), 0);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(crew_new(f->event, work, &f->crew), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        Fixture *f = *state;

        assert_null(crew_free(f->crew));
        (void)sd_event_unref(f->event);
        safe_close(f->gate[0]);
        safe_close(f->gate[1]);
        return 0;
}

static void submit(Fixture *f, uint64_t account, bool hangs, uint64_t usec, uint64_t number, Told *told)
{
        const WorkOrder order = {.op = WORK_EXTEND, .length = number};
        const int fds[WORK_FDS_MAX] = {hangs ? f->gate[0] : -EBADF, -EBADF};

        memset(told, 0, sizeof(*told));
        assert_int_equal(crew_submit(f->crew, account, &order, fds, usec, on_done, on_late, told), 0);
        assert_int_equal(told->done + told->late, 0);
}

static void wait_for(Fixture *f, const int *what)
{
        while (*what == 0)
                assert_true(sd_event_run(f->event, 5000 * MSEC) > 0);
}

static void run_for(Fixture *f, uint64_t usec)
{
        uint64_t now, end;

        assert_true(sd_event_now(f->event, CLOCK_MONOTONIC, &now) >= 0);
        for (end = now + usec; now < end;) {
                assert_true(sd_event_run(f->event, end - now) >= 0);
                assert_true(sd_event_now(f->event, CLOCK_MONOTONIC, &now) >= 0);
        }
}

static void many_orders(void **state)
{
        Fixture *f = *state;
        static Told told[1000];

        for (size_t i = 0; i < ELEMENTSOF(told); i++)
                submit(f, i % 7, false, 5000 * MSEC, i, &told[i]);
        for (size_t i = 0; i < ELEMENTSOF(told); i++) {
                wait_for(f, &told[i].done);
                assert_int_equal(told[i].result.error, 0);
                assert_int_equal(told[i].result.left, i);
        }
        for (size_t i = 0; i < ELEMENTSOF(told); i++)
                assert_int_equal(told[i].done, 1);
        assert_int_equal(crew_hung(f->crew), 0);
}

static void one_account_hangs(void **state)
{
        Fixture *f = *state;
        Told hangs[3], other[20];

        for (size_t i = 0; i < ELEMENTSOF(hangs); i++)
                submit(f, 1, true, 300 * MSEC, i, &hangs[i]);
        for (size_t i = 0; i < ELEMENTSOF(other); i++) {
                submit(f, 2, false, 5000 * MSEC, i, &other[i]);
                wait_for(f, &other[i].done);
        }
        assert_int_equal(hangs[0].late + hangs[1].late + hangs[2].done, 0);

        wait_for(f, &hangs[2].done);
        wait_for(f, &hangs[0].late);
        wait_for(f, &hangs[1].late);
        /* Two ran and are late, the third waited in vain. */
        assert_int_equal(hangs[0].done + hangs[1].done, 0);
        assert_int_equal(hangs[2].result.error, -ETIMEDOUT);
        assert_int_equal(crew_hung(f->crew), 2);

        /* They go on counting, for this account. */
        submit(f, 1, false, 200 * MSEC, 7, &hangs[2]);
        submit(f, 2, false, 200 * MSEC, 7, &other[0]);
        wait_for(f, &other[0].done);
        assert_int_equal(other[0].result.left, 7);
        wait_for(f, &hangs[2].done);
        assert_int_equal(hangs[2].result.error, -ETIMEDOUT);

        /* Their late answers are told, and the account is served again. */
        f->gate[1] = safe_close(f->gate[1]);
        wait_for(f, &hangs[0].done);
        wait_for(f, &hangs[1].done);
        assert_int_equal(hangs[0].result.error, 0);
        assert_int_equal(hangs[1].result.left, 1);
        assert_int_equal(crew_hung(f->crew), 0);
        submit(f, 1, false, 5000 * MSEC, 9, &hangs[2]);
        wait_for(f, &hangs[2].done);
        assert_int_equal(hangs[2].result.left, 9);
}

static void who_waits_runs_when_one_ends(void **state)
{
        Fixture *f = *state;
        Told hangs[2], waiting[3];

        for (size_t i = 0; i < ELEMENTSOF(hangs); i++)
                submit(f, 1, true, 5000 * MSEC, i, &hangs[i]);
        for (size_t i = 0; i < ELEMENTSOF(waiting); i++)
                submit(f, 1, false, 5000 * MSEC, i, &waiting[i]);
        run_for(f, 100 * MSEC);
        assert_int_equal(waiting[0].done, 0);
        f->gate[1] = safe_close(f->gate[1]);
        for (size_t i = 0; i < ELEMENTSOF(waiting); i++) {
                wait_for(f, &waiting[i].done);
                assert_int_equal(waiting[i].result.left, i);
        }
        assert_int_equal(hangs[0].late + hangs[1].late, 0);
}

static void different_times(void **state)
{
        Fixture *f = *state;
        Told slow, fast;

        submit(f, 1, true, 400 * MSEC, 0, &slow);
        submit(f, 2, true, 100 * MSEC, 0, &fast);
        wait_for(f, &fast.late);
        assert_int_equal(slow.late, 0);
        wait_for(f, &slow.late);
        assert_int_equal(crew_hung(f->crew), 2);
}

static void idle_workers_that_were_killed(void **state)
{
        Fixture *f = *state;
        const int fds[WORK_FDS_MAX] = {-EBADF, -EBADF};
        Told told = {};

        for (int i = 0; i < 3; i++) {
                told.done = 0;
                assert_int_equal(crew_submit(f->crew, 1, &(WorkOrder){.op = WORK_TRUNCATE}, fds, 5000 * MSEC,
                                         on_done, on_late, &told),
                        0);
                wait_for(f, &told.done);
                assert_int_equal(told.result.error, 0);
                pid_t pid = (pid_t)told.result.left;
                assert_int_equal(kill(pid, SIGKILL), 0);
                siginfo_t info;
                assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
                if (i == 1) /* the crew has noticed, or not */
                        run_for(f, 50 * MSEC);
        }
        submit(f, 1, false, 5000 * MSEC, 3, &told);
        wait_for(f, &told.done);
        assert_int_equal(told.result.left, 3);
}

static void orders_that_were_never_done(void **state)
{
        Fixture *f = *state;
        Told told[6];

        for (size_t i = 0; i < ELEMENTSOF(told); i++)
                submit(f, i % 2, true, i < 2 ? 10 * MSEC : 5000 * MSEC, i, &told[i]);
        wait_for(f, &told[0].late);
        /* teardown(): some hang, some run, some wait; nobody is called. */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(many_orders, setup, teardown),
                cmocka_unit_test_setup_teardown(one_account_hangs, setup, teardown),
                cmocka_unit_test_setup_teardown(who_waits_runs_when_one_ends, setup, teardown),
                cmocka_unit_test_setup_teardown(different_times, setup, teardown),
                cmocka_unit_test_setup_teardown(idle_workers_that_were_killed, setup, teardown),
                cmocka_unit_test_setup_teardown(orders_that_were_never_done, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
