/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration: what each setting takes and refuses, how files add up, and that the documents say the
 * same. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "core/pool.h"
#include "config-table.h"
#include "config.h"

/* --------------------------------------------------------------------------------------------- helpers */

typedef struct Fixture {
        char directory[64];
        char main_file[128];
} Fixture;

static int setup(void **state)
{
        Fixture *t = calloc(1, sizeof(*t));

        assert_non_null(t);
        (void)strcpy(t->directory, "/tmp/test-config-XXXXXX");
        assert_non_null(mkdtemp(t->directory));
        (void)snprintf(t->main_file, sizeof(t->main_file), "%s/p.conf", t->directory);
        *state = t;
        return 0;
}

static int teardown(void **state)
{
        Fixture *t = *state;
        char command[128];

        (void)snprintf(command, sizeof(command), "rm -rf %s", t->directory);
        assert_int_equal(system(command), 0);
        free(t);
        return 0;
}

/* `name` is "p.conf" or "p.conf.d/NAME". */
static void write_bytes(Fixture *t, const char *name, const char *text, size_t n)
{
        char path[192];
        FILE *f;

        (void)snprintf(path, sizeof(path), "%s/p.conf.d", t->directory);
        (void)mkdir(path, 0755);
        (void)snprintf(path, sizeof(path), "%s/%s", t->directory, name);
        f = fopen(path, "we");
        assert_non_null(f);
        assert_int_equal(fwrite(text, 1, n, f), n);
        assert_int_equal(fclose(f), 0);
}

static void write_file(Fixture *t, const char *name, const char *text)
{
        write_bytes(t, name, text, strlen(text));
}

static Config *load(Fixture *t)
{
        _cleanup_free_ char *message = NULL;
        Config *config = NULL;
        int r = config_load(t->main_file, /* must_exist= */ false, &config, &message);

        if (r < 0)
                fail_msg("config_load: %s: %s", strerrordesc_np(-r), message);
        assert_null(message);
        return config;
}

static Config *load_text(Fixture *t, const char *text)
{
        write_file(t, "p.conf", text);
        return load(t);
}

/* The message with the directory taken out: "p.conf:1: ...". */
static char *load_message(Fixture *t, int error)
{
        Config *const untouched = (Config *)t, *config = untouched;
        char *message = NULL, *hit;
        char prefix[80];

        assert_int_equal(config_load(t->main_file, /* must_exist= */ true, &config, &message), error);
        assert_ptr_equal(config, untouched); /* a bad reload leaves the old one in place */
        assert_non_null(message);
        (void)snprintf(prefix, sizeof(prefix), "%s/", t->directory);
        while ((hit = strstr(message, prefix)) != NULL)
                memmove(hit, hit + strlen(prefix), strlen(hit + strlen(prefix)) + 1);
        return message;
}

static void expect_message(Fixture *t, int error, const char *expected)
{
        _cleanup_free_ char *message = load_message(t, error);

        assert_string_equal(message, expected);
}

static void expect_refusal(Fixture *t, const char *text, const char *expected)
{
        write_file(t, "p.conf", text);
        expect_message(t, -EINVAL, expected);
}

static char *dump(const Config *config)
{
        char *text = NULL;
        size_t n;
        FILE *f = open_memstream(&text, &n);

        assert_non_null(f);
        config_dump(config, f);
        assert_int_equal(fclose(f), 0);
        return text;
}

/* "[Tenant x]" and the like, so that a line with `key` may follow. */
static const char *heading_for(const Setting *setting)
{
        switch (setting->section) {
        case SECTION_BROKER:
                return "[Broker]\nSessionsReserved=0\nSessionsMax=100000\n";
        case SECTION_STORE:
                return "[Store s]\n";
        default:
                return "[Tenant default]\n";
        }
}

/* The setting is taken, and the dump shows it as `shown` (NULL: not at all). */
static void takes(Fixture *t, const char *key, const char *value, const char *shown)
{
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *setting = &config_table[i];
                _cleanup_(cleanup_config_free) Config *config = NULL;
                _cleanup_free_ char *text = NULL, *line = NULL, *all = NULL;

                if (strcmp(setting->key, key) != 0)
                        continue;
                assert_true(asprintf(&text, "%s%s%s=%s\n", heading_for(setting),
                                    setting->store_types == STORE_TYPE(JOB_STORE_DIR) ? "Type=dir\n"
                                    : setting->store_types & STORE_TYPE(JOB_STORE_FSDAX)
                                            ? strcmp(key, "Adopt") == 0 ? "Type=fsdax\n"
                                                                        : "Type=fsdax\nRegion=region0\n"
                                            : "",
                                    key, value) > 0);
                config = load_text(t, text);
                all = dump(config);
                assert_true(asprintf(&line, "\n%s=%s\n", key, shown ? shown : "") > 0);
                if (!shown)
                        line[strlen(line) - 1] = '\0';
                if ((strstr(all, line) != NULL) != (shown != NULL))
                        fail_msg("%s=%s gave:\n%s", key, value, all);
                return;
        }
        fail_msg("no setting %s", key);
}

