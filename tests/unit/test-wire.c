/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <dirent.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "proto/wire.h"

static int a, b;

static int setup(void **state)
{
        int fds[2];

        (void)state;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
                return -1;
        a = fds[0];
        b = fds[1];
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        a = safe_close(a);
        b = safe_close(b);
        return 0;
}

static int count_fds(void)
{
        DIR *d = opendir("/proc/self/fd");
        int n = 0;

        assert_non_null(d);
        while (readdir(d))
                n++;
        closedir(d);
        return n;
}

static void send_fds(int n)
{
        char control[CMSG_SPACE(253 * sizeof(int))];
        struct iovec iov = {.iov_base = (void *)(uintptr_t) "x", .iov_len = 1};
        struct msghdr msg = {.msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control,
                .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int))};
        struct cmsghdr *c;
        int fds[253];

        memset(control, 0, sizeof(control));
        for (int i = 0; i < n; i++)
                fds[i] = STDERR_FILENO;
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)n * sizeof(int));
        assert_int_equal(sendmsg(a, &msg, 0), 1);
}

static void a_packet_and_its_fd_arrive(void **state)
{
        uint8_t data[8];
        int fd = 7;

        (void)state;
        assert_int_equal(wire_send(a, "hello", 5, STDERR_FILENO), 0);
        assert_int_equal(wire_recv(b, data, sizeof(data), &fd), 5);
        assert_memory_equal(data, "hello", 5);
        assert_true(fd >= 0);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        safe_close(fd);

        assert_int_equal(wire_send(a, "hello", 5, -1), 0);
        assert_int_equal(wire_recv(b, data, sizeof(data), &fd), 5);
        assert_int_equal(fd, -EBADF);
        assert_int_equal(wire_recv(b, data, sizeof(data), &fd), -EAGAIN);
}

static void unwanted_fds_end_it_and_do_not_leak(void **state)
{
        static const int counts[] = {1, 2, 3, 253};
        uint8_t data[8];
        int fd = -EBADF;

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
                int before = count_fds();

                send_fds(counts[i]);
                assert_int_equal(wire_recv(b, data, sizeof(data), NULL), -EBADMSG);
                assert_int_equal(count_fds(), before);
                send_fds(counts[i]);
                if (counts[i] == 1) {
                        assert_int_equal(wire_recv(b, data, sizeof(data), &fd), 1);
                        fd = safe_close(fd);
                } else {
                        assert_int_equal(wire_recv(b, data, sizeof(data), &fd), -EBADMSG);
                        assert_int_equal(fd, -EBADF);
                }
                assert_int_equal(count_fds(), before);
        }
}

static void sizes(void **state)
{
        static uint8_t data[WIRE_CLIENT_MAX + 1];

        (void)state;
        assert_int_equal(wire_send(a, data, WIRE_CLIENT_MAX, -1), 0);
        assert_int_equal(wire_recv(b, data, WIRE_CLIENT_MAX, NULL), WIRE_CLIENT_MAX);
        assert_int_equal(wire_send(a, data, WIRE_CLIENT_MAX + 1, -1), 0);
        assert_int_equal(wire_recv(b, data, WIRE_CLIENT_MAX, NULL), -EBADMSG);
        assert_int_equal(send(a, data, 0, 0), 0);
        assert_int_equal(wire_recv(b, data, WIRE_CLIENT_MAX, NULL), 0);
}

static void the_end(void **state)
{
        uint8_t data[8];

        (void)state;
        a = safe_close(a);
        assert_int_equal(wire_recv(b, data, sizeof(data), NULL), 0);
        assert_int_equal(wire_send(b, "x", 1, -1), -EPIPE);
        assert_true(wire_error_is_disconnect(-EPIPE));
        assert_false(wire_error_is_disconnect(-EAGAIN));
}

/* ---------------------------------------------------------------------------------------------- decoding */

