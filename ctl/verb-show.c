/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl show POOL: all there is to say of one pool. */

#include "ctl/verb.h"

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/pool-table.h"
#include "ctl/pools.h"

int verb_show(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(pools_done) Pools pools = {0};
        _cleanup_(users_done) Users users = {.no_names = arguments->host};
        _cleanup_(cleanup_table_free) Table *table = NULL;
        TableOptions options = arguments->table;
        int r;

        options.all = true;
        r = table_new(pool_columns, &options, &table);
        if (r == EXIT_DONE)
                r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = pools_fetch_one(c, arguments->operands[0], &pools);
        if (r == EXIT_DONE)
                r = table_add_pool(table, pools.rows[0], &users);
        return r == EXIT_DONE ? table_print_record(table, stdout) : r;
}