/* The setting is refused with this reason. */
static void refuses(Fixture *t, const char *key, const char *value, const char *reason)
{
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *setting = &config_table[i];
                const char *heading = heading_for(setting);
                _cleanup_free_ char *text = NULL, *message = NULL;
                char *name;

                if (strcmp(setting->key, key) != 0)
                        continue;
                assert_true(asprintf(&text, "\n\n%.*s\n\n%s=%s\n", (int)(strcspn(heading, "\n")), heading,
                                    key, value) > 0);
                name = strndup(heading, strcspn(heading, "\n"));
                assert_true(asprintf(&message, "p.conf:5: %s %s=: %s", name, key, reason) > 0);
                free(name);
                expect_refusal(t, text, message);
                return;
        }
        fail_msg("no setting %s", key);
}

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

/* ---------------------------------------------------------------------------------------------- values */

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

/* ----------------------------------------------------------------------------------------------- lines */

static void test_headings(void **state)
{
        Fixture *t = *state;

        expect_refusal(t, "[Brokers]\n", "p.conf:1: [Brokers]: unknown section");
        expect_refusal(t, "[broker]\n", "p.conf:1: [broker]: unknown section");
        expect_refusal(t, "[]\n", "p.conf:1: []: unknown section");
        expect_refusal(t, "[Broker x]\n", "p.conf:1: [Broker x]: unknown section");
        expect_refusal(t, "[Storage x]\nSize=1\n", "p.conf:1: [Storage x]: unknown section");
        expect_refusal(t, "[Store]\n", "p.conf:1: [Store ]: the name is not 1 to 32 of a-z 0-9 . _ -");
        expect_refusal(t, "[Store X]\n", "p.conf:1: [Store X]: the name is not 1 to 32 of a-z 0-9 . _ -");
        expect_refusal(
                t, "[Store a b]\n", "p.conf:1: [Store a b]: the name is not 1 to 32 of a-z 0-9 . _ -");
        expect_refusal(t, "[Store a]  Size=1G\n", "p.conf:1: [Store a]: text after the heading");
        expect_refusal(t, "[Store a\nSize=1G\n", "p.conf:1: the heading has no \"]\"");
        /* inih by itself cuts section names at 49 bytes */
        expect_refusal(t,
                "[Store a2345678901234567890123456789012]\n[Store a23456789012345678901234567890123]\n",
                "p.conf:2: [Store a23456789012345678901234567890123]: the name is not 1 to 32 of a-z 0-9 . "
                "_ -");
        expect_refusal(t, "[Store                                            a b]\n",
                "p.conf:1: [Store a b]: the name is not 1 to 32 of a-z 0-9 . _ -");
        {
                _cleanup_(cleanup_config_free) Config *config =
                        load_text(t, " [Store \t a23456789_123456789.123456789-12] # "
                                     "comment\n\tSize=1G\n[Store b] ; comment\n");

                assert_int_equal(config->n_stores, 2);
                assert_string_equal(config->stores[0].name, "a23456789_123456789.123456789-12");
                assert_int_equal(config->stores[0].size, GIB);
                /* a section without a line is a section */
                assert_string_equal(config->stores[1].name, "b");
        }
}

