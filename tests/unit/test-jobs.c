/* SPDX-License-Identifier: BSD-3-Clause */
/* The broker's end of the job protocol against a provisioner that this test plays itself, in the same thread. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ipc/jobs.h"
#include "log.h"
#include "proto/wire.h"

static char dir[] = "/tmp/pmbroker-test-jobs-XXXXXX";
static char path[128];
static sd_event *event;
static Jobs *jobs;
static int listener, peer;

static unsigned n_connected, n_disconnected, n_events, n_replies;
static JobReply last;
static int last_fd;
static JobUsage last_tail;

static void on_connected(void *userdata)
{
        (void)userdata;
        n_connected++;
}

static void on_disconnected(void *userdata)
{
        (void)userdata;
        n_disconnected++;
}

static void on_event(const JobReply *e, const void *tail, void *userdata)
{
        (void)tail;
        (void)userdata;
        last = *e;
        n_events++;
}

static void on_reply(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        assert_ptr_equal(userdata, &last);
        last = *reply;
        if (reply->kind == JOB_USAGE && reply->n > 0)
                memcpy(&last_tail, tail, sizeof(last_tail));
        last_fd = TAKE_FD(*fd);
        n_replies++;
}

static void run_until(const unsigned *counter, unsigned value)
{
        for (unsigned i = 0; i < 500 && *counter < value; i++)
                assert_true(sd_event_run(event, 10 * 1000) >= 0);
        assert_int_equal(*counter, value);
}

static void accept_peer(void)
{
        unsigned before = n_connected;

        run_until(&n_connected, before + 1);
        peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(peer >= 0);
}

static int setup(void **state)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        (void)state;
        n_connected = n_disconnected = n_events = n_replies = 0;
        log_set_level(LOG_ERR);
        strcpy(dir, "/tmp/pmbroker-test-jobs-XXXXXX");
        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof(path), "%s/jobs", dir);
        strcpy(address.sun_path, path);
        listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(listener, 5), 0);
        assert_int_equal(sd_event_new(&event), 0);
        assert_int_equal(jobs_new(event, path,
                                 &(JobsHooks){.connected = on_connected,
                                         .disconnected = on_disconnected,
                                         .event = on_event},
                                 &jobs),
                0);
        assert_int_equal(n_connected, 0); /* no hook from within */
        assert_false(jobs_is_connected(jobs));
        accept_peer();
        assert_true(jobs_is_connected(jobs));
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        jobs = jobs_free(jobs);
        event = sd_event_unref(event);
        safe_close(peer);
        safe_close(listener);
        unlink(path);
        rmdir(dir);
        return 0;
}

static JobRequest receive(size_t tail_size)
{
        uint8_t data[JOB_PACKET_MAX];
        JobRequest request;

        assert_int_equal(recv(peer, data, sizeof(data), 0), sizeof(request) + tail_size);
        memcpy(&request, data, sizeof(request));
        assert_int_equal(request.version, JOB_VERSION);
        assert_true(request.serial > 0);
        return request;
}

static int send_job(JobKind kind, uint64_t pool)
{
        JobRequest request = {.kind = kind, .pool = pool};

        return jobs_send(jobs, NULL, &request, NULL, 0, on_reply, &last);
}

static void replies_find_their_job(void **state)
{
        JobRequest one, two;
        JobReply reply;

        (void)state;
        assert_int_equal(send_job(JOB_GROW, 1), 0);
        assert_int_equal(send_job(JOB_RELEASE, 2), 0);
        assert_int_equal(n_replies, 0);
        one = receive(0);
        two = receive(0);
        assert_int_not_equal(one.serial, two.serial);

        /* the other way round */
        reply = (JobReply){
                .version = JOB_VERSION, .kind = JOB_RELEASE, .serial = two.serial, .pool = 2, .error = -EIO};
        assert_int_equal(wire_send(peer, &reply, sizeof(reply), -1), 0);
        run_until(&n_replies, 1);
        assert_int_equal(last.pool, 2);
        assert_int_equal(last.error, -EIO);
        assert_int_equal(last_fd, -EBADF);
        reply = (JobReply){.version = JOB_VERSION, .kind = JOB_GROW, .serial = one.serial, .pool = 1};
        assert_int_equal(wire_send(peer, &reply, sizeof(reply), STDERR_FILENO), 0);
        run_until(&n_replies, 2);
        assert_int_equal(last.pool, 1);
        assert_true(last_fd >= 0);
        safe_close(last_fd);
}

