/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl stores: what pools are cut from. */

#include "ctl/verb.h"

#include <string.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/fetch.h"
#include "ctl/message.h"
#include "ctl/store-row.h"

enum {
        COLUMN_NAME,
        COLUMN_KIND,
        COLUMN_STATE,
        COLUMN_CAPACITY,
        COLUMN_CHARGED,
        COLUMN_FREE,
        COLUMN_POOLS,
        COLUMN_PAGE,
        COLUMN_ENFORCED,
        COLUMN_KEEPS,
        COLUMN_DAX,
        COLUMN_QUOTA,
        COLUMN_SEAL,
        COLUMN_SURPLUS,
        COLUMN_NODE,
        COLUMN_CREATED,
        COLUMN_RELEASED,
        COLUMN_BAD,
        COLUMN_REASON,
};

const TableColumn store_columns[] = {
        [COLUMN_NAME] = {"NAME", 0.1, TABLE_TEXT, 0, "name of the store"},
        [COLUMN_KIND] = {"KIND", 0, TABLE_TEXT, 0, "fsdax, kmem, tmpfs or dir"},
        [COLUMN_STATE] = {"STATE", 0, TABLE_TEXT, 0, "available, draining, drained or unavailable"},
        [COLUMN_CAPACITY] = {"CAPACITY", 0, TABLE_SIZE, TABLE_RIGHT, "bytes it has for pools"},
        [COLUMN_CHARGED] = {"CHARGED", 0, TABLE_SIZE, TABLE_RIGHT, "bytes that pools have of it"},
        [COLUMN_FREE] = {"FREE", 0, TABLE_SIZE, TABLE_RIGHT, "the difference"},
        [COLUMN_POOLS] = {"POOLS", 0, TABLE_NUMBER, TABLE_RIGHT, "number of pools"},
        [COLUMN_PAGE] = {"PAGE", 0, TABLE_SIZE, TABLE_RIGHT, "page size of its memory"},
        [COLUMN_ENFORCED] = {"ENFORCED", 0, TABLE_TEXT, 0, "what holds the limits: kernel or audit"},
        [COLUMN_KEEPS] = {"KEEPS", 0, TABLE_BOOL, 0, "whether pools outlive a restart of the provisioner"},
        [COLUMN_DAX] = {"DAX", 0, TABLE_BOOL, TABLE_OPTIONAL,
                "fsdax, kmem: whether the device's memory itself is mapped"},
        [COLUMN_QUOTA] = {"QUOTA", 0, TABLE_BOOL, TABLE_OPTIONAL,
                "fsdax, kmem: whether the kernel refuses what is over a limit"},
        [COLUMN_SEAL] = {"SEAL", 0, TABLE_BOOL, TABLE_OPTIONAL,
                "fsdax: whether a client can only map its file"},
        [COLUMN_SURPLUS] = {"SURPLUS", 0, TABLE_SIZE, TABLE_RIGHT | TABLE_OPTIONAL,
                "fsdax: bytes that the kernel takes for pools beyond their sizes"},
        [COLUMN_NODE] = {"NODE", 0, TABLE_NUMBER, TABLE_RIGHT | TABLE_OPTIONAL,
                "kmem: the NUMA node that its memory is of"},
        [COLUMN_CREATED] = {"CREATED", 0, TABLE_NUMBER, TABLE_RIGHT | TABLE_OPTIONAL,
                "pools made since the broker started"},
        [COLUMN_RELEASED] = {"RELEASED", 0, TABLE_NUMBER, TABLE_RIGHT | TABLE_OPTIONAL,
                "pools gone since the broker started"},
        [COLUMN_BAD] = {"BAD", 0, TABLE_SIZE, TABLE_RIGHT | TABLE_OPTIONAL,
                "fsdax: bytes of its device that cannot be read"},
        [COLUMN_REASON] = {"REASON", 0.2, TABLE_TEXT, TABLE_TRUNC, "why it is not available"},
        {0},
};

