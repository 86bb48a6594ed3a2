/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every setting there is: see config-table.h. A new one is a row here, a line in conf/pmbrokerd.conf, and a
 * paragraph in man/pmbrokerd.conf.5; test-config-table fails until all three agree.
 */

#include "config-table.h"

#include <assert.h>

#include "base/parse.h"
#include "core/pool.h"

static const char *const store_type_names[] = {
        [JOB_STORE_TMPFS] = "tmpfs",
        [JOB_STORE_DIR] = "dir",
        [JOB_STORE_FSDAX] = "fsdax",
        [JOB_STORE_KMEM] = "kmem",
};
static const char *const huge_names[] = {
        [HUGE_NEVER] = "never",
        [HUGE_WITHIN_SIZE] = "within-size",
        [HUGE_ALWAYS] = "always",
        [HUGE_ADVISE] = "advise",
};
static const char *const allocate_names[] = {"touch", "create"};
static const char *const filesystem_names[] = {
        [FSDAX_EXT4] = "ext4",
        [FSDAX_XFS] = "xfs",
};
static const char *const scrub_names[] = {
        [SCRUB_NEVER] = "never",
        [SCRUB_RELEASE] = "release",
};
static const char *const provision_names[] = {"auto", "manual"};

const char *store_type_to_string(unsigned type)
{
        assert(type < ELEMENTSOF(store_type_names) && store_type_names[type]);
        return store_type_names[type];
}

const char *section_kind_to_string(SectionKind kind)
{
        static const char *const names[] = {
                [SECTION_BROKER] = "Broker",
                [SECTION_STORE] = "Store",
                [SECTION_TENANT] = "Tenant",
        };

        assert(kind < _SECTION_KIND_MAX);
        return names[kind];
}

#define BROKER(field) offsetof(SectionSettings, broker.field)
#define STORE(field)  offsetof(SectionSettings, store.field)
#define TENANT(field) offsetof(SectionSettings, tenant.field)
#define FOR(type)     STORE_TYPE(JOB_STORE_##type)
#define HOUR          (3600 * USEC_PER_SEC)
#define NAMES(table)  .names = (table), .n_names = ELEMENTSOF(table)