static void a_tail_and_an_event(void **state)
{
        struct {
                JobReply reply;
                JobUsage usage;
        } packet = {.reply = {.version = JOB_VERSION, .kind = JOB_USAGE, .n = 1},
                .usage = {.pool = 7, .used = 9}};
        JobReply e = {.version = JOB_VERSION, .kind = JOB_EVENT_AUDIT, .pool = 5, .used = 3};
        JobRequest request = {.kind = JOB_USAGE, .n = 1};
        uint64_t id = 7;

        (void)state;
        assert_int_equal(jobs_send(jobs, NULL, &request, &id, sizeof(id), on_reply, &last), 0);
        packet.reply.serial = receive(sizeof(id)).serial;
        assert_int_equal(wire_send(peer, &packet, sizeof(packet), -1), 0);
        run_until(&n_replies, 1);
        assert_int_equal(last_tail.pool, 7);
        assert_int_equal(last_tail.used, 9);
        assert_int_equal(wire_send(peer, &e, sizeof(e), -1), 0);
        run_until(&n_events, 1);
        assert_int_equal(last.pool, 5);
}

static void the_end_calls_back_and_connects_again(void **state)
{
        (void)state;
        assert_int_equal(send_job(JOB_GROW, 1), 0);
        assert_int_equal(send_job(JOB_GROW, 2), 0);
        peer = safe_close(peer);
        run_until(&n_disconnected, 1);
        assert_int_equal(n_replies, 2);
        assert_int_equal(last.error, -ECONNRESET);
        assert_int_equal(send_job(JOB_GROW, 3), -ENOTCONN);
        accept_peer();
        assert_int_equal(n_connected, 2);
        assert_int_equal(send_job(JOB_GROW, 4), 0);
        assert_int_equal(receive(0).pool, 4);
        jobs = jobs_free(jobs);
        assert_int_equal(n_replies, 3);
        assert_int_equal(last.error, -ECANCELED);
}

/* Each of these ends the connection and is called back as such, and a new one is made. */
static void what_is_not_of_the_protocol(void **state)
{
        (void)state;
        for (unsigned i = 0; i < 6; i++) {
                JobReply reply = {.version = JOB_VERSION, .kind = JOB_GROW};
                size_t size = sizeof(reply);

                n_replies = n_disconnected = 0;
                assert_int_equal(send_job(JOB_GROW, 1), 0);
                reply.serial = receive(0).serial;
                switch (i) {
                case 0:
                        size--;
                        break;
                case 1:
                        reply.version++;
                        break;
                case 2:
                        reply.serial++; /* nobody asked */
                        break;
                case 3:
                        reply.kind = JOB_SHRINK; /* something else was asked */
                        break;
                case 4:
                        reply.n = 1; /* a tail that is not there */
                        break;
                case 5:
                        reply.kind = JOB_POOLS;
                        reply.n = UINT32_MAX;
                        break;
                }
                assert_int_equal(wire_send(peer, &reply, size, -1), 0);
                run_until(&n_disconnected, 1);
                assert_int_equal(n_replies, 1);
                assert_int_equal(last.error, -ECONNRESET);
                peer = safe_close(peer);
                accept_peer();
        }
}

/* One that accepts and hangs up at once is not to be bothered more often than one that is not there. */
static void one_that_hangs_up_is_left_alone(void **state)
{
        uint64_t begin, now;

        (void)state;
        assert_true(sd_event_now(event, CLOCK_MONOTONIC, &begin) >= 0);
        for (unsigned i = 0; i < 6; i++) {
                peer = safe_close(peer);
                accept_peer();
        }
        assert_int_equal(n_connected, 7);
        assert_true(sd_event_now(event, CLOCK_MONOTONIC, &now) >= 0);
        assert_true(now - begin >= (10 + 20 + 40 + 80 + 160) * 1000);
}

static void a_socket_that_is_full(void **state)
{
        unsigned sent = 0;

        (void)state;
        /* More than the socket holds: what does not fit waits, in order. */
        for (; sent < 5000; sent++)
                assert_int_equal(send_job(JOB_GROW, sent + 1), 0);
        for (unsigned i = 0; i < sent; i++) {
                JobRequest request;
                JobReply reply = {.version = JOB_VERSION, .kind = JOB_GROW};

                for (unsigned k = 0; k < 100; k++) {
                        ssize_t n = recv(peer, &request, sizeof(request), MSG_DONTWAIT);

                        if (n == sizeof(request))
                                break;
                        assert_true(sd_event_run(event, 1000) >= 0);
                }
                assert_int_equal(request.pool, i + 1);
                reply.serial = request.serial;
                assert_int_equal(wire_send(peer, &reply, sizeof(reply), -1), 0);
                assert_true(sd_event_run(event, 0) >= 0);
        }
        run_until(&n_replies, sent);
}

static int send_in_line(JobLine *line, uint64_t pool)
{
        JobRequest request = {.kind = JOB_GROW, .pool = pool};

        return jobs_send(jobs, line, &request, NULL, 0, on_reply, &last);
}

