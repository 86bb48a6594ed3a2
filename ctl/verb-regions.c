/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl regions: persistent memory, and what is on it. */

#include "ctl/verb.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/pages.h"

#define ADDRESS_MAX 24

enum {
        COLUMN_REGION,
        COLUMN_NAMESPACE,
        COLUMN_ADDRESS,
        COLUMN_SIZE,
        COLUMN_FREE,
        COLUMN_LABELS,
        COLUMN_NODE,
        COLUMN_ENABLED,
        COLUMN_MODE,
        COLUMN_UUID,
        COLUMN_CONTENT,
};

const TableColumn region_columns[] = {
        [COLUMN_REGION] = {"REGION", 0, TABLE_TEXT, 0, "name of the region; may be another after a boot"},
        [COLUMN_NAMESPACE] = {"NAMESPACE", 0, TABLE_TEXT, 0,
                "name of the namespace in it; - is the region itself"},
        [COLUMN_ADDRESS] = {"ADDRESS", 0, TABLE_TEXT, 0, "where the region begins: for Region= and Adopt="},
        [COLUMN_SIZE] = {"SIZE", 0, TABLE_SIZE, TABLE_RIGHT, "bytes"},
        [COLUMN_FREE] = {"FREE", 0, TABLE_SIZE, TABLE_RIGHT,
                "largest namespace that could be made in the region"},
        [COLUMN_LABELS] = {"LABELS", 0, TABLE_TEXT, 0, "yes; none: there is room for them; no"},
        [COLUMN_NODE] = {"NODE", 0, TABLE_NUMBER, TABLE_RIGHT | TABLE_OPTIONAL, "NUMA node"},
        [COLUMN_ENABLED] = {"ENABLED", 0, TABLE_BOOL, TABLE_OPTIONAL, "whether the kernel uses it"},
        [COLUMN_MODE] = {"MODE", 0, TABLE_TEXT, 0, "of a namespace: fsdax, devdax, sector or raw"},
        [COLUMN_UUID] = {"UUID", 0, TABLE_TEXT, TABLE_OPTIONAL, "of a namespace: for Adopt="},
        [COLUMN_CONTENT] = {"CONTENT", 0.2, TABLE_TEXT, TABLE_TRUNC,
                "of a namespace: whose it is, what is on it"},
        {0},
};

/* Text that is made here; the table borrows it. */
typedef char Address[ADDRESS_MAX];

static int add_region(Table *t, const Pmbroker__V1__RegionRow *row, Address address)
{
        bool is_region = row->namespace_[0] == '\0';

        if (table_add_row(t) < 0)
                return message_oom();
        (void)snprintf(address, ADDRESS_MAX, "0x%" PRIx64, row->start);
        table_set_text(t, COLUMN_REGION, row->region);
        table_set_text(t, COLUMN_NAMESPACE, row->namespace_);
        if (is_region)
                table_set_text(t, COLUMN_ADDRESS, address);
        table_set_number(t, COLUMN_SIZE, row->size);
        if (is_region) {
                table_set_number(t, COLUMN_FREE, row->free);
                table_set_text(t, COLUMN_LABELS, row->labels ? "yes" : row->label_area ? "none" : "no");
        }
        if (row->node >= 0)
                table_set_number(t, COLUMN_NODE, (uint64_t)row->node);
        table_set_number(t, COLUMN_ENABLED, row->enabled);
        table_set_text(t, COLUMN_MODE, row->mode);
        table_set_text(t, COLUMN_UUID, row->uuid);
        table_set_text(t, COLUMN_CONTENT, row->content);
        return EXIT_DONE;
}

static uint64_t get_next(const Pmbroker__V1__ServerPacket *page)
{
        return page->regions->next;
}

int verb_regions(const Arguments *arguments)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__ListRegions list = PMBROKER__V1__LIST_REGIONS__INIT;
        CtlRequest request = {.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_REGIONS};
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(pages_done) Pages pages = {0};
        _cleanup_(cleanup_table_free) Table *table = NULL;
        _cleanup_free_ Address *addresses = NULL;
        size_t n = 0;
        int r;

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_LIST_REGIONS;
        packet.list_regions = &list;
        r = table_new(region_columns, &arguments->table, &table);
        if (r == EXIT_DONE)
                r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = pages_fetch(c, &request, &list.after, get_next, &pages);
        if (r != EXIT_DONE)
                return r;
        for (size_t i = 0; i < pages.n; i++)
                n += pages.packets[i]->regions->n_rows;
        addresses = calloc(n + 1, sizeof(*addresses));
        if (!addresses)
                return message_oom();
        n = 0;
        for (size_t i = 0; i < pages.n; i++)
                for (size_t k = 0; r == EXIT_DONE && k < pages.packets[i]->regions->n_rows; k++)
                        r = add_region(table, pages.packets[i]->regions->rows[k], addresses[n++]);
        if (r != EXIT_DONE)
                return r;
        if (n == 0 && !arguments->quiet && !arguments->table.json)
                message_note("no persistent memory");
        return table_print(table, "regions", stdout);
}
