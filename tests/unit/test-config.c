/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration as a whole: what settings there are, what they may be together, and how it is shown. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <grp.h>
#include <unistd.h>

#include "base/parse.h"
#include "config-fixture.h"

/* ------------------------------------------------------------------------------------------- the whole */

static void test_defaults(void **state)
{
        Fixture *t = *state;
        _cleanup_(cleanup_config_free) Config *config = load(t);
        const struct group *admin = getgrnam("pmbroker-admin");
        const TenantConfig *tenant;

        assert_int_equal(config->limits.sessions_max, 4096);
        assert_int_equal(config->limits.sessions_per_uid, 256);
        assert_int_equal(config->limits.sessions_reserved, 8);
        assert_int_equal(config->limits.requests_per_sec, 200);
        assert_int_equal(config->limits.requests_burst, 1000);
        assert_int_equal(config->limits.hello_timeout_usec, 10000000);
        assert_int_equal(config->limits.unread_timeout_usec, 30000000);
        assert_int_equal(config->limits.reconnect_usec, 10000000);
        assert_int_equal(config->limits.shrink_usec, 30000000);
        assert_string_equal(config->admin_group, admin ? "pmbroker-admin" : "");
        assert_int_equal(config->admin_gid, admin ? admin->gr_gid : (uint32_t)-1);

        assert_int_equal(config->n_stores, 1);
        assert_string_equal(config->stores[0].name, "ram");
        assert_int_equal(config->stores[0].kind, JOB_STORE_TMPFS);
        assert_int_equal(config->stores[0].size, 0);
        assert_int_equal(config->stores[0].percent, 25);
        assert_null(config->stores[0].path);
        assert_int_equal(config->stores[0].huge, HUGE_WITHIN_SIZE);
        assert_false(config->stores[0].allocate);

        assert_int_equal(config->n_tenants, 1);
        tenant = &config->tenants[0];
        assert_string_equal(tenant->name, "default");
        assert_int_equal(tenant->n_matches, 0);
        assert_true(tenant->bytes_max == UINT64_MAX);
        assert_int_equal(tenant->percent, 25);
        assert_int_equal(tenant->pools_max, 1024);
        assert_true(tenant->pool_bytes_max == UINT64_MAX);
        assert_null(tenant->stores);
        assert_int_equal(tenant->n_stores, 0);
}

