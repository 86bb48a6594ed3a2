/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration, the kernel and its settings, limits, systemd: what the files of this machine say. */

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/check.h"
#include "ctl/store-row.h"

#define DEFAULT_CONFIG PMBROKER_SYSCONFDIR "/pmbroker/pmbrokerd.conf"

#define MAP_COUNT_MIN 65530  /* the kernel's default; a pool takes one mapping, however large it is */
#define NOFILE_MIN    16384  /* of the daemon: a descriptor for each session, and one or two for each pool */
#define FILE_MAX_MIN  262144 /* of the system */
#define SYSTEMD_MIN   252

static bool has_store_of(const Check *c, Pmbroker__V1__StoreKind kind)
{
        for (size_t i = 0; c->overview && i < c->overview->stores->n_rows; i++)
                if (c->overview->stores->rows[i]->kind == kind)
                        return true;
        return false;
}

/* ----------------------------------------------------------------------------------------- configuration */

/* Beside us when nothing was installed, otherwise where $PATH says. */
static const char *find_daemon(char path[static PATH_MAX])
{
        char self[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

        if (n > 0) {
                self[n] = '\0';
                if (snprintf(path, PATH_MAX, "%s/pmbrokerd", dirname(self)) < PATH_MAX &&
                        access(path, X_OK) == 0)
                        return path;
        }
        return access(PMBROKER_SBINDIR "/pmbrokerd", X_OK) == 0 ? PMBROKER_SBINDIR "/pmbrokerd"
                                                                : "pmbrokerd";
}

static void check_rights(Check *c, const char *path, const char *what)
{
        struct stat st;

        if (fact_stat(c->root, path, &st) < 0)
                return;
        if (st.st_mode & (S_IWGRP | S_IWOTH) || st.st_uid != 0)
                findings_add(&c->findings, FINDING_FAILURE, "permissions",
                        "`chown root:root` and `chmod go-w` it",
                        "%s, %s, can be written by others than root", path, what);
}

void check_configuration(Check *c)
{
        const char *config = c->arguments->config ? c->arguments->config : DEFAULT_CONFIG;
        char daemon[PATH_MAX], file[PATH_MAX], text[FACT_MAX], directory[PATH_MAX];
        const char *argv[] = {find_daemon(daemon), "--check-config", "--config", file, NULL};
        bool exists = fact_exists(c->root, config);
        int r;

        if (snprintf(file, sizeof(file), "%s%s", c->root, config) >= (int)sizeof(file) ||
                snprintf(directory, sizeof(directory), "%s.d", config) >= (int)sizeof(directory))
                return;
        check_rights(c, config, "the configuration");
        check_rights(c, directory, "the directory of drop-ins");
        if (!exists && !c->arguments->config) {
                findings_add(&c->findings, FINDING_OK, "config", NULL,
                        "%s does not exist: the defaults hold", config);
                return;
        }
        r = fact_run(argv, text);
        if (r == 0)
                findings_add(
                        &c->findings, FINDING_OK, "config", NULL, "%s and its drop-ins are valid", config);
        else if (r < 0)
                findings_add(&c->findings, FINDING_NOTE, "config",
                        "pmbrokerd --check-config, where it is installed", "cannot run %s to look at %s: %s",
                        argv[0], config, strerror(-r));
        else {
                text[strcspn(text, "\n")] = '\0';
                findings_add(&c->findings, FINDING_FAILURE, "config",
                        "`pmbrokerd --check-config` says all that is wrong; then `pmbrokerctl reload`", "%s",
                        text);
        }
}

/* ------------------------------------------------------------------------------------------------ kernel */

static void check_version(Check *c)
{
        char text[FACT_MAX];
        unsigned major, minor;

        if (fact_read(c->root, "/proc/sys/kernel/osrelease", text) < 0 ||
                !fact_parse_version(text, &major, &minor)) {
                findings_add(&c->findings, FINDING_NOTE, "kernel", NULL, "its version is not known");
                return;
        }
        if (major < 5 || (major == 5 && minor < 10))
                findings_add(&c->findings, FINDING_FAILURE, "kernel",
                        "install a newer one: 5.10 at least, 6.1 better", "%s: too old", text);
        else if (major == 5 && minor < 14)
                findings_add(&c->findings, FINDING_WARNING, "kernel",
                        "5.14 or later for stores of Type=fsdax", "%s: has no quotactl_fd()", text);
        else
                findings_add(&c->findings, FINDING_OK, "kernel", NULL, "%s has what is needed", text);
}

/* What stores of one type need: a bus, and the driver of devices on it. */
static void check_driver(
        Check *c, Pmbroker__V1__StoreKind kind, const char *bus, const char *driver, const char *advice)
{
        char path[64];

        if (!has_store_of(c, kind))
                return;
        (void)snprintf(path, sizeof(path), "/sys/bus/%s", bus);
        if (!fact_exists(c->root, path)) {
                findings_add(&c->findings, FINDING_FAILURE, "modules", advice,
                        "stores of Type=%s are configured, and the kernel has no %s devices",
                        store_kind_to_string(kind), bus);
                return;
        }
        (void)snprintf(path, sizeof(path), "/sys/bus/%s/drivers/%s", bus, driver);
        if (fact_exists(c->root, path))
                findings_add(&c->findings, FINDING_OK, "modules", NULL, "the driver %s is there", driver);
        else
                findings_add(&c->findings, FINDING_FAILURE, "modules", advice,
                        "the driver %s, which stores of Type=%s need, is not loaded", driver,
                        store_kind_to_string(kind));
}

static void check_modules(Check *c)
{
        check_driver(c, PMBROKER__V1__STORE_KIND__KIND_FSDAX, "nd", "nd_pmem",
                "`modprobe nd_pmem`, or another kernel");
        check_driver(
                c, PMBROKER__V1__STORE_KIND__KIND_KMEM, "dax", "kmem", "`modprobe kmem`, or another kernel");
}

static void check_huge_pages(Check *c)
{
        char text[FACT_MAX];

        if (!has_store_of(c, PMBROKER__V1__STORE_KIND__KIND_TMPFS))
                return;
        if (fact_read(c->root, "/sys/kernel/mm/transparent_hugepage/shmem_enabled", text) < 0)
                findings_add(&c->findings, FINDING_WARNING, "huge-pages",
                        "a kernel with CONFIG_TRANSPARENT_HUGEPAGE, or live with it: HugePages=never",
                        "the kernel has no transparent huge pages for tmpfs");
        else if (strstr(text, "[deny]"))
                findings_add(&c->findings, FINDING_WARNING, "huge-pages",
                        "`echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled`",
                        "they are denied to tmpfs, whatever HugePages= says");
        else
                findings_add(&c->findings, FINDING_OK, "huge-pages", NULL, "tmpfs may have them");
}

static void check_swap(Check *c)
{
        char text[FACT_MAX];
        unsigned major, minor;
        bool noswap;

        if (!has_store_of(c, PMBROKER__V1__STORE_KIND__KIND_TMPFS) ||
                fact_read(c->root, "/proc/swaps", text) < 0 || !strchr(text, '\n'))
                return;
        noswap = fact_read(c->root, "/proc/sys/kernel/osrelease", text) == 0 &&
                 fact_parse_version(text, &major, &minor) && (major > 6 || (major == 6 && minor >= 4));
        if (!noswap)
                findings_add(&c->findings, FINDING_WARNING, "swap",
                        "Linux 6.4 or later, which can exempt them, or `swapoff -a`",
                        "there is swap, and pools of tmpfs stores may be written to it");
}

void check_kernel(Check *c)
{
        check_version(c);
        check_modules(c);
        check_huge_pages(c);
        check_swap(c);
}

/* ------------------------------------------------------------------------------------------------ limits */

/* "Max open files            1024                 524288               files": the soft one. */
static bool parse_nofile(const char *limits, uint64_t *ret)
{
        const char *line = fact_find_line(limits, "Max open files");

        return line && sscanf(line, "Max open files %" SCNu64, ret) == 1;
}

static void check_nofile(Check *c)
{
        char path[64], text[FACT_MAX];
        uint64_t limit;

        if (!c->overview || c->overview->status->pid == 0)
                return;
        (void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/limits", c->overview->status->pid);
        if (fact_read(c->root, path, text) < 0 || !parse_nofile(text, &limit))
                findings_add(&c->findings, FINDING_NOTE, "nofile", "run check as root to see it",
                        "how many files pmbrokerd may open is not known");
        else if (limit < NOFILE_MIN)
                findings_add(&c->findings, FINDING_WARNING, "nofile", "LimitNOFILE=524288 in its unit",
                        "pmbrokerd may open %" PRIu64 " files: one is needed for each session and owner",
                        limit);
        else
                findings_add(&c->findings, FINDING_OK, "nofile", NULL,
                        "pmbrokerd may open %" PRIu64 " files", limit);
}

void check_limits(Check *c)
{
        uint64_t value;

        check_nofile(c);
        if (fact_read_number(c->root, "/proc/sys/vm/max_map_count", &value) < 0)
                findings_add(
                        &c->findings, FINDING_NOTE, "max-map-count", NULL, "vm.max_map_count is not known");
        else if (value < MAP_COUNT_MIN)
                findings_add(&c->findings, FINDING_WARNING, "max-map-count",
                        "`sysctl vm.max_map_count=65530` or more",
                        "vm.max_map_count is %" PRIu64
                        ": programs with many threads may run out of mappings",
                        value);
        else
                findings_add(&c->findings, FINDING_OK, "max-map-count", NULL, "vm.max_map_count is %" PRIu64,
                        value);
        if (fact_read_number(c->root, "/proc/sys/fs/file-max", &value) == 0 && value < FILE_MAX_MIN)
                findings_add(&c->findings, FINDING_WARNING, "file-max", "`sysctl fs.file-max=1048576`",
                        "fs.file-max is %" PRIu64 " for the whole system", value);
        if (fact_read_number(c->root, "/proc/sys/vm/overcommit_memory", &value) == 0 && value == 2)
                findings_add(&c->findings, FINDING_WARNING, "overcommit", "`sysctl vm.overcommit_memory=0`",
                        "vm.overcommit_memory is 2: the address space that the library reserves counts");
}

/* ----------------------------------------------------------------------------------------------- systemd */

static bool is_active(const char *unit)
{
        const char *argv[] = {"systemctl", "is-active", "--quiet", unit, NULL};
        char text[FACT_MAX];

        return fact_run(argv, text) == 0;
}

void check_systemd(Check *c)
{
        const char *argv[] = {"systemctl", "--version", NULL};
        char text[FACT_MAX];
        unsigned version;

        if (!fact_exists(c->root, "/run/systemd/system")) {
                findings_add(&c->findings, FINDING_NOTE, "systemd", NULL,
                        "it does not run this system: pmbrokerd is started by hand, and nobody keeps its "
                        "mounts");
                return;
        }
        if (fact_run(argv, text) != 0 || sscanf(text, "systemd %u", &version) != 1)
                findings_add(&c->findings, FINDING_NOTE, "systemd", NULL, "its version is not known");
        else if (version < SYSTEMD_MIN)
                findings_add(&c->findings, FINDING_WARNING, "systemd", "252 at least, as in Debian 12",
                        "version %u: the units were not tried with it", version);
        else
                findings_add(&c->findings, FINDING_OK, "systemd", NULL, "version %u%s", version,
                        version < 254 ? "; stopping the provisioner, unlike restarting it, ends pools" : "");
        if (!is_active("pmbrokerd.socket"))
                findings_add(&c->findings, FINDING_WARNING, "units",
                        "`systemctl enable --now pmbrokerd.socket pmbroker-provisioner.socket`",
                        "pmbrokerd.socket is not active");
        else
                findings_add(&c->findings, FINDING_OK, "units", NULL, "pmbrokerd.socket is active");
}
