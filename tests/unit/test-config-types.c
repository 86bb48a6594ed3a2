/* SPDX-License-Identifier: BSD-3-Clause */
/* What each setting takes and refuses. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <grp.h>
#include <inttypes.h>

#include "config-fixture.h"

static void test_numbers(void **state)
{
        Fixture *t = *state;
        unsigned n = 0;

        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *setting = &config_table[i];
                bool infinite = setting->max == UINT32_MAX;
                char value[32], reason[128];

                if (setting->type != &config_type_number)
                        continue;
                n++;
                (void)snprintf(value, sizeof(value), "%" PRIu64, setting->min);
                takes(t, setting->key, value, value);
                if (strcmp(setting->key, "SessionsReserved") !=
                        0) { /* ...which must stay below SessionsMax */
                        (void)snprintf(value, sizeof(value), "%" PRIu64, setting->max);
                        takes(t, setting->key, value, infinite ? "infinity" : value);
                }
                if (setting->min > 0) {
                        (void)snprintf(value, sizeof(value), "%" PRIu64, setting->min - 1);
                        (void)snprintf(reason, sizeof(reason),
                                "\"%s\" is not a number from %" PRIu64 " to %" PRIu64, value, setting->min,
                                setting->max);
                        refuses(t, setting->key, value, reason);
                }
                (void)snprintf(value, sizeof(value), "%" PRIu64, setting->max + 1);
                (void)snprintf(reason, sizeof(reason),
                        "\"%s\" is not a number from %" PRIu64 " to %" PRIu64 "%s", value, setting->min,
                        setting->max, infinite ? " or \"infinity\"" : "");
                refuses(t, setting->key, value, reason);
        }
        assert_int_equal(n, 6);
        takes(t, "SessionsReserved", "99999", "99999");
        takes(t, "Pools", "infinity", "infinity");
        refuses(t, "SessionsMax", "infinity", "\"infinity\" is not a number from 1 to 100000");
        refuses(t, "SessionsMax", "", "\"\" is not a number from 1 to 100000");
        refuses(t, "SessionsMax", "-1", "\"-1\" is not a number from 1 to 100000");
        refuses(t, "SessionsMax", "1k", "\"1k\" is not a number from 1 to 100000");
        refuses(t, "SessionsMax", "99999999999999999999",
                "\"99999999999999999999\" is not a number from 1 to 100000");
}

static void test_times(void **state)
{
        Fixture *t = *state;
        unsigned n = 0;

        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *setting = &config_table[i];
                bool zero = setting->min == 0;
                char reason[128];

                if (setting->type != &config_type_time)
                        continue;
                n++;
                takes(t, setting->key, zero ? "0" : "1ms", zero ? "0s" : "1ms");
                takes(t, setting->key, "24h", "24h");
                takes(t, setting->key, "86400", "24h");
                if (!zero)
                        refuses(t, setting->key, "999us",
                                "\"999us\" is not a time from 1ms to 24h, such as 30, 500ms, 10s or 5min");
                (void)snprintf(reason, sizeof(reason),
                        "\"86400001ms\" is not a time from %s to 24h, such as 30, 500ms, 10s or 5min",
                        zero ? "0s" : "1ms");
                refuses(t, setting->key, "86400001ms", reason);
        }
        assert_int_equal(n, 4);
        takes(t, "HelloTimeoutSec", "90", "90s");
        takes(t, "HelloTimeoutSec", "120", "2min");
        takes(t, "HelloTimeoutSec", "1500ms", "1500ms");
        takes(t, "HelloTimeoutSec", "1001us", "1001us");
        refuses(t, "HelloTimeoutSec", "",
                "\"\" is not a time from 1ms to 24h, such as 30, 500ms, 10s or 5min");
        refuses(t, "HelloTimeoutSec", "10 s",
                "\"10 s\" is not a time from 1ms to 24h, such as 30, 500ms, 10s or 5min");
}

static void test_switches(void **state)
{
        Fixture *t = *state;

        takes(t, "DefaultTenant", "true", "yes");
        takes(t, "DefaultTenant", "off", "no");
        refuses(t, "DefaultTenant", "maybe", "\"maybe\" is neither yes nor no");
}