static void test_lines(void **state)
{
        Fixture *t = *state;
        char text[512], expected[256], *p;

        expect_refusal(
                t, "SessionsMax=1\n", "p.conf:1: SessionsMax=: the setting stands before the first section");
        expect_refusal(t, "[Broker]\n\nSessionMax=1\n", "p.conf:3: [Broker] SessionMax=: unknown setting");
        expect_refusal(t, "[Broker]\nSize=1G\n", "p.conf:2: [Broker] Size=: unknown setting");
        expect_refusal(t, "[Broker]\n=1\n", "p.conf:2: [Broker] =: unknown setting");
        expect_refusal(t, "[Broker]\nSessionsMax\n\n",
                "p.conf:2: [Broker]: the line is not of the form SETTING=VALUE");
        expect_refusal(
                t, "[Broker]\nSessionsMax", "p.conf:2: [Broker]: the line is not of the form SETTING=VALUE");
        write_bytes(t, "p.conf", "[Broker]\nSessionsMax=1\0002\n", 25);
        expect_message(t, -EINVAL, "p.conf:2: [Broker]: the line contains a NUL byte");
        {
                /* Indented lines are lines, not continuations. */
                _cleanup_(cleanup_config_free) Config *config = load_text(t,
                        "\xef\xbb\xbf# comment\n; comment\n[Broker]\r\nSessionsPerUser=20\r\n"
                        "   SessionsMax = 50 ; comment\n\n \t \n#x=1\n  ;y=1\n\fRequestsBurst=7");

                assert_int_equal(config->limits.sessions_per_uid, 20);
                assert_int_equal(config->limits.sessions_max, 50);
                assert_int_equal(config->limits.requests_burst, 7);
        }

        /* 190 bytes are a line, 191 are not; neither are they in a comment. */
        for (int n = 190; n <= 1000; n = n == 190 ? 191 : n == 191 ? 1000 : 1001) {
                _cleanup_free_ char *line = malloc((size_t)n + 64);

                assert_non_null(line);
                p = line + sprintf(line, "[Store d]\nType=dir\n");
                p += sprintf(p, "Path=/");
                memset(p, 'x', (size_t)n - 6);
                (void)strcpy(p + n - 6, "\n");
                if (n == 190) {
                        _cleanup_(cleanup_config_free) Config *config = load_text(t, line);

                        assert_int_equal(strlen(config->stores[0].path), 185);
                        continue;
                }
                (void)snprintf(expected, sizeof(expected),
                        "p.conf:3: [Store d]: the line has %d bytes, more than 190", n);
                expect_refusal(t, line, expected);
        }
        memset(text, '#', 191);
        (void)strcpy(text + 191, "\n");
        expect_refusal(t, text, "p.conf:1: the line has 191 bytes, more than 190");
}

static void test_many_errors(void **state)
{
        Fixture *t = *state;
        char text[1024], expected[2048], *p = text, *q = expected;

        expect_refusal(t,
                "[Broker]\nSessionsMax=x\nFoo=1\nRequestsBurst=5\nbar\n[Tenant "
                "a]\nUser=no-such-user\n[Bogus]\nA=b\n"
                "[Tenant b]\n",
                "p.conf:2: [Broker] SessionsMax=: \"x\" is not a number from 1 to 100000\n"
                "p.conf:3: [Broker] Foo=: unknown setting\n"
                "p.conf:5: [Broker]: the line is not of the form SETTING=VALUE\n"
                "p.conf:7: [Tenant a] User=: there is no user \"no-such-user\"\n"
                "p.conf:8: [Bogus]: unknown section\n"
                "p.conf:10: [Tenant b]: none of User=, Group=, Unit=, Slice= says who this is");

        p += sprintf(p, "[Broker]\n");
        for (int i = 2; i <= 21; i++) {
                p += sprintf(p, "X=\n");
                q += sprintf(q, "p.conf:%d: [Broker] X=: unknown setting%s", i, i < 21 ? "\n" : "");
        }
        expect_refusal(t, text, expected); /* 20 */
        p += sprintf(p, "X=\nX=\n");
        (void)sprintf(q, "\nand 2 more");
        expect_refusal(t, text, expected);
}

/* ----------------------------------------------------------------------------------------------- files */