/* Everything set, nothing to its default: each setting reaches its own field. */
static void test_fields(void **state)
{
        Fixture *t = *state;
        _cleanup_(cleanup_config_free) Config *config = load_text(t, "[Broker]\n"
                                                                     "AdminGroup=root\n"
                                                                     "SessionsMax=101\n"
                                                                     "SessionsPerUser=102\n"
                                                                     "SessionsReserved=3\n"
                                                                     "RequestsPerSecond=104\n"
                                                                     "RequestsBurst=105\n"
                                                                     "HelloTimeoutSec=106\n"
                                                                     "UnreadTimeoutSec=107s\n"
                                                                     "ReconnectSec=108ms\n"
                                                                     "ShrinkTimeoutSec=9min\n"
                                                                     "DefaultTenant=no\n"
                                                                     "[Store fast]\n"
                                                                     "Type=tmpfs\n"
                                                                     "Size=1.5G\n"
                                                                     "HugePages=advise\n"
                                                                     "Allocate=create\n"
                                                                     "[Store slow]\n"
                                                                     "Type=dir\n"
                                                                     "Size=7%\n"
                                                                     "Path=/var//lib/pools/\n"
                                                                     "[Tenant batch]\n"
                                                                     "User=root 12345\n"
                                                                     "Group=daemon\n"
                                                                     "Unit=batch.service  batch@?.service\n"
                                                                     "Slice=batch*\n"
                                                                     "Bytes=8G 50%\n"
                                                                     "Pools=17\n"
                                                                     "PoolBytes=64M\n"
                                                                     "Stores=slow fast\n"
                                                                     "[Tenant other]\n"
                                                                     "User=54321\n");
        const TenantConfig *tenant;

        assert_string_equal(config->admin_group, "root");
        assert_int_equal(config->admin_gid, 0);
        assert_int_equal(config->limits.sessions_max, 101);
        assert_int_equal(config->limits.sessions_per_uid, 102);
        assert_int_equal(config->limits.sessions_reserved, 3);
        assert_int_equal(config->limits.requests_per_sec, 104);
        assert_int_equal(config->limits.requests_burst, 105);
        assert_int_equal(config->limits.hello_timeout_usec, 106 * USEC_PER_SEC);
        assert_int_equal(config->limits.unread_timeout_usec, 107 * USEC_PER_SEC);
        assert_int_equal(config->limits.reconnect_usec, 108000);
        assert_int_equal(config->limits.shrink_usec, 9 * 60 * USEC_PER_SEC);

        assert_int_equal(config->n_stores, 2);
        assert_string_equal(config->stores[0].name, "fast");
        assert_int_equal(config->stores[0].kind, JOB_STORE_TMPFS);
        assert_int_equal(config->stores[0].size, 1536 * MIB);
        assert_int_equal(config->stores[0].percent, 0);
        assert_int_equal(config->stores[0].huge, HUGE_ADVISE);
        assert_true(config->stores[0].allocate);
        assert_string_equal(config->stores[1].name, "slow");
        assert_int_equal(config->stores[1].kind, JOB_STORE_DIR);
        assert_int_equal(config->stores[1].size, 0);
        assert_int_equal(config->stores[1].percent, 7);
        assert_string_equal(config->stores[1].path, "/var/lib/pools");

        assert_int_equal(config->n_tenants, 2);
        tenant = &config->tenants[0];
        assert_string_equal(tenant->name, "batch");
        assert_int_equal(tenant->n_matches, 6);
        assert_int_equal(tenant->matches[0].kind, MATCH_USER);
        assert_int_equal(tenant->matches[0].id, 0);
        assert_int_equal(tenant->matches[1].kind, MATCH_USER);
        assert_int_equal(tenant->matches[1].id, 12345);
        assert_int_equal(tenant->matches[2].kind, MATCH_GROUP);
        assert_int_equal(tenant->matches[2].id, getgrnam("daemon")->gr_gid);
        assert_int_equal(tenant->matches[3].kind, MATCH_UNIT);
        assert_string_equal(tenant->matches[3].glob, "batch.service");
        assert_int_equal(tenant->matches[4].kind, MATCH_UNIT);
        assert_string_equal(tenant->matches[4].glob, "batch@?.service");
        assert_int_equal(tenant->matches[5].kind, MATCH_SLICE);
        assert_string_equal(tenant->matches[5].glob, "batch*");
        assert_int_equal(tenant->bytes_max, 8 * GIB);
        assert_int_equal(tenant->percent, 50);
        assert_int_equal(tenant->pools_max, 17);
        assert_int_equal(tenant->pool_bytes_max, 64 * MIB);
        assert_int_equal(tenant->n_stores, 2);
        assert_string_equal(tenant->stores[0], "slow");
        assert_string_equal(tenant->stores[1], "fast");
        assert_string_equal(config->tenants[1].name, "other");
}

static void test_missing_file(void **state)
{
        Fixture *t = *state;
        char path[192];

        expect_message(t, -ENOENT, "p.conf: No such file or directory");
        /* Its drop-ins count nevertheless when it need not exist. */
        write_file(t, "p.conf.d/a.conf", "[Broker]\nSessionsMax=77\n");
        {
                _cleanup_(cleanup_config_free) Config *config = load(t);

                assert_int_equal(config->limits.sessions_max, 77);
        }
        assert_int_equal(mkdir(t->main_file, 0755), 0);
        expect_message(t, -EINVAL, "p.conf: not a regular file");
        assert_int_equal(rmdir(t->main_file), 0);
        assert_int_equal(mkfifo(t->main_file, 0600), 0);
        expect_message(t, -EINVAL, "p.conf: not a regular file");
        assert_int_equal(unlink(t->main_file), 0);

        write_file(t, "p.conf", "");
        (void)snprintf(path, sizeof(path), "%s/p.conf.d/b.conf", t->directory);
        assert_int_equal(symlink("nowhere", path), 0);
        expect_message(t, -ENOENT, "p.conf.d/b.conf: No such file or directory");
}

static void test_free_null(void **state)
{
        (void)state;
        assert_null(config_free(NULL));
}

/* -------------------------------------------------------------------------------------- across settings */

