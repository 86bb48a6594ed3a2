/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl list: all pools, a row each. */

#include "ctl/verb.h"

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/pool-table.h"
#include "ctl/pools.h"

int verb_list(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(pools_done) Pools pools = {0};
        _cleanup_(users_done) Users users = {.no_names = arguments->host};
        _cleanup_(cleanup_table_free) Table *table = NULL;
        int r;

        r = table_new(pool_columns, &arguments->table, &table);
        if (r == EXIT_DONE)
                r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = pools_fetch(c, &pools);
        for (size_t i = 0; r == EXIT_DONE && i < pools.n_rows; i++)
                r = table_add_pool(table, pools.rows[i], &users);
        if (r != EXIT_DONE)
                return r;
        if (pools.n_rows == 0 && !arguments->quiet && !arguments->table.json)
                message_note("no pools%s",
                        ctl_is_admin(c) ? "" : "; those of other users are shown to administrators only");
        return table_print(table, "pools", stdout);
}