static void test_drop_ins(void **state)
{
        Fixture *t = *state;
        char path[192];

        write_file(t, "p.conf",
                "[Broker]\nSessionsMax=100\nRequestsBurst=100\n[Store a]\nSize=1G\n[Tenant x]\nUser=1\n");
        write_file(t, "p.conf.d/20.conf",
                "[Broker]\nSessionsMax=200\n[Store b]\nSize=2G\n[Tenant x]\nUser=2 3\n");
        write_file(t, "p.conf.d/10.conf",
                "[Broker]\nSessionsMax=300\n[Store a]\nHugePages=never\n[Tenant x]\nUser=\nUser=4\n");
        write_file(t, "p.conf.d/B.conf",
                "[Broker]\nSessionsPerUser=5\n"); /* before a.conf: bytes, not letters */
        write_file(t, "p.conf.d/a.conf", "[Broker]\nSessionsPerUser=6\n");
        write_file(t, "p.conf.d/99.conf~", "rubbish\n");
        write_file(t, "p.conf.d/README", "rubbish\n");
        write_file(t, "p.conf.d/.hidden.conf", "rubbish\n");
        write_file(t, "p.conf.d/.conf", "rubbish\n");
        (void)snprintf(path, sizeof(path), "%s/p.conf.d/zz.conf", t->directory);
        assert_int_equal(symlink("/dev/null", path), 0);
        {
                _cleanup_(cleanup_config_free) Config *config = load(t);

                assert_int_equal(config->limits.sessions_max, 200);
                assert_int_equal(config->limits.requests_burst, 100);
                assert_int_equal(config->limits.sessions_per_uid, 6);
                assert_int_equal(config->n_stores, 2);
                assert_string_equal(config->stores[0].name, "a");
                assert_int_equal(config->stores[0].size, GIB);
                assert_int_equal(config->stores[0].huge, HUGE_NEVER);
                assert_string_equal(config->stores[1].name, "b");
                assert_int_equal(config->n_tenants, 2);
                assert_int_equal(config->tenants[0].n_matches, 3);
                assert_int_equal(config->tenants[0].matches[0].id, 4);
                assert_int_equal(config->tenants[0].matches[1].id, 2);
                assert_int_equal(config->tenants[0].matches[2].id, 3);
        }
        write_file(t, "p.conf.d/10.conf", "\nSessionsMax=300\n");
        write_file(t, "p.conf.d/20.conf", "[Broker]\n\n\nSessionsMax=0\n[Tenant x]\nUser=\n");
        expect_message(t, -EINVAL,
                "p.conf.d/10.conf:2: SessionsMax=: the setting stands before the first section\n"
                "p.conf.d/20.conf:4: [Broker] SessionsMax=: \"0\" is not a number from 1 to 100000\n"
                "p.conf:6: [Tenant x]: none of User=, Group=, Unit=, Slice= says who this is");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0755), 0);
        write_file(t, "p.conf.d/10.conf", "");
        write_file(t, "p.conf.d/20.conf", "");
        expect_message(t, -EINVAL, "p.conf.d/zz.conf: not a regular file");
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

/* ------------------------------------------------------------------------------------------- documents */

/* From the top of the source tree, where the tests are run. */
static char *read_document(const char *path)
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = fopen(path, "re");

        if (!f)
                fail_msg("%s: %s (run from the top of the source tree)", path, strerrordesc_np(errno));
        assert_true(getdelim(&text, &size, '\0', f) > 0);
        assert_int_equal(fclose(f), 0);
        return text;
}

/* The sections in order, each setting commented with its help above it and its default, and nothing else. */
static void test_conf_agrees(void **state)
{
        static const char *const headings[] = {"[Broker]", "#[Store ram]", "#[Tenant default]"};
        _cleanup_free_ char *text = read_document("conf/pmbrokerd.conf"), *expected = NULL, *rest = NULL;
        size_t n;
        FILE *f = open_memstream(&expected, &n);
        char *body;

        (void)state;
        assert_non_null(f);
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *s = &config_table[i];

                if (i == 0 || s->section != config_table[i - 1].section)
                        (void)fprintf(f, "%s\n", headings[s->section]);
                (void)fprintf(f, "# %s\n#%s=%s\n", s->help, s->key, s->initial ? s->initial : "");
        }
        assert_int_equal(fclose(f), 0);

        /* Leave out what explains the sections: comments that follow a blank line. */
        body = strstr(text, "\n[Broker]\n");
        assert_non_null(body);
        f = open_memstream(&rest, &n);
        assert_non_null(f);
        for (char *line, *p = body + 1; (line = strsep(&p, "\n")) != NULL && p;) {
                static bool prose;

                if (line[0] == '\0')
                        prose = true;
                else if (line[0] != '#' || line[1] != ' ')
                        prose = false;
                if (line[0] != '\0' && !prose)
                        (void)fprintf(f, "%s\n", line);
        }
        assert_int_equal(fclose(f), 0);
        assert_string_equal(rest, expected);
}

static bool is_of_another_type(const char *line)
{
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *s = &config_table[i];
                size_t n = strlen(s->key);

                if (s->store_types != 0 && !(s->store_types & STORE_TYPE(JOB_STORE_TMPFS)) && s->initial &&
                        strncmp(line, s->key, n) == 0 && line[n] == '=')
                        return true;
        }
        return false;
}