static void test_cross_checks(void **state)
{
        Fixture *t = *state;
        char text[4096], *p = text;

        takes(t, "SessionsReserved", "8", "8");
        expect_refusal(t, "[Broker]\nSessionsMax=8\n",
                "p.conf:2: [Broker] SessionsMax=: SessionsReserved=8 leaves nothing of SessionsMax=8");
        expect_refusal(t, "[Broker]\nSessionsReserved=10\nSessionsMax=10\n",
                "p.conf:2: [Broker] SessionsReserved=: SessionsReserved=10 leaves nothing of "
                "SessionsMax=10");
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t, "[Broker]\nSessionsMax=9\n");

                assert_int_equal(config->limits.sessions_max, 9);
        }

        expect_refusal(t, "[Tenant a]\nPools=1\n",
                "p.conf:1: [Tenant a]: none of User=, Group=, Unit=, Slice= says who this is");
        expect_refusal(t,
                "[Tenant a]\nUser=1\nStores=ram other\nStores=third\n[Tenant b]\nUser=1\nStores=B\n",
                "p.conf:7: [Tenant b] Stores=: \"B\" is not a name: 1 to 32 of a-z 0-9 . _ -\n"
                "p.conf:4: [Tenant a] Stores=: there is no [Store other]\n"
                "p.conf:4: [Tenant a] Stores=: there is no [Store third]");

        expect_refusal(
                t, "[Store a]\nPath=/x\n", "p.conf:2: [Store a] Path=: the setting is only for Type=dir");
        expect_refusal(t, "[Store a]\nType=dir\nPath=/x\nHugePages=never\nAllocate=touch\n",
                "p.conf:4: [Store a] HugePages=: the setting is only for Type=tmpfs or kmem\n"
                "p.conf:5: [Store a] Allocate=: the setting is only for Type=tmpfs or kmem");
        expect_refusal(t, "[Store a]\nType=dir\nPath=/x/y\n[Store b]\nType=dir\nPath=/x//y/\n",
                "p.conf:6: [Store b] Path=: the same directory as that of store a");
        expect_refusal(t, "[Store a]\nType=dir\nPath=/x/y\n[Store b]\nType=dir\nPath=/x\n",
                "p.conf:6: [Store b] Path=: \"/x\" and \"/x/y\" of store a are one inside the other");
        expect_refusal(t, "[Store a]\nType=dir\nPath=/x\n[Store b]\nType=dir\nPath=/x/y\n",
                "p.conf:6: [Store b] Path=: \"/x/y\" and \"/x\" of store a are one inside the other");
        {
                _cleanup_(cleanup_config_free) Config *config =
                        load_text(t, "[Store a]\nType=dir\nPath=/x\n[Store b]\nType=dir\nPath=/xy\n");

                assert_int_equal(config->n_stores, 2);
        }

        for (int i = 1; i <= 64; i++)
                p += sprintf(p, "[Store s%d]\n", i);
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t, text);

                assert_int_equal(config->n_stores, 64);
        }
        (void)sprintf(p, "[Store s65]\n");
        expect_refusal(t, text, "p.conf:65: [Store s65]: more than 64 stores");
}

static void test_default_tenant(void **state)
{
        Fixture *t = *state;

        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t, "[Tenant a]\nUser=1\n");

                assert_int_equal(config->n_tenants, 2);
                assert_string_equal(config->tenants[0].name, "a");
                assert_string_equal(config->tenants[1].name, "default");
        }
        { /* named: its settings count, its place stays the last */
                _cleanup_(cleanup_config_free) Config *config =
                        load_text(t, "[Tenant default]\nPools=5\n[Tenant a]\nUser=1\n");

                assert_int_equal(config->n_tenants, 2);
                assert_string_equal(config->tenants[0].name, "a");
                assert_string_equal(config->tenants[1].name, "default");
                assert_int_equal(config->tenants[1].pools_max, 5);
                assert_int_equal(config->tenants[1].percent, 25);
                assert_int_equal(config->tenants[1].n_matches, 0);
        }
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(
                        t, "[Tenant a]\nUser=1\n[Broker]\nDefaultTenant=no\n[Tenant default]\nPools=5\n");

                assert_int_equal(config->n_tenants, 1);
                assert_string_equal(config->tenants[0].name, "a");
        }
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t, "[Broker]\nDefaultTenant=no\n");

                assert_int_equal(config->n_tenants, 0);
        }
        { /* what a tenant does not say is as in the built-in one */
                _cleanup_(cleanup_config_free) Config *config =
                        load_text(t, "[Tenant a]\nUser=1\nBytes=1G\nStores=ram\nStores=\n");

                assert_int_equal(config->tenants[0].bytes_max, GIB);
                assert_int_equal(config->tenants[0].percent, 0);
                assert_int_equal(config->tenants[0].pools_max, 1024);
                assert_null(config->tenants[0].stores);
        }
}

