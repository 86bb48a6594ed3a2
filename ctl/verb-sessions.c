/* SPDX-License-Identifier: BSD-3-Clause */
/* pmbrokerctl sessions: who is connected. */

#include "ctl/verb.h"

#include "base/cleanup.h"
#include "ctl/connection.h"
#include "ctl/exit.h"
#include "ctl/message.h"
#include "ctl/pages.h"
#include "ctl/user.h"

enum {
        COLUMN_SESSION,
        COLUMN_USER,
        COLUMN_UID,
        COLUMN_PID,
        COLUMN_COMMAND,
        COLUMN_UNIT,
        COLUMN_ROLE,
        COLUMN_AGE,
        COLUMN_REQUESTS,
        COLUMN_BUSY,
        COLUMN_UNREAD,
        COLUMN_POOLS,
        COLUMN_BYTES,
        COLUMN_WATCHING,
};

const TableColumn session_columns[] = {
        [COLUMN_SESSION] = {"SESSION", 0, TABLE_NUMBER, TABLE_RIGHT, "number of the session"},
        [COLUMN_USER] = {"USER", 0.1, TABLE_TEXT, TABLE_TRUNC, "user of the process"},
        [COLUMN_UID] = {"UID", 0, TABLE_NUMBER, TABLE_RIGHT | TABLE_OPTIONAL, "the same as a number"},
        [COLUMN_PID] = {"PID", 0, TABLE_NUMBER, TABLE_RIGHT, "process"},
        [COLUMN_COMMAND] = {"COMMAND", 0.1, TABLE_TEXT, TABLE_TRUNC, "what that process calls itself"},
        [COLUMN_UNIT] = {"UNIT", 0.2, TABLE_TEXT, TABLE_TRUNC | TABLE_OPTIONAL,
                "its systemd unit; known when a tenant is matched by one"},
        [COLUMN_ROLE] = {"ROLE", 0, TABLE_TEXT, 0, "owner, observer or admin"},
        [COLUMN_AGE] = {"AGE", 0, TABLE_AGE, TABLE_RIGHT, "time since it connected"},
        [COLUMN_REQUESTS] = {"REQUESTS", 0, TABLE_NUMBER, TABLE_RIGHT, "requests so far"},
        [COLUMN_BUSY] = {"BUSY", 0, TABLE_NUMBER, TABLE_RIGHT, "requests that are worked on"},
        [COLUMN_UNREAD] = {"UNREAD", 0, TABLE_SIZE, TABLE_RIGHT | TABLE_OPTIONAL,
                "bytes of answers that it has not read"},
        [COLUMN_POOLS] = {"POOLS", 0, TABLE_NUMBER, TABLE_RIGHT, "pools of the process"},
        [COLUMN_BYTES] = {"BYTES", 0, TABLE_SIZE, TABLE_RIGHT, "what they have"},
        [COLUMN_WATCHING] = {"WATCHING", 0, TABLE_BOOL, TABLE_OPTIONAL, "whether it is told what happens"},
        {0},
};

static const char *role_to_string(Pmbroker__V1__SessionRole role)
{
        static const char *const names[] = {
                [PMBROKER__V1__SESSION_ROLE__ROLE_UNKNOWN] = "unknown",
                [PMBROKER__V1__SESSION_ROLE__ROLE_OWNER] = "owner",
                [PMBROKER__V1__SESSION_ROLE__ROLE_OBSERVER] = "observer",
                [PMBROKER__V1__SESSION_ROLE__ROLE_ADMIN] = "admin",
        };

        return (unsigned)role < ELEMENTSOF(names) ? names[role] : "unknown";
}

static int add_session(Table *t, const Pmbroker__V1__SessionRow *row, Users *users)
{
        if (table_add_row(t) < 0)
                return message_oom();
        if (table_wants(t, COLUMN_USER)) {
                const char *user = users_get_name(users, row->uid);

                if (!user)
                        return message_oom();
                table_set_text(t, COLUMN_USER, user);
        }
        table_set_number(t, COLUMN_SESSION, row->session);
        table_set_number(t, COLUMN_UID, row->uid);
        if (row->pid > 0)
                table_set_number(t, COLUMN_PID, row->pid);
        table_set_text(t, COLUMN_COMMAND, row->command);
        table_set_text(t, COLUMN_UNIT, row->unit);
        table_set_text(t, COLUMN_ROLE, role_to_string(row->role));
        table_set_number(t, COLUMN_AGE, row->age_usec);
        table_set_number(t, COLUMN_REQUESTS, row->requests);
        table_set_number(t, COLUMN_BUSY, row->in_flight);
        table_set_number(t, COLUMN_UNREAD, row->unread);
        table_set_number(t, COLUMN_POOLS, row->pools);
        table_set_number(t, COLUMN_BYTES, row->bytes);
        table_set_number(t, COLUMN_WATCHING, row->watching);
        return EXIT_DONE;
}

static uint64_t get_next(const Pmbroker__V1__ServerPacket *page)
{
        return page->sessions->next;
}

int verb_sessions(const Arguments *arguments)
{
        Pmbroker__V1__ClientPacket packet = PMBROKER__V1__CLIENT_PACKET__INIT;
        Pmbroker__V1__ListSessions list = PMBROKER__V1__LIST_SESSIONS__INIT;
        CtlRequest request = {.packet = &packet, .expected = PMBROKER__V1__SERVER_PACKET__BODY_SESSIONS};
        _cleanup_(cleanup_ctl_disconnect) CtlConnection *c = NULL;
        _cleanup_(pages_done) Pages pages = {0};
        _cleanup_(users_done) Users users = {.no_names = arguments->host};
        _cleanup_(cleanup_table_free) Table *table = NULL;
        int r;

        packet.body_case = PMBROKER__V1__CLIENT_PACKET__BODY_LIST_SESSIONS;
        packet.list_sessions = &list;
        r = table_new(session_columns, &arguments->table, &table);
        if (r == EXIT_DONE)
                r = ctl_connect(arguments, &c);
        if (r == EXIT_DONE)
                r = pages_fetch(c, &request, &list.after, get_next, &pages);
        for (size_t i = 0; i < pages.n; i++)
                for (size_t k = 0; r == EXIT_DONE && k < pages.packets[i]->sessions->n_rows; k++)
                        r = add_session(table, pages.packets[i]->sessions->rows[k], &users);
        return r == EXIT_DONE ? table_print(table, "sessions", stdout) : r;
}