static void answer(uint64_t serial)
{
        JobReply reply = {.version = JOB_VERSION, .kind = JOB_GROW, .serial = serial};
        unsigned before = n_replies;

        assert_int_equal(wire_send(peer, &reply, sizeof(reply), -1), 0);
        run_until(&n_replies, before + 1);
}

static bool something_came(void)
{
        uint8_t byte;

        return recv(peer, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Of one line so many are under way; another line's, and those of no line, do not wait for them. */
static void a_line_goes_by_its_window(void **state)
{
        static JobLine one, other; /* there until teardown() has ended the last */
        uint64_t serials[3];

        (void)state;
        jobline_init(&one, 2);
        jobline_init(&other, 1);
        for (uint64_t i = 1; i <= 5; i++)
                assert_int_equal(send_in_line(&one, i), 0);
        assert_int_equal(send_in_line(&other, 11), 0);
        assert_int_equal(send_in_line(&other, 12), 0);
        assert_int_equal(send_job(JOB_GROW, 21), 0);
        for (unsigned i = 0; i < 2; i++) {
                JobRequest request = receive(0);

                assert_int_equal(request.pool, i + 1);
                serials[i] = request.serial;
        }
        assert_int_equal(receive(0).pool, 11);
        serials[2] = receive(0).serial;
        assert_false(something_came());
        assert_int_equal(one.under_way, 2);

        answer(serials[2]);
        assert_false(something_came());
        answer(serials[1]);
        assert_int_equal(receive(0).pool, 3);
        answer(serials[0]);
        assert_int_equal(receive(0).pool, 4);
        assert_false(something_came());
        assert_false(jobline_is_idle(&one));

        /* the end calls back those who wait, too */
        n_replies = 0;
        peer = safe_close(peer);
        run_until(&n_disconnected, 1);
        assert_int_equal(n_replies, 3 + 2);
        assert_int_equal(last.error, -ECONNRESET);
        assert_true(jobline_is_idle(&one) && jobline_is_idle(&other));
        accept_peer();
        assert_int_equal(send_in_line(&one, 6), 0);
        assert_int_equal(receive(0).pool, 6);
}

/* A reply to what was never asked is not one. */
static void nobody_answers_before_he_is_asked(void **state)
{
        JobReply reply = {.version = JOB_VERSION, .kind = JOB_GROW};
        JobLine line;

        (void)state;
        jobline_init(&line, 1);
        assert_int_equal(send_in_line(&line, 1), 0);
        assert_int_equal(send_in_line(&line, 2), 0);
        reply.serial = receive(0).serial + 1;
        assert_int_equal(wire_send(peer, &reply, sizeof(reply), -1), 0);
        run_until(&n_disconnected, 1);
        assert_int_equal(n_replies, 2);
        assert_int_equal(last.error, -ECONNRESET);
}

static JobLine awaited;

static void on_lost(const JobReply *reply, const void *tail, int *fd, void *userdata)
{
        (void)reply;
        (void)tail;
        (void)fd;
        (void)userdata;
        n_replies++;
        assert_int_equal(jobline_is_idle(&awaited), n_replies == 3);
}

/* Who is told of an end may let go of everybody whose line is idle; he who is still to be told is not. */
static void a_line_is_in_use_until_its_last_callback(void **state)
{
        JobLine first;
        JobLine *const lines[] = {&first, &awaited, &awaited};

        (void)state;
        jobline_init(&first, 1);
        jobline_init(&awaited, 1); /* of its two, one waits */
        for (size_t i = 0; i < ELEMENTSOF(lines); i++)
                assert_int_equal(
                        jobs_send(jobs, lines[i], &(JobRequest){.kind = JOB_GROW}, NULL, 0, on_lost, NULL),
                        0);
        peer = safe_close(peer);
        run_until(&n_disconnected, 1);
        assert_int_equal(n_replies, 3);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(replies_find_their_job, setup, teardown),
                cmocka_unit_test_setup_teardown(a_tail_and_an_event, setup, teardown),
                cmocka_unit_test_setup_teardown(the_end_calls_back_and_connects_again, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_not_of_the_protocol, setup, teardown),
                cmocka_unit_test_setup_teardown(one_that_hangs_up_is_left_alone, setup, teardown),
                cmocka_unit_test_setup_teardown(a_socket_that_is_full, setup, teardown),
                cmocka_unit_test_setup_teardown(a_line_goes_by_its_window, setup, teardown),
                cmocka_unit_test_setup_teardown(nobody_answers_before_he_is_asked, setup, teardown),
                cmocka_unit_test_setup_teardown(a_line_is_in_use_until_its_last_callback, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