static void test_sizes(void **state)
{
        Fixture *t = *state;

        takes(t, "Size", "2M", "2M");
        takes(t, "Size", "64T", "64T");
        takes(t, "Size", "4194303", "2M"); /* whole units only */
        takes(t, "Size", "1%", "1%");
        takes(t, "Size", "100%", "100%");
        refuses(t, "Size", "2097151", "\"2097151\" is not from 2M to 64T");
        refuses(t, "Size", "0", "\"0\" is not from 2M to 64T");
        refuses(t, "Size", "70368744177665", "\"70368744177665\" is not from 2M to 64T");
        refuses(t, "Size", "0%", "\"0%\" is neither a size such as 512M nor a percentage from 1% to 100%");
        refuses(t, "Size", "101%",
                "\"101%\" is neither a size such as 512M nor a percentage from 1% to 100%");
        refuses(t, "Size", "", "\"\" is neither a size such as 512M nor a percentage from 1% to 100%");
        refuses(t, "Size", "big", "\"big\" is neither a size such as 512M nor a percentage from 1% to 100%");

        takes(t, "PoolBytes", "2M", "2M");
        takes(t, "PoolBytes", "64T", "64T");
        takes(t, "PoolBytes", "infinity", "infinity");
        refuses(t, "PoolBytes", "2047K", "\"2047K\" is not from 2M to 64T");
        refuses(t, "PoolBytes", "65T", "\"65T\" is not from 2M to 64T");
        refuses(t, "PoolBytes", "10%", "\"10%\" is neither a size such as 512M nor \"infinity\"");

        takes(t, "Bytes", "2M", "2M");
        takes(t, "Bytes", "64T", "64T");
        takes(t, "Bytes", "100%", "100%");
        takes(t, "Bytes", "infinity", "infinity");
        takes(t, "Bytes", "10% 1G", "1G 10%");
        refuses(t, "Bytes", "1M", "\"1M\" is not from 2M to 64T");
        refuses(t, "Bytes", "65T", "\"65T\" is not from 2M to 64T");
        refuses(t, "Bytes", "1G 2G", "\"1G 2G\" is not one size, one percentage, or one of each");
        refuses(t, "Bytes", "1% 2%", "\"1% 2%\" is not one size, one percentage, or one of each");
        refuses(t, "Bytes", "1% 2% 1G", "\"1% 2% 1G\" is not one size, one percentage, or one of each");
        refuses(t, "Bytes", "", "\"\" is not one size, one percentage, or one of each");
        refuses(t, "Bytes", "1G infinity",
                "\"infinity\" is neither a size such as 512M nor a percentage from 1% to 100% nor "
                "\"infinity\"");
        refuses(t, "Bytes", "101%",
                "\"101%\" is neither a size such as 512M nor a percentage from 1% to 100% nor \"infinity\"");
}

static void test_enums(void **state)
{
        Fixture *t = *state;

        takes(t, "Type", "tmpfs", "tmpfs");
        refuses(t, "Type", "disk", "\"disk\" is none of tmpfs, dir, fsdax, kmem");
        takes(t, "HugePages", "never", "never");
        takes(t, "HugePages", "within-size", "within-size");
        takes(t, "HugePages", "always", "always");
        takes(t, "HugePages", "advise", "advise");
        refuses(t, "HugePages", "yes", "\"yes\" is none of never, within-size, always, advise");
        takes(t, "Allocate", "touch", "touch");
        takes(t, "Allocate", "create", "create");
        refuses(t, "Allocate", "", "\"\" is none of touch, create");
}

static void test_paths(void **state)
{
        Fixture *t = *state;

        takes(t, "Path", "/x", "/x");
        takes(t, "Path", "//x///y y//", "/x/y y");
        takes(t, "Path", "/...", "/...");
        refuses(t, "Path", "x", "\"x\" is not an absolute path");
        refuses(t, "Path", "/x/../y", "\"/x/../y\" contains \".\" or \"..\"");
        refuses(t, "Path", "/.", "\"/.\" contains \".\" or \"..\"");
        refuses(t, "Path", "/", "the root directory cannot be a store");
        expect_refusal(t, "[Store d]\nType=dir\n", "p.conf:1: [Store d]: Type=dir needs a Path=");
        expect_refusal(
                t, "[Store d]\nType=dir\nPath=/x\nPath=\n", "p.conf:1: [Store d]: Type=dir needs a Path=");
}