static ssize_t encode_hello(uint8_t buf[static WIRE_CLIENT_MAX], uint64_t serial, const char *program)
{
        Pmbroker__V1__ClientPacket p = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__Hello h = PMBROKER__V1__HELLO__INIT;

        h.major = 1;
        h.program = (char *)(uintptr_t)program;
        p.serial = serial;
        p.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_HELLO;
        p.hello = &h;
        return wire_encode_client(&p, buf);
}

static int decode_hello(uint64_t serial, const char *program)
{
        uint8_t buf[WIRE_CLIENT_MAX];
        ssize_t n = encode_hello(buf, serial, program);
        Pmbroker__V1__ClientPacket *p;
        int r;

        assert_true(n >= 0);
        r = wire_decode_client(buf, (size_t)n, &p);
        if (r == 0) {
                assert_int_equal(p->serial, serial);
                assert_string_equal(p->hello->program, program);
                assert_null(wire_free_client(p));
        }
        return r;
}

static void strings_and_serials(void **state)
{
        char text[WIRE_STRING_MAX + 2];

        (void)state;
        assert_int_equal(decode_hello(1, "prog"), 0);
        assert_int_equal(decode_hello(UINT64_MAX, ""), 0);
        assert_int_equal(decode_hello(0, "prog"), -EBADMSG);
        memset(text, 'a', sizeof(text));
        text[WIRE_STRING_MAX] = '\0';
        assert_int_equal(decode_hello(1, text), 0);
        text[WIRE_STRING_MAX] = 'a';
        text[WIRE_STRING_MAX + 1] = '\0';
        assert_int_equal(decode_hello(1, text), -EBADMSG);
        assert_int_equal(decode_hello(1, "gr\xc3\xbc\xc3\x9f"), 0);
        assert_int_equal(decode_hello(1, "\xe2\x82\xac \xf0\x9f\x8d\xba"), 0);
        assert_int_equal(decode_hello(1, "a\nb"), -EBADMSG);
        assert_int_equal(decode_hello(1, "\x1b[31m"), -EBADMSG);
        assert_int_equal(decode_hello(1, "\x7f"), -EBADMSG);
        assert_int_equal(decode_hello(1, "\xc2\x85"), -EBADMSG);     /* C1 control */
        assert_int_equal(decode_hello(1, "\xff"), -EBADMSG);         /* never in UTF-8 */
        assert_int_equal(decode_hello(1, "\xc0\xaf"), -EBADMSG);     /* overlong */
        assert_int_equal(decode_hello(1, "\xe0\x80\xaf"), -EBADMSG); /* overlong */
        assert_int_equal(decode_hello(1, "\xed\xa0\x80"), -EBADMSG); /* surrogate */
        assert_int_equal(decode_hello(1, "\xf4\x90\x80\x80"), -EBADMSG);
        assert_int_equal(decode_hello(1, "\xe2\x82"), -EBADMSG); /* cut */
}

static void every_cut_packet_is_refused_or_whole(void **state)
{
        uint8_t buf[WIRE_CLIENT_MAX];
        ssize_t n = encode_hello(buf, 5, "program");

        (void)state;
        for (ssize_t i = 0; i < n; i++) {
                Pmbroker__V1__ClientPacket *p;
                int r = wire_decode_client(buf, (size_t)i, &p);

                if (r == 0) {
                        assert_int_equal(p->serial, 5);
                        wire_free_client(p);
                } else
                        assert_int_equal(r, -EBADMSG);
        }
}

static void unknown_fields_have_a_budget(void **state)
{
        uint8_t buf[WIRE_CLIENT_MAX];
        size_t n = (size_t)encode_hello(buf, 5, "p");
        Pmbroker__V1__ClientPacket *p;

        (void)state;
        /* Field 100 of varint type: 3 bytes each. A few are a newer client's, hundreds are an attack. */
        for (unsigned i = 0; i < 20; i++, n += 3)
                memcpy(buf + n, "\xa0\x06\x01", 3);
        assert_int_equal(wire_decode_client(buf, n, &p), 0);
        wire_free_client(p);
        for (; n + 3 <= sizeof(buf); n += 3)
                memcpy(buf + n, "\xa0\x06\x01", 3);
        assert_int_equal(wire_decode_client(buf, n, &p), -EBADMSG);
}

