/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The configuration: /etc/pmbroker/pmbrokerd.conf and pmbrokerd.conf.d/ *.conf beside it, read in that order
 * (the drop-ins sorted by name), later settings replacing earlier ones. Parsed fully and validated fully
 * before anything uses it: a Config that exists is a good one. Settings are rows of a table in
 * config-table.c. Only config_load() makes a Config; what it points to lives as long as it does.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "core/tenant.h"
#include "ipc/limits.h"
#include "provisioner/store-config.h"

#define CONFIG_DEFAULT_PATH PMBROKER_SYSCONFDIR "/pmbroker/pmbrokerd.conf"

typedef struct Config {
        /* [Broker] */
        Limits limits;
        char *admin_group;  /* name; "" for none */
        uint32_t admin_gid; /* resolved; (uint32_t) -1: none */
        char *observer_group;
        uint32_t observer_gid;

        /* [Store NAME], in order of appearance; when no file names any: one tmpfs store "ram" of 25% */
        StoreConfig *stores;
        size_t n_stores;

        /* [Tenant NAME], in order of appearance, then the built-in "default" unless DefaultTenant=no or
         * named itself; user and group names are resolved */
        TenantConfig *tenants;
        size_t n_tenants;
} Config;

/*
 * Read `path` and its drop-ins. A file that does not exist is an error only if `must_exist`. Returns 0 and
 * the configuration, or a negative errno and in *ret_message what is wrong where, "FILE:LINE: [SECTION]
 * SETTING=: reason": malloc'd, one or several lines without a newline at the end, NULL when out of memory.
 * -EINVAL for anything wrong in the text. Success leaves *ret_message alone, failure *ret.
 */
int config_load(const char *path, bool must_exist, Config **ret, char **ret_message);
Config *config_free(Config *config);
DEFINE_CLEANUP(Config, config_free);

/* The effective configuration in the syntax of the file, for --check-config. */
void config_dump(const Config *config, FILE *f);
