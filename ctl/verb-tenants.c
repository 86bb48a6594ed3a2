/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl tenants: who is charged, and up to what. */

#include "ctl/verb.h"

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/message.h"

DEFINE_CLEANUP(Table, table_free);

enum {
        COLUMN_NAME,
        COLUMN_CHARGED,
        COLUMN_LIMIT,
        COLUMN_PERCENT,
        COLUMN_POOLS,
        COLUMN_MAXPOOLS,
        COLUMN_LARGEST,
        COLUMN_STORES,
};

const TableColumn tenant_columns[] = {
        [COLUMN_NAME] = {"NAME", 0.1, TABLE_TEXT, 0, "name of the tenant"},
        [COLUMN_CHARGED] = {"CHARGED", 0, TABLE_SIZE, TABLE_RIGHT, "bytes that its pools have"},
        [COLUMN_LIMIT] = {"LIMIT", 0, TABLE_SIZE, TABLE_RIGHT, "bytes they may have, over all stores"},
        [COLUMN_PERCENT] = {"PERCENT", 0, TABLE_PERCENT, TABLE_RIGHT, "what they may have of each store"},
        [COLUMN_POOLS] = {"POOLS", 0, TABLE_NUMBER, TABLE_RIGHT, "number of pools"},
        [COLUMN_MAXPOOLS] = {"MAXPOOLS", 0, TABLE_NUMBER, TABLE_RIGHT, "how many it may have"},
        [COLUMN_LARGEST] = {"LARGEST", 0, TABLE_SIZE, TABLE_RIGHT, "how large one of them may be"},
        [COLUMN_STORES] = {"STORES", 0.2, TABLE_TEXT, TABLE_TRUNC, "stores that it may use; none named: all"},
        {0},
};

static int add_tenant(Table *t, const Pmbroker__V1__TenantRow *row)
{
        if (table_add_row(t) < 0)
                return message_oom();
        table_set_text(t, COLUMN_NAME, row->name);
        table_set_number(t, COLUMN_CHARGED, row->bytes);
        if (row->bytes_max > 0 && row->bytes_max < UINT64_MAX)
                table_set_number(t, COLUMN_LIMIT, row->bytes_max);
        if (row->percent > 0)
                table_set_number(t, COLUMN_PERCENT, row->percent);
        table_set_number(t, COLUMN_POOLS, row->pools);
        if (row->pools_max < UINT32_MAX)
                table_set_number(t, COLUMN_MAXPOOLS, row->pools_max);
        if (row->pool_bytes_max < UINT64_MAX)
                table_set_number(t, COLUMN_LARGEST, row->pool_bytes_max);
        table_set_text(t, COLUMN_STORES, row->stores);
        return EXIT_DONE;
}

/* The pages have to stay while the table borrows from them: each prints nothing, the last one all. */
static int add_pages(CtlConnection *c, uint64_t after, Table *table)
{
        return c && table ? (int)after : 0;
}
