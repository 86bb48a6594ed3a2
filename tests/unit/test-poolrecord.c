/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "core/broker.h"
#include "ipc/poolrecord.h"

static Broker *broker;
static Pool *pool;

static int setup(void **state)
{
        static const TenantConfig tenant = {.name = "batch",
                .bytes_max = UINT64_MAX,
                .pools_max = UINT32_MAX,
                .pool_bytes_max = UINT64_MAX};
        static const StoreInfo store = {
                .name = "ram", .kind = STORE_TMPFS, .available = true, .capacity = 64 * POOL_UNIT};
        static const PeerIdentity peer = {
                .uid = 1000, .gid = 100, .pid = 4711, .start_time = 99, .unit = "", .cgroup = ""};
        Refusal refusal;
        Owner *owner;

        (void)state;
        assert_int_equal(broker_new(&broker), 0);
        assert_int_equal(broker_set_tenants(broker, &tenant, 1), 0);
        assert_int_equal(broker_set_stores(broker, &store, 1), 0);
        assert_int_equal(broker_owner_attach(broker, &peer, 1, "program", &owner), 0);
        assert_int_equal(broker_reserve_create(broker,
                                 &(CreateRequest){.peer = &peer,
                                         .owner = owner,
                                         .id = 0x1234,
                                         .size = 2 * POOL_UNIT,
                                         .max = 8 * POOL_UNIT,
                                         .store = "",
                                         .name = "label",
                                         .request_id = 77,
                                         .now_usec = 5},
                                 &pool, &refusal),
                RESULT_OK);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        broker = broker_free(broker);
        return 0;
}

static void what_is_written_is_read(void **state)
{
        PoolRecord written, read;

        (void)state;
        pool_record_encode(pool, &written);
        assert_int_equal(pool_record_decode(&written, sizeof(written), &read), 0);
        assert_int_equal(read.id, 0x1234);
        assert_int_equal(read.uid, 1000);
        assert_int_equal(read.gid, 100);
        assert_int_equal(read.pid, 4711);
        assert_int_equal(read.start_time, 99);
        assert_int_equal(read.max, 8 * POOL_UNIT);
        assert_int_equal(read.created, 5);
        assert_int_equal(read.request_id, 77);
        assert_string_equal(read.command, "program");
        assert_string_equal(read.name, "label");
        assert_string_equal(read.store, "ram");
        assert_string_equal(read.tenant, "batch");
}

static void every_cut_is_refused(void **state)
{
        PoolRecord written, read;

        (void)state;
        pool_record_encode(pool, &written);
        for (size_t n = 0; n < sizeof(written); n++)
                assert_int_equal(pool_record_decode(&written, n, &read), -EBADMSG);
}

static void foreign_and_newer_records(void **state)
{
        PoolRecord written, bad, read;

        (void)state;
        pool_record_encode(pool, &written);
        bad = written;
        bad.magic[0] = 'X';
        assert_int_equal(pool_record_decode(&bad, sizeof(bad), &read), -EBADMSG);
        bad = written;
        bad.version = POOL_RECORD_VERSION + 1;
        assert_int_equal(pool_record_decode(&bad, sizeof(bad), &read), -EPROTONOSUPPORT);
        /* whatever its size is */
        assert_int_equal(pool_record_decode(&bad, offsetof(PoolRecord, id), &read), -EPROTONOSUPPORT);
        bad = written;
        bad.version = 0;
        assert_int_equal(pool_record_decode(&bad, sizeof(bad), &read), -EBADMSG);
        bad = written;
        bad.size--;
        assert_int_equal(pool_record_decode(&bad, sizeof(bad), &read), -EBADMSG);
        bad = written;
        bad.id = 0;
        assert_int_equal(pool_record_decode(&bad, sizeof(bad), &read), -EBADMSG);
        bad = written;
        memset(bad.tenant, 'a', sizeof(bad.tenant));
        assert_int_equal(pool_record_decode(&bad, sizeof(bad), &read), -EBADMSG);
        bad = written;
        memset(bad.command, 'a', sizeof(bad.command));
        assert_int_equal(pool_record_decode(&bad, sizeof(bad), &read), -EBADMSG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(what_is_written_is_read, setup, teardown),
                cmocka_unit_test_setup_teardown(every_cut_is_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(foreign_and_newer_records, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
