/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl tenants: who is charged, and up to what. */

#include "ctl/verb.h"

#include <string.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/fetch.h"
#include "ctl/message.h"
#include "ctl/pages.h"

enum {
        COLUMN_NAME,
        COLUMN_CHARGED,
        COLUMN_LIMIT,
        COLUMN_PERCENT,
        COLUMN_POOLS,
        COLUMN_MAXPOOLS,
        COLUMN_LARGEST,
        COLUMN_SET,
        COLUMN_CREATED,
        COLUMN_RELEASED,
        COLUMN_REFUSED,
        COLUMN_STORES,
};

const TableColumn tenant_columns[] = {
        [COLUMN_NAME] = {"NAME", 0.1, TABLE_TEXT, 0, "name of the tenant"},
        [COLUMN_CHARGED] = {"CHARGED", 0, TABLE_SIZE, TABLE_RIGHT, "bytes that its pools have"},
        [COLUMN_LIMIT] = {"LIMIT", 0, TABLE_SIZE, TABLE_RIGHT,
                "bytes they may have: PERCENT of the stores as they are now, and what is set"},
        [COLUMN_PERCENT] = {"PERCENT", 0, TABLE_PERCENT, TABLE_RIGHT, "what they may have of each store"},
        [COLUMN_POOLS] = {"POOLS", 0, TABLE_NUMBER, TABLE_RIGHT, "number of pools"},
        [COLUMN_MAXPOOLS] = {"MAXPOOLS", 0, TABLE_NUMBER, TABLE_RIGHT, "how many it may have"},
        [COLUMN_LARGEST] = {"LARGEST", 0, TABLE_SIZE, TABLE_RIGHT, "how large one of them may be"},
        [COLUMN_SET] = {"SET", 0, TABLE_TEXT, 0,
                "limits that were set at run time, until the broker restarts"},
        [COLUMN_CREATED] = {"CREATED", 0, TABLE_NUMBER, TABLE_RIGHT | TABLE_OPTIONAL,
                "pools made since the broker started"},
        [COLUMN_RELEASED] = {"RELEASED", 0, TABLE_NUMBER, TABLE_RIGHT | TABLE_OPTIONAL,
                "pools gone since the broker started"},
        [COLUMN_REFUSED] = {"REFUSED", 0, TABLE_NUMBER, TABLE_RIGHT | TABLE_OPTIONAL,
                "requests refused since the broker started"},
        [COLUMN_STORES] = {"STORES", 0.2, TABLE_TEXT, TABLE_TRUNC,
                "stores that it may use; none named: all"},
        {0},
};

/* As on the command line of set-limit. */
static const char *set_to_string(uint32_t overridden)
{
        static const char *const names[] = {"", "Bytes", "Pools", "Bytes,Pools", "PoolBytes",
                "Bytes,PoolBytes", "Pools,PoolBytes", "Bytes,Pools,PoolBytes"};

        return overridden < ELEMENTSOF(names) ? names[overridden] : "other";
}

static int add_tenant(Table *t, const Pmbroker__V1__TenantRow *row)
{
        if (table_add_row(t) < 0)
                return message_oom();
        table_set_text(t, COLUMN_NAME, row->name);
        table_set_number(t, COLUMN_CHARGED, row->bytes);
        if (row->bytes_limit < UINT64_MAX)
                table_set_number(t, COLUMN_LIMIT, row->bytes_limit);
        if (row->percent > 0)
                table_set_number(t, COLUMN_PERCENT, row->percent);
        table_set_number(t, COLUMN_POOLS, row->pools);
        if (row->pools_max < UINT32_MAX)
                table_set_number(t, COLUMN_MAXPOOLS, row->pools_max);
        if (row->pool_bytes_max < UINT64_MAX)
                table_set_number(t, COLUMN_LARGEST, row->pool_bytes_max);
        table_set_text(t, COLUMN_SET, set_to_string(row->overridden));
        table_set_number(t, COLUMN_CREATED, row->created);
        table_set_number(t, COLUMN_RELEASED, row->released);
        table_set_number(t, COLUMN_REFUSED, row->refused);
        table_set_text(t, COLUMN_STORES, row->stores);
        return EXIT_DONE;
}

/* Those of this name, or all of them. */
static int add_tenants(Table *t, const Pages *pages, const char *name)
{
        bool found = false;

        for (size_t i = 0; i < pages->n; i++) {
                const Pmbroker__V1__TenantList *list = pages->packets[i]->tenants;

                for (size_t k = 0; k < list->n_rows; k++) {
                        int r;

                        if (name && strcmp(list->rows[k]->name, name) != 0)
                                continue;
                        r = add_tenant(t, list->rows[k]);
                        if (r != EXIT_DONE)
                                return r;
                        found = true;
                }
        }
        if (name && !found) {
                message_error("tenant %s: there is no such tenant", name);
                return EXIT_REFUSED;
        }
        return EXIT_DONE;
}

int verb_tenants(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(pages_done) Pages pages = {0};
        _cleanup_(cleanup_table_free) Table *table = NULL;
        size_t i = 0;
        int r;

        r = table_new(tenant_columns, &arguments->table, &table);
        if (r == EXIT_DONE)
                r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = fetch_tenants(c, &pages);
        /* Without operands once, with NULL: the array of operands ends with one. */
        do
                if (r == EXIT_DONE)
                        r = add_tenants(table, &pages, arguments->operands[i]);
        while (++i < arguments->n_operands);
        return r == EXIT_DONE ? table_print(table, "tenants", stdout) : r;
}