const char *store_kind_to_string(Pmbroker__V1__StoreKind kind)
{
        static const char *const names[] = {
                [PMBROKER__V1__STORE_KIND__KIND_UNKNOWN] = "unknown",
                [PMBROKER__V1__STORE_KIND__KIND_TMPFS] = "tmpfs",
                [PMBROKER__V1__STORE_KIND__KIND_DIR] = "dir",
                [PMBROKER__V1__STORE_KIND__KIND_FSDAX] = "fsdax",
                [PMBROKER__V1__STORE_KIND__KIND_KMEM] = "kmem",
        };

        return (unsigned)kind < ELEMENTSOF(names) ? names[kind] : "unknown";
}

const char *store_state_to_string(const Pmbroker__V1__StoreRow *row)
{
        if (!row->available)
                return "unavailable";
        if (!row->drained)
                return "available";
        return row->pools > 0 ? "draining" : "drained";
}

static void set_tested(Table *t, unsigned column, Pmbroker__V1__Tested tested)
{
        if (tested != PMBROKER__V1__TESTED__NOT_TESTED)
                table_set_number(t, column, tested == PMBROKER__V1__TESTED__HOLDS);
}

static int add_store(Table *t, const Pmbroker__V1__StoreRow *row)
{
        if (table_add_row(t) < 0)
                return message_oom();
        table_set_text(t, COLUMN_NAME, row->name);
        table_set_text(t, COLUMN_KIND, store_kind_to_string(row->kind));
        table_set_text(t, COLUMN_STATE, store_state_to_string(row));
        table_set_number(t, COLUMN_CAPACITY, row->capacity);
        table_set_number(t, COLUMN_CHARGED, row->charged);
        table_set_number(t, COLUMN_FREE, row->capacity > row->charged ? row->capacity - row->charged : 0);
        table_set_number(t, COLUMN_POOLS, row->pools);
        if (row->page_size > 0)
                table_set_number(t, COLUMN_PAGE, row->page_size);
        table_set_text(t, COLUMN_ENFORCED, row->enforced_by);
        table_set_number(t, COLUMN_KEEPS, row->keeps_pools);
        set_tested(t, COLUMN_DAX, row->dax);
        set_tested(t, COLUMN_QUOTA, row->quota);
        set_tested(t, COLUMN_SEAL, row->seal);
        if (row->kind == PMBROKER__V1__STORE_KIND__KIND_FSDAX && row->available)
                table_set_number(t, COLUMN_SURPLUS, row->surplus);
        if (row->kind == PMBROKER__V1__STORE_KIND__KIND_KMEM && row->available && row->node >= 0)
                table_set_number(t, COLUMN_NODE, (uint64_t)row->node);
        table_set_number(t, COLUMN_CREATED, row->created);
        table_set_number(t, COLUMN_RELEASED, row->released);
        if (row->bad_bytes > 0)
                table_set_number(t, COLUMN_BAD, row->bad_bytes);
        table_set_text(t, COLUMN_REASON, row->reason);
        return EXIT_DONE;
}

/* Those of this name, or all of them. */
static int add_stores(Table *t, const Pmbroker__V1__StoreList *list, const char *name)
{
        bool found = false;

        for (size_t i = 0; i < list->n_rows; i++) {
                int r;

                if (name && strcmp(list->rows[i]->name, name) != 0)
                        continue;
                r = add_store(t, list->rows[i]);
                if (r != EXIT_DONE)
                        return r;
                found = true;
        }
        if (name && !found) {
                message_error("store %s: there is no such store", name);
                return EXIT_REFUSED;
        }
        return EXIT_DONE;
}

int verb_stores(const Arguments *arguments)
{
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(cleanup_wire_free_server) Pmbroker__V1__ServerPacket *answer = NULL;
        _cleanup_(cleanup_table_free) Table *table = NULL;
        size_t i = 0;
        int r;

        r = table_new(store_columns, &arguments->table, &table);
        if (r == EXIT_DONE)
                r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = fetch_stores(c, &answer);
        /* Without operands once, with NULL: the array of operands ends with one. */
        do
                if (r == EXIT_DONE)
                        r = add_stores(table, answer->stores, arguments->operands[i]);
        while (++i < arguments->n_operands);
        return r == EXIT_DONE ? table_print(table, "stores", stdout) : r;
}
