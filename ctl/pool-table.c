/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools as rows of a table. */

#include "ctl/pool-table.h"

#include "base/cleanup.h"
#include "ctl/exit.h"
#include "ctl/message.h"

enum {
        COLUMN_ID,
        COLUMN_NAME,
        COLUMN_TENANT,
        COLUMN_USER,
        COLUMN_UID,
        COLUMN_PID,
        COLUMN_COMMAND,
        COLUMN_STORE,
        COLUMN_LIMIT,
        COLUMN_USED,
        COLUMN_MAX,
        COLUMN_LENGTH,
        COLUMN_TARGET,
        COLUMN_STATE,
        COLUMN_ENFORCED,
        COLUMN_GRACE,
        COLUMN_BAD,
        COLUMN_AGE,
};

const TableColumn pool_columns[] = {
        [COLUMN_ID] = {"ID", 16, TABLE_ID, 0, "id of the pool"},
        [COLUMN_NAME] = {"NAME", 0.1, TABLE_TEXT, TABLE_TRUNC, "label that its owner gave it"},
        [COLUMN_TENANT] = {"TENANT", 0.1, TABLE_TEXT, TABLE_TRUNC, "who is charged for it"},
        [COLUMN_USER] = {"USER", 0.1, TABLE_TEXT, TABLE_TRUNC, "user of the owning process"},
        [COLUMN_UID] = {"UID", 0, TABLE_NUMBER, TABLE_RIGHT | TABLE_OPTIONAL, "the same as a number"},
        [COLUMN_PID] = {"PID", 0, TABLE_NUMBER, TABLE_RIGHT, "owning process"},
        [COLUMN_COMMAND] = {"COMMAND", 0.1, TABLE_TEXT, TABLE_TRUNC, "what that process calls itself"},
        [COLUMN_STORE] = {"STORE", 0.1, TABLE_TEXT, TABLE_TRUNC, "store it was cut from"},
        [COLUMN_LIMIT] = {"LIMIT", 0, TABLE_SIZE, TABLE_RIGHT, "its size: what it is held to"},
        [COLUMN_USED] = {"USED", 0, TABLE_SIZE, TABLE_RIGHT, "what the kernel counts for it"},
        [COLUMN_MAX] = {"MAX", 0, TABLE_SIZE, TABLE_RIGHT | TABLE_OPTIONAL, "size it may ever grow to"},
        [COLUMN_LENGTH] = {"LENGTH", 0, TABLE_SIZE, TABLE_RIGHT | TABLE_OPTIONAL, "length of its file"},
        [COLUMN_TARGET] = {"TARGET", 0, TABLE_SIZE, TABLE_RIGHT | TABLE_OPTIONAL, "size it is shrinking to"},
        [COLUMN_STATE] = {"STATE", 0, TABLE_TEXT, 0, "reserved, ready, resizing or releasing"},
        [COLUMN_ENFORCED] = {"ENFORCED", 0, TABLE_TEXT, TABLE_OPTIONAL,
                "what holds the limit: kernel or audit"},
        [COLUMN_GRACE] = {"GRACE", 0, TABLE_AGE, TABLE_RIGHT | TABLE_OPTIONAL,
                "time until it is revoked, if it is to be"},
        [COLUMN_BAD] = {"BAD", 0, TABLE_SIZE, TABLE_RIGHT | TABLE_OPTIONAL,
                "bytes of its memory that cannot be read"},
        [COLUMN_AGE] = {"AGE", 0, TABLE_AGE, TABLE_RIGHT, "time since it was created"},
        {0},
};

static const char *state_to_string(Pmbroker__V1__PoolState state)
{
        static const char *const names[] = {
                [PMBROKER__V1__POOL_STATE__STATE_UNKNOWN] = "unknown",
                [PMBROKER__V1__POOL_STATE__STATE_RESERVED] = "reserved",
                [PMBROKER__V1__POOL_STATE__STATE_READY] = "ready",
                [PMBROKER__V1__POOL_STATE__STATE_RESIZING] = "resizing",
                [PMBROKER__V1__POOL_STATE__STATE_RELEASING] = "releasing",
        };

        return (unsigned)state < ELEMENTSOF(names) ? names[state] : "unknown";
}

int table_add_pool(Table *t, const Pmbroker__V1__PoolRow *row, Users *users)
{
        if (table_add_row(t) < 0)
                return message_oom();
        table_set_number(t, COLUMN_ID, row->pool);
        table_set_text(t, COLUMN_NAME, row->name);
        table_set_text(t, COLUMN_TENANT, row->tenant);
        if (table_wants(t, COLUMN_USER)) {
                const char *user = users_get_name(users, row->uid);

                if (!user)
                        return message_oom();
                table_set_text(t, COLUMN_USER, user);
        }
        table_set_number(t, COLUMN_UID, row->uid);
        if (row->pid > 0)
                table_set_number(t, COLUMN_PID, row->pid);
        table_set_text(t, COLUMN_COMMAND, row->command);
        table_set_text(t, COLUMN_STORE, row->store);
        table_set_number(t, COLUMN_LIMIT, row->size);
        if (row->used_known)
                table_set_number(t, COLUMN_USED, row->used);
        table_set_number(t, COLUMN_MAX, row->max);
        table_set_number(t, COLUMN_LENGTH, row->length);
        if (row->target > 0)
                table_set_number(t, COLUMN_TARGET, row->target);
        table_set_text(t, COLUMN_STATE, state_to_string(row->state));
        table_set_text(t, COLUMN_ENFORCED, row->audited ? "audit" : "kernel");
        if (row->grace_usec > 0)
                table_set_number(t, COLUMN_GRACE, row->grace_usec);
        if (row->bad_bytes > 0)
                table_set_number(t, COLUMN_BAD, row->bad_bytes);
        table_set_number(t, COLUMN_AGE, row->age_usec);
        return EXIT_DONE;
}