static void test_fsdax(void **state)
{
        Fixture *t = *state;

        takes(t, "Region", "region17", "region17");
        takes(t, "Region", "0x0140000000", "0x140000000");
        refuses(t, "Region", "pmem0",
                "\"pmem0\" is neither a region such as region0 nor a physical address such as 0x140000000");
        refuses(t, "Region", "0x",
                "\"0x\" is neither a region such as region0 nor a physical address such as "
                "0x140000000");
        takes(t, "Adopt", "0D1F6E2A-0000-4000-8000-00000000000f", "0d1f6e2a-0000-4000-8000-00000000000f");
        takes(t, "Adopt", "0x240000000", "0x240000000");
        refuses(t, "Adopt", "/dev/pmem0",
                "\"/dev/pmem0\" may be another device after the next boot: say the namespace's uuid or, "
                "without "
                "labels, the address, as pmbrokerctl regions prints them");
        refuses(t, "Adopt", "namespace0.0",
                "\"namespace0.0\" is neither the uuid of a namespace nor the physical address of a region");
        takes(t, "Filesystem", "ext4", "ext4");
        takes(t, "Scrub", "release", "release");
        takes(t, "RequireDax", "no", "no");
        takes(t, "InitLabels", "yes", "yes");
        takes(t, "Provision", "manual", "manual");
        takes(t, "TrustedTenants", "yes", "yes");
        expect_refusal(t, "[Store a]\nType=fsdax\n",
                "p.conf:1: [Store a]: Type=fsdax needs a Region= or an Adopt=");
        expect_refusal(t, "[Store a]\nType=fsdax\nRegion=region0\nAdopt=0x1\n",
                "p.conf:4: [Store a] Adopt=: what is adopted is in a region already: not with Region=");
        expect_refusal(t, "[Store a]\nType=fsdax\nAdopt=0x1\n[Store b]\nType=fsdax\nAdopt=0x01\n",
                "p.conf:6: [Store b] Adopt=: store a adopts the same");
        expect_refusal(t, "[Store a]\nType=fsdax\nRegion=region0\nFilesystem=xfs\n",
                "p.conf:4: [Store a] Filesystem=: xfs cannot seal files: a client could break out of its "
                "pool; if "
                "none would, say TrustedTenants=yes");
        expect_refusal(t, "[Store a]\nScrub=release\n",
                "p.conf:2: [Store a] Scrub=: the setting is only for Type=fsdax");
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t,
                        "[Store a]\nType=fsdax\nRegion=region0\nFilesystem=xfs\nTrustedTenants=yes\n"
                        "[Store b]\nType=fsdax\nAdopt=0x1\nSize=50%\n");

                assert_int_equal(config->stores[0].percent, 100);
                assert_string_equal(config->stores[0].region, "region0");
                assert_string_equal(config->stores[0].adopt, "");
                assert_int_equal(config->stores[0].filesystem, FSDAX_XFS);
                assert_true(config->stores[0].require_dax);
                assert_int_equal(config->stores[1].percent, 50);
                assert_string_equal(config->stores[1].adopt, "0x1");
        }
}

static void test_kmem(void **state)
{
        Fixture *t = *state;

        refuses(t, "Adopt", "dax0.0",
                "\"dax0.0\" may be another device after the next boot: say the namespace's uuid or, without "
                "labels, the address, as pmbrokerctl regions prints them");
        expect_refusal(
                t, "[Store a]\nType=kmem\n", "p.conf:1: [Store a]: Type=kmem needs a Region= or an Adopt=");
        expect_refusal(t, "[Store a]\nType=kmem\nRegion=region0\nAdopt=0x1\n",
                "p.conf:4: [Store a] Adopt=: what is adopted is in a region already: not with Region=");
        expect_refusal(t, "[Store a]\nType=fsdax\nAdopt=0x1\n[Store b]\nType=kmem\nAdopt=0x01\n",
                "p.conf:6: [Store b] Adopt=: store a adopts the same");
        expect_refusal(t, "[Store a]\nType=kmem\nRegion=region0\n[Store b]\nType=kmem\nRegion=region0\n",
                "p.conf:6: [Store b] Region=: store a has the same region: its memory is of one NUMA node, "
                "and that "
                "is for one store");
        expect_refusal(t, "[Store a]\nType=kmem\nRegion=region0\nScrub=release\n",
                "p.conf:4: [Store a] Scrub=: the setting is only for Type=fsdax");
        expect_refusal(t, "[Store a]\nType=dir\nPath=/x\nHugePages=never\n",
                "p.conf:4: [Store a] HugePages=: the setting is only for Type=tmpfs or kmem");
        expect_refusal(t, "[Store a]\nInitLabels=yes\n",
                "p.conf:2: [Store a] InitLabels=: the setting is only for Type=fsdax or kmem");
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t,
                        "[Store a]\nType=kmem\nRegion=region0\nInitLabels=yes\nProvision=manual\n"
                        "[Store b]\nType=kmem\nAdopt=0x1\nSize=50%\nAllocate=touch\nHugePages=within-size\n"
                        "[Store c]\nType=fsdax\nRegion=region0\n[Store d]\n");

                assert_int_equal(config->stores[0].kind, JOB_STORE_KMEM);
                assert_int_equal(config->stores[0].percent, 100);
                assert_string_equal(config->stores[0].region, "region0");
                assert_int_equal(config->stores[0].huge, HUGE_ALWAYS);
                assert_true(config->stores[0].allocate);
                assert_true(config->stores[0].init_labels);
                assert_true(config->stores[0].manual);
                assert_int_equal(config->stores[1].percent, 50);
                assert_int_equal(config->stores[1].huge, HUGE_WITHIN_SIZE);
                assert_false(config->stores[1].allocate);
                assert_int_equal(config->stores[3].huge, HUGE_WITHIN_SIZE);
                assert_false(config->stores[3].allocate);
        }
}