static void test_conf_loads(void **state)
{
        Fixture *t = *state;
        _cleanup_free_ char *text = read_document("conf/pmbrokerd.conf"), *nothing = NULL, *as_is = NULL,
                            *uncommented = NULL;
        char *to = text;

        {
                _cleanup_(cleanup_config_free) Config *config = load(t);

                nothing = dump(config);
        }
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t, text);

                as_is = dump(config);
        }
        assert_string_equal(as_is, nothing);

        /* Uncomment everything, but for the one line whose default is softer than what it says, and what is not for
         * the type of store that is the default. */
        for (const char *p = text; *p; p++)
                if (!(*p == '#' && !is_of_another_type(p + 1) && (p == text || p[-1] == '\n') &&
                            p[1] != ' ' && p[1] != '\n' &&
                            (strncmp(p, "#AdminGroup=", 12) != 0 || getgrnam("pmbroker-admin")) &&
                            (strncmp(p, "#ObserverGroup=", 15) != 0 || getgrnam("pmbroker-observer"))))
                        *to++ = *p;
        *to = '\0';
        {
                _cleanup_(cleanup_config_free) Config *config = load_text(t, text);

                uncommented = dump(config);
        }
        assert_string_equal(uncommented, nothing);
}

static char *must_find(char *text, const char *what)
{
        char *hit = strstr(text, what);

        if (!hit) {
                fail_msg("no \"%s\" in:\n%.500s", what, text);
                abort(); /* the compiler does not know that fail_msg() never returns */
        }
        return hit;
}

static void test_man_agrees(void **state)
{
        static const char *const headings[] = {
                "\n.SH [BROKER]", "\n.SH [STORE NAME]", "\n.SH [TENANT NAME]"};
        _cleanup_free_ char *text = read_document("man/pmbrokerd.conf.5");
        size_t n = 0;

        (void)state;
        for (size_t i = 0; i < config_table_size; i++) {
                const Setting *s = &config_table[i];
                char *section = must_find(text, headings[s->section]), *entry, *copy, *end, *next;
                char want[128], buf[FORMAT_SIZE_MAX];

                (void)snprintf(want, sizeof(want), "\n.TP\n\\fB%s=\\fR", s->key);
                entry = must_find(section, want);
                end = must_find(section + 1, "\n.SH ");
                assert_true(entry < end);
                next = strstr(entry + 1, "\n.TP\n");
                copy = strndup(entry, (size_t)((next && next < end ? next : end) - entry));
                assert_non_null(copy);
                if (s->initial)
                        (void)snprintf(want, sizeof(want), "\nDefault: \\fB%s\\fR.", s->initial);
                else
                        (void)snprintf(want, sizeof(want), "\nDefault: none.");
                (void)must_find(copy, want);
                if (s->max > 0) {
                        if (s->type == &config_type_number && s->max == UINT32_MAX)
                                (void)snprintf(want, sizeof(want), "from %" PRIu64, s->min);
                        else if (s->type == &config_type_number)
                                (void)snprintf(
                                        want, sizeof(want), "from %" PRIu64 " to %" PRIu64, s->min, s->max);
                        else if (s->type == &config_type_time)
                                (void)snprintf(want, sizeof(want), "from %s to 24h", s->min ? "1ms" : "0");
                        else
                                (void)snprintf(
                                        want, sizeof(want), "from 2M to %s", format_size(buf, s->max));
                        (void)must_find(copy, want);
                }
                for (size_t k = 0; k < s->n_names; k++) {
                        (void)snprintf(want, sizeof(want), "\\fB%s\\fR", s->names[k] ? s->names[k] : "");
                        if (s->names[k])
                                (void)must_find(copy, want);
                }
                free(copy);
        }
        /* ...and no setting that does not exist */
        for (const char *p = text; (p = strstr(p, "\n.TP\n\\fB")) != NULL; p++)
                n += p[strcspn(p + 8, "=\\\n") + 8] == '=';
        assert_int_equal(n, config_table_size);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
                cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
                cmocka_unit_test_setup_teardown(test_missing_file, setup, teardown),
                cmocka_unit_test(test_free_null),
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
                cmocka_unit_test_setup_teardown(test_headings, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many_errors, setup, teardown),
                cmocka_unit_test_setup_teardown(test_drop_ins, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cross_checks, setup, teardown),
                cmocka_unit_test_setup_teardown(test_default_tenant, setup, teardown),
                cmocka_unit_test_setup_teardown(test_dump_round_trip, setup, teardown),
                cmocka_unit_test_setup_teardown(test_dump_text, setup, teardown),
                cmocka_unit_test_setup_teardown(test_conf_agrees, setup, teardown),
                cmocka_unit_test_setup_teardown(test_conf_loads, setup, teardown),
                cmocka_unit_test(test_man_agrees),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
