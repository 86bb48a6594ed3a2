/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ipc/peer.h"
#include "ipc/user.h"

static void it_is_me(void **state)
{
        _cleanup_close_ int a = -EBADF, b = -EBADF;
        int fds[2];
        Peer p;

        (void)state;
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
        a = fds[0];
        b = fds[1];
        /* A name that would fool a parser that looks for the first parenthesis or for blanks. */
        assert_int_equal(prctl(PR_SET_NAME, "a) R 1 (\033x"), 0);
        assert_int_equal(peer_identify(a, /* want_unit= */ true, &p), 0);
        assert_int_equal(p.identity.uid, getuid());
        assert_int_equal(p.identity.gid, getgid());
        assert_int_equal(p.identity.pid, getpid());
        assert_true(p.identity.start_time > 0);
        assert_string_equal(p.command, "a) R 1 (?x");
        assert_true(p.pidfd >= 0);
        assert_non_null(p.identity.unit);
        assert_non_null(p.identity.cgroup);

        /* The same process is found again, another is not taken for it. */
        {
                int fd = peer_open_process(p.identity.pid, p.identity.start_time);

                assert_true(fd >= 0);
                safe_close(fd);
                assert_int_equal(peer_open_process(p.identity.pid, p.identity.start_time + 1), -ESRCH);
        }
        peer_deinit(&p);
        assert_int_equal(p.pidfd, -EBADF);
        peer_deinit(&p); /* twice is harmless */
}

static void it_is_gone(void **state)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_close_ int listener = -EBADF, fd = -EBADF;
        socklen_t size = sizeof(address.sun_family);
        Peer p;
        pid_t pid;

        (void)state;
        /* An autobound abstract name: the test needs no file. */
        listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
        size = sizeof(address);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
        assert_int_equal(listen(listener, 1), 0);
        pid = fork();
        if (pid == 0) {
                int c = socket(AF_UNIX, SOCK_SEQPACKET, 0);

                _exit(connect(c, (struct sockaddr *)&address, size) < 0);
        }
        assert_true(pid > 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(peer_identify(fd, false, &p), -ESRCH);
}

static void users_are_remembered_while_they_matter(void **state)
{
        Users *users;
        User *a, *b;

        (void)state;
        assert_int_equal(users_new(&users), 0);
        a = users_get(users, 1000, 10, 2, 0);
        assert_non_null(a);
        a->n_sessions = 1;
        assert_ptr_equal(users_get(users, 1000, 10, 2, 0), a);
        assert_true(ratelimit_take(&a->requests, 0));
        assert_true(ratelimit_take(&a->requests, 0));
        a->n_sessions = 0;
        /* Leaving and coming back does not fill the bucket. */
        b = users_get(users, 1001, 10, 2, 0);
        assert_non_null(b);
        a = users_get(users, 1000, 10, 2, 0);
        assert_false(ratelimit_take(&a->requests, 0));
        /* Once it is full, nothing is lost by forgetting; a new one has the same. */
        assert_non_null(users_get(users, 1002, 10, 2, 10000000));
        a = users_get(users, 1000, 10, 2, 10000000);
        assert_true(ratelimit_take(&a->requests, 10000000));
        assert_null(users_free(users));
        assert_null(users_free(NULL));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(it_is_me),
                cmocka_unit_test(it_is_gone),
                cmocka_unit_test(users_are_remembered_while_they_matter),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