static void many_ranges_fit_the_budget(void **state)
{
        uint8_t buf[WIRE_CLIENT_MAX];
        Pmbroker__V1__ClientPacket p = PMBROKER__V1__CLIENT_PACKET__INIT, *q;
        Pmbroker__V1__GiveBack g = PMBROKER__V1__GIVE_BACK__INIT;
        Pmbroker__V1__UnitRange ranges[WIRE_UNIT_RANGES_MAX], *pointers[WIRE_UNIT_RANGES_MAX];
        ssize_t n;

        (void)state;
        for (size_t i = 0; i < WIRE_UNIT_RANGES_MAX; i++) {
                pmbroker__v1__unit_range__init(&ranges[i]);
                ranges[i].first = (uint32_t)(UINT32_MAX - 1000 + i);
                ranges[i].count = UINT32_MAX;
                pointers[i] = &ranges[i];
        }
        g.pool = UINT64_MAX;
        g.n_units = WIRE_UNIT_RANGES_MAX;
        g.units = pointers;
        p.serial = p.request_id = UINT64_MAX;
        p.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_GIVE_BACK;
        p.give_back = &g;
        n = wire_encode_client(&p, buf);
        assert_true(n > 0);
        assert_int_equal(wire_decode_client(buf, (size_t)n, &q), 0);
        assert_int_equal(q->give_back->n_units, WIRE_UNIT_RANGES_MAX);
        wire_free_client(q);
}

static void an_unknown_body_is_no_body(void **state)
{
        uint8_t buf[] = {0x08, 0x05, 0xa2, 0x06, 0x00}; /* serial 5, field 100 an empty message */
        Pmbroker__V1__ClientPacket *p;

        (void)state;
        assert_int_equal(wire_decode_client(buf, sizeof(buf), &p), 0);
        assert_int_equal(p->body_case, PMBROKER__V1__CLIENT_PACKET__BODY__NOT_SET);
        wire_free_client(p);
}

static void random_bytes(void **state)
{
        uint64_t x = 88172645463325252u;
        unsigned good = 0;

        (void)state;
        for (unsigned i = 0; i < 200000; i++) {
                uint8_t buf[64];
                Pmbroker__V1__ClientPacket *p;
                Pmbroker__V1__ServerPacket *q;
                size_t n;

                for (size_t k = 0; k < sizeof(buf); k++) {
                        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                        buf[k] = (uint8_t)x;
                }
                buf[0] = 0x08; /* a serial makes the rest worth reading */
                n = x % sizeof(buf);
                if (wire_decode_client(buf, n, &p) == 0) {
                        good++;
                        wire_free_client(p);
                }
                if (wire_decode_server(buf, n, &q) == 0)
                        wire_free_server(q);
        }
        assert_true(good > 0);
}

static void encoding_has_a_limit(void **state)
{
        uint8_t buf[WIRE_CLIENT_MAX];
        static char text[WIRE_CLIENT_MAX + 1];

        (void)state;
        memset(text, 'a', WIRE_CLIENT_MAX);
        assert_int_equal(encode_hello(buf, 1, text), -EMSGSIZE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_packet_and_its_fd_arrive, setup, teardown),
                cmocka_unit_test_setup_teardown(unwanted_fds_end_it_and_do_not_leak, setup, teardown),
                cmocka_unit_test_setup_teardown(sizes, setup, teardown),
                cmocka_unit_test_setup_teardown(the_end, setup, teardown),
                cmocka_unit_test(strings_and_serials),
                cmocka_unit_test(every_cut_packet_is_refused_or_whole),
                cmocka_unit_test(unknown_fields_have_a_budget),
                cmocka_unit_test(many_ranges_fit_the_budget),
                cmocka_unit_test(an_unknown_body_is_no_body),
                cmocka_unit_test(random_bytes),
                cmocka_unit_test(encoding_has_a_limit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