/* clang-format off */
const Setting config_table[] = {
        {SECTION_BROKER, "AdminGroup", &config_type_text, BROKER(admin_group), "pmbroker-admin",
                .help = "Members may list, resize and revoke everybody's pools. Empty: only root may."},
        {SECTION_BROKER, "ObserverGroup", &config_type_text, BROKER(observer_group), "pmbroker-observer",
                .help = "Members may look at everything, and change nothing. Empty: only administrators may."},
        {SECTION_BROKER, "SessionsMax", &config_type_number, BROKER(limits.sessions_max), "4096", 1, 100000,
                .help = "Connections at a time, in all."},
        {SECTION_BROKER, "SessionsPerUser", &config_type_number, BROKER(limits.sessions_per_uid),
                "256", 1, 100000,
                .help = "Connections at a time of one user."},
        {SECTION_BROKER, "SessionsReserved", &config_type_number, BROKER(limits.sessions_reserved),
                "8", 0, 100000,
                .help = "Of SessionsMax=, those that are kept for administrators."},
        {SECTION_BROKER, "RequestsPerSecond", &config_type_number, BROKER(limits.requests_per_sec),
                "200", 1, 1000000,
                .help = "Changing requests (create, resize, destroy) of one user, in the long run."},
        {SECTION_BROKER, "RequestsBurst", &config_type_number, BROKER(limits.requests_burst),
                "1000", 1, 1000000,
                .help = "Changing requests of one user that may come at once."},
        {SECTION_BROKER, "HelloTimeoutSec", &config_type_time, BROKER(limits.hello_timeout_usec),
                "10s", 1000, 24 * HOUR,
                .help = "A connection that has not introduced itself by then is closed."},
        {SECTION_BROKER, "UnreadTimeoutSec", &config_type_time, BROKER(limits.unread_timeout_usec),
                "30s", 1000, 24 * HOUR,
                .help = "A connection whose replies lie unread for so long is closed; its pools stay."},
        {SECTION_BROKER, "ReconnectSec", &config_type_time, BROKER(limits.reconnect_usec),
                "10s", 0, 24 * HOUR,
                .help = "How long pools wait for a living process that has closed its last connection."},
        {SECTION_BROKER, "ShrinkTimeoutSec", &config_type_time, BROKER(limits.shrink_usec),
                "30s", 1000, 24 * HOUR,
                .help = "A shrink ends when the pool's process has given nothing back for so long."},
        {SECTION_BROKER, "DefaultTenant", &config_type_switch, BROKER(default_tenant), "yes",
                .help = "Serve those whom no tenant matches as the tenant \"default\"."},

        {SECTION_STORE, "Type", &config_type_enum, STORE(type), "tmpfs", NAMES(store_type_names),
                .help = "tmpfs: ordinary memory. fsdax: an NVDIMM. kmem: a dax device as a NUMA node. dir: a directory, for development."},
        {SECTION_STORE, "Size", &config_type_store_size, STORE(size), "25%", JOB_UNIT, POOL_BYTES_MAX,
                .help = "Bytes, or percent of the memory (tmpfs) or of the free space (dir; fsdax, kmem: 100% if not set)."},
        {SECTION_STORE, "Path", &config_type_path, STORE(path), NULL,
                .store_types = FOR(DIR),
                .help = "dir only: the directory."},
        {SECTION_STORE, "HugePages", &config_type_enum, STORE(huge), "within-size", NAMES(huge_names),
                .store_types = FOR(TMPFS) | FOR(KMEM),
                .help = "tmpfs, kmem: huge pages never, within-size, always (kmem if not set), or advise."},
        {SECTION_STORE, "Allocate", &config_type_enum, STORE(allocate), "touch", NAMES(allocate_names),
                .store_types = FOR(TMPFS) | FOR(KMEM),
                .help = "tmpfs, kmem: take a pool's memory when it is touched, or all of it at create (kmem if not set)."},
        {SECTION_STORE, "Region", &config_type_region, STORE(region), NULL,
                .store_types = FOR(FSDAX) | FOR(KMEM),
                .help = "fsdax, kmem: the region to make a namespace in, by name or physical address."},
        {SECTION_STORE, "Adopt", &config_type_adopt, STORE(adopt), NULL,
                .store_types = FOR(FSDAX) | FOR(KMEM),
                .help = "fsdax, kmem: use an existing namespace instead: its uuid, or a label-less region's or dax device's address."},
        {SECTION_STORE, "Filesystem", &config_type_enum, STORE(filesystem), "ext4", NAMES(filesystem_names),
                .store_types = FOR(FSDAX),
                .help = "fsdax only: ext4, or xfs, which holds limits less well."},
        {SECTION_STORE, "TrustedTenants", &config_type_switch, STORE(trusted_tenants), "no",
                .store_types = FOR(FSDAX),
                .help = "fsdax only: no process that gets a pool tries to break out of it. xfs needs this."},
        {SECTION_STORE, "Scrub", &config_type_enum, STORE(scrub), "never", NAMES(scrub_names),
                .store_types = FOR(FSDAX),
                .help = "fsdax only: whether what was released is overwritten before it is used again."},
        {SECTION_STORE, "RequireDax", &config_type_switch, STORE(require_dax), "yes",
                .store_types = FOR(FSDAX),
                .help = "fsdax only: do not serve a store whose memory is not mapped in pages of 2M."},
        {SECTION_STORE, "InitLabels", &config_type_switch, STORE(init_labels), "no",
                .store_types = FOR(FSDAX) | FOR(KMEM),
                .help = "fsdax, kmem: give the region's NVDIMMs labels if they have none and nothing is on them."},
        {SECTION_STORE, "Provision", &config_type_enum, STORE(provision), "auto", NAMES(provision_names),
                .store_types = FOR(FSDAX) | FOR(KMEM),
                .help = "fsdax, kmem: make what is missing at start, or only by pmbrokerctl provision --apply."},
        {SECTION_STORE, "Drained", &config_type_switch, STORE(drained), "no",
                .help = "Give out no new pools of it; those that it has stay."},

        {SECTION_TENANT, "User", &config_type_user_list, TENANT(users), NULL,
                .help = "Users that are this tenant."},
        {SECTION_TENANT, "Group", &config_type_group_list, TENANT(groups), NULL,
                .help = "Groups whose members (primary or supplementary) are this tenant."},
        {SECTION_TENANT, "Unit", &config_type_unit_list, TENANT(units), NULL,
                .help = "Systemd units that are this tenant; * stands for any text, ? for any character."},
        {SECTION_TENANT, "Slice", &config_type_slice_list, TENANT(slices), NULL,
                .help = "Systemd slices that are this tenant, with all below them; * and ? likewise."},
        {SECTION_TENANT, "Bytes", &config_type_quota, TENANT(bytes_max), "25%", JOB_UNIT, POOL_BYTES_MAX,
                .help = "Bytes of all its pools, or percent of each store, or one of each, or infinity."},
        {SECTION_TENANT, "Pools", &config_type_number, TENANT(pools_max), "1024", 0, UINT32_MAX,
                .help = "Pools at a time, or infinity."},
        {SECTION_TENANT, "PoolBytes", &config_type_size_limit, TENANT(pool_bytes_max),
                "infinity", JOB_UNIT, POOL_BYTES_MAX,
                .help = "Bytes of its largest pool, or infinity."},
        {SECTION_TENANT, "Stores", &config_type_store_list, TENANT(stores), NULL,
                .help = "Stores that it may use. Empty: all."},
};
/* clang-format on */

const size_t config_table_size = ELEMENTSOF(config_table);
_Static_assert(ELEMENTSOF(config_table) <= CONFIG_TABLE_MAX, "raise CONFIG_TABLE_MAX");