/* ------------------------------------------------------------------------------------------------ dump */

static void test_dump_round_trip(void **state)
{
        Fixture *t = *state;
        static const char *const texts[] = {
                "",
                "[Broker]\nDefaultTenant=no\nAdminGroup=root\n",
                "[Broker]\nHelloTimeoutSec=1500ms\nReconnectSec=0\n[Store a]\nSize=3M\n[Store "
                "b]\nType=dir\nPath=/x\n",
                "[Tenant default]\nUser=root 5\nUser=7\nGroup=root\nUnit=a* "
                "b.service\nSlice=c.slice\nBytes=1G 3%\n"
                "Pools=infinity\nStores=ram\n[Tenant z]\nUser=9\nPoolBytes=1T\nPools=0\n",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(cleanup_config_free) Config *first = load_text(t, texts[i]), *second = NULL;
                _cleanup_free_ char *one = dump(first), *two = NULL;

                second = load_text(t, one);
                two = dump(second);
                assert_string_equal(one, two);
                assert_int_equal(first->n_stores, second->n_stores);
                assert_int_equal(first->n_tenants, second->n_tenants);
                assert_memory_equal(&first->limits, &second->limits, sizeof(first->limits));
                assert_int_equal(first->admin_gid, second->admin_gid);
                for (size_t k = 0; k < first->n_tenants; k++) {
                        assert_string_equal(first->tenants[k].name, second->tenants[k].name);
                        assert_int_equal(first->tenants[k].n_matches, second->tenants[k].n_matches);
                        for (size_t m = 0; m < first->tenants[k].n_matches; m++)
                                assert_int_equal(
                                        first->tenants[k].matches[m].id, second->tenants[k].matches[m].id);
                }
        }
}

static void test_dump_text(void **state)
{
        Fixture *t = *state;
        _cleanup_(cleanup_config_free) Config *config =
                load_text(t, "[Broker]\nAdminGroup=root\nShrinkTimeoutSec=60\n"
                             "[Store d]\nType=dir\nSize=1536M\nPath=/x/\n"
                             "[Tenant a]\nUser=root 17\nBytes=1G\n");
        _cleanup_free_ char *text = dump(config);

        assert_string_equal(text, "[Broker]\n"
                                  "AdminGroup=root\n"
                                  "ObserverGroup=\n"
                                  "SessionsMax=4096\n"
                                  "SessionsPerUser=256\n"
                                  "SessionsReserved=8\n"
                                  "RequestsPerSecond=200\n"
                                  "RequestsBurst=1000\n"
                                  "HelloTimeoutSec=10s\n"
                                  "UnreadTimeoutSec=30s\n"
                                  "ReconnectSec=10s\n"
                                  "ShrinkTimeoutSec=1min\n"
                                  "DefaultTenant=yes\n"
                                  "\n[Store d]\n"
                                  "Type=dir\n"
                                  "Size=1536M\n"
                                  "Path=/x\n"
                                  "Drained=no\n"
                                  "\n[Tenant a]\n"
                                  "User=root\n"
                                  "User=17\n"
                                  "Bytes=1G\n"
                                  "Pools=1024\n"
                                  "PoolBytes=infinity\n"
                                  "\n[Tenant default]\n"
                                  "Bytes=25%\n"
                                  "Pools=1024\n"
                                  "PoolBytes=infinity\n");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
                cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
                cmocka_unit_test_setup_teardown(test_missing_file, setup, teardown),
                cmocka_unit_test(test_free_null),
                cmocka_unit_test_setup_teardown(test_cross_checks, setup, teardown),
                cmocka_unit_test_setup_teardown(test_default_tenant, setup, teardown),
                cmocka_unit_test_setup_teardown(test_dump_round_trip, setup, teardown),
                cmocka_unit_test_setup_teardown(test_dump_text, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