static void test_users_and_groups(void **state)
{
        Fixture *t = *state;

        takes(t, "User", "root", "root");
        takes(t, "User", "0", "0");
        takes(t, "User", "4294967294", "4294967294");
        takes(t, "User", "", NULL);
        refuses(t, "User", "4294967295", "4294967295 is not a number from 0 to 4294967294");
        refuses(t, "User", "99999999999999999999",
                "99999999999999999999 is not a number from 0 to 4294967294");
        refuses(t, "User", "no-such-user", "there is no user \"no-such-user\"");
        refuses(t, "User", "root no-such-user", "there is no user \"no-such-user\"");
        takes(t, "Group", "root", "root");
        takes(t, "Group", "4294967294", "4294967294");
        refuses(t, "Group", "4294967295", "4294967295 is not a number from 0 to 4294967294");
        refuses(t, "Group", "no-such-group", "there is no group \"no-such-group\"");

        takes(t, "AdminGroup", "root", "root");
        takes(t, "AdminGroup", "", "");
        refuses(t, "AdminGroup", "no-such-group", "there is no group \"no-such-group\"");
        refuses(t, "AdminGroup", "4294967295", "4294967295 is not a number from 0 to 4294967294");
        if (!getgrnam("pmbroker-admin")) /* asked for by name it must exist */
                refuses(t, "AdminGroup", "pmbroker-admin", "there is no group \"pmbroker-admin\"");
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t, "[Broker]\nAdminGroup=\n");

                assert_string_equal(config->admin_group, "");
                assert_int_equal(config->admin_gid, (uint32_t)-1);
        }
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t, "[Broker]\nAdminGroup=4711\n");

                assert_string_equal(config->admin_group, "4711");
                assert_int_equal(config->admin_gid, 4711);
        }
}

static void test_globs(void **state)
{
        Fixture *t = *state;

        takes(t, "Unit", "a.service", "a.service");
        takes(t, "Unit", "session-?.scope", "session-?.scope");
        takes(t, "Unit", "*", "*");
        takes(t, "Unit", "dev-x\\x2dy.swap", "dev-x\\x2dy.swap");
        refuses(t, "Unit", "a", "\"a\" is not a full name such as batch.service, and does not end in *");
        refuses(t, "Unit", "a/b.service", "\"a/b.service\" contains a character that no unit name has");
        refuses(t, "Unit", "[ab].service", "\"[ab].service\" contains a character that no unit name has");
        takes(t, "Slice", "a.slice", "a.slice");
        takes(t, "Slice", "user-*", "user-*");
        refuses(t, "Slice", "a.service",
                "\"a.service\" is not a full name such as batch.slice, and does not end in *");
        refuses(t, "Slice", ".slice",
                "\".slice\" is not a full name such as batch.slice, and does not end in *");
        refuses(t, "Slice", "/a.slice", "\"/a.slice\" contains a character that no unit name has");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_times, setup, teardown),
                cmocka_unit_test_setup_teardown(test_switches, setup, teardown),
                cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_enums, setup, teardown),
                cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
                cmocka_unit_test_setup_teardown(test_fsdax, setup, teardown),
                cmocka_unit_test_setup_teardown(test_kmem, setup, teardown),
                cmocka_unit_test_setup_teardown(test_users_and_groups, setup, teardown),
                cmocka_unit_test_setup_teardown(test_globs, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
